namespace FeedbackKernels.Interop;

/// <summary>Inner product and squared norms of two tensors of one size, in double precision.</summary>
/// <param name="Dot">Inner product.</param>
/// <param name="SquaredNorm">Squared norm of the first tensor.</param>
/// <param name="OtherSquaredNorm">Squared norm of the second tensor.</param>
public readonly record struct WeightAlignment(double Dot, double SquaredNorm, double OtherSquaredNorm)
{
    /// <summary>Angle between the two as vectors, 0 to 180 degrees; NaN if one of them is zero. Of weights it is the matrix angle of Akrout
    /// et al. 2019, of errors their delta angle.</summary>
    public double AngleDegrees
    {
        get
        {
            double product = Math.Sqrt(SquaredNorm) * Math.Sqrt(OtherSquaredNorm);
            return product == 0 ? double.NaN : double.RadiansToDegrees(Math.Acos(Math.Clamp(Dot / product, -1, 1)));
        }
    }

    /// <summary>Norm of the second divided by the norm of the first; not finite if the first is zero.</summary>
    public double NormRatio => Math.Sqrt(OtherSquaredNorm / SquaredNorm);
}
