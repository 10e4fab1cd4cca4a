namespace FeedbackKernels.Interop;

/// <summary>What a mirror step sends through a layer.</summary>
public enum MirrorForm
{
    /// <summary>
    /// Rows of R*S*C independent numbers, each one patch: the layer's product without its geometry, so that neither
    /// padding nor stride biases the estimate.
    /// </summary>
    Patch,

    /// <summary>
    /// Noise images through the layer's own convolution, as in the paper. Taps that fall on the padding count less, so B
    /// tends to a W whose border taps are damped: up to 6 degrees on a 7x7 map.
    /// </summary>
    FullMap,
}

/// <summary>
/// One weight-mirror update (Akrout et al. 2019, eq. 7, with the decay that bounds B's norm): noise ξ goes through W, the
/// response is η, and <c>B = (1 - Rate) * B + Rate / (gain * σ² * n) * ηᵀξ</c>, where n counts the positions that answered
/// and the gain is 1 for the linear response, 1/2 for the ReLU's. B then tends to Wᵀ itself, norm included.
/// </summary>
/// <param name="Layer">The layer's shape; its N is not used.</param>
/// <param name="Noise">ξ: samples of R*S*C numbers for <see cref="MirrorForm.Patch"/>, of H*W*C for <see cref="MirrorForm.FullMap"/>.</param>
/// <param name="FirstSample">Index of the first sample in the noise stream.</param>
/// <param name="Samples">Samples in this step.</param>
/// <param name="Rate">λ, above 0 and at most 1.</param>
/// <param name="Form">Patches or whole maps.</param>
/// <param name="ReluResponse">Whether the response goes through the layer's ReLU.</param>
public readonly record struct MirrorStep(
    ConvShape Layer,
    MirrorNoise Noise,
    long FirstSample,
    int Samples,
    float Rate,
    MirrorForm Form = MirrorForm.Patch,
    bool ReluResponse = false)
{
    /// <summary>Numbers in a sample of the given form for the given layer.</summary>
    public static int SampleLength(in ConvShape layer, MirrorForm form) =>
        form == MirrorForm.Patch ? layer.FanIn : checked(layer.H * layer.W * layer.C);

    /// <summary>The convolution that answers the noise: the layer's own, or one long dot product a patch.</summary>
    internal ConvShape ResponseShape =>
        Form == MirrorForm.Patch ? ConvShape.Linear(Samples, Layer.FanIn, Layer.K) : Layer.WithBatch(Samples);

    /// <summary>The factor on ηᵀξ.</summary>
    internal float CorrelationScale
    {
        get
        {
            ConvShape response = ResponseShape;
            double positions = (double)response.N * response.P * response.Q;
            double gain = ReluResponse ? 0.5 : 1;
            return (float)(Rate / (gain * Noise.StandardDeviation * Noise.StandardDeviation * positions));
        }
    }
}
