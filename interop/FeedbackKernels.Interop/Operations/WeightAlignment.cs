namespace FeedbackKernels.Interop;

/// <summary>How two tensors of one size compare: their inner product and squared norms, in double precision.</summary>
public readonly record struct WeightAlignment(double Dot, double SquaredNorm, double OtherSquaredNorm)
{
    /// <summary>Angle between the two as vectors, in degrees, 0 to 180; NaN where one of them is zero.</summary>
    public double AngleDegrees
    {
        get
        {
            double product = Math.Sqrt(SquaredNorm) * Math.Sqrt(OtherSquaredNorm);
            return product == 0 ? double.NaN : double.RadiansToDegrees(Math.Acos(Math.Clamp(Dot / product, -1, 1)));
        }
    }

    /// <summary>Norm of the other over the norm of the first.</summary>
    public double NormRatio => Math.Sqrt(OtherSquaredNorm / SquaredNorm);
}
