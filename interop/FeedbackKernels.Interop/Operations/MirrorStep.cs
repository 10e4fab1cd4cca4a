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
    /// tends to a W whose outer taps are damped: up to 6 degrees on a 7x7 map.
    /// </summary>
    FullMap,
}

/// <summary>
/// The samples of one mirror step (Akrout et al. 2019, eq. 7): noise ξ goes through W, the response is η, and ξᵀη, summed
/// over samples and positions, is gain * σ² * <see cref="Positions"/> * W in expectation, where the gain is 1 for the linear
/// response and 1/2 for the ReLU's.
/// </summary>
/// <param name="Layer">The layer's shape; its N is not used.</param>
/// <param name="Noise">ξ: samples of R*S*C numbers for <see cref="MirrorForm.Patch"/>, of H*W*C for <see cref="MirrorForm.FullMap"/>.</param>
/// <param name="FirstSample">Index of the first sample in the noise stream, which has 2^32.</param>
/// <param name="Samples">Samples in this step.</param>
/// <param name="Form">Patches or whole maps.</param>
/// <param name="ReluResponse">Whether the response goes through the layer's ReLU.</param>
public readonly record struct MirrorStep(
    ConvShape Layer,
    MirrorNoise Noise,
    long FirstSample,
    int Samples,
    MirrorForm Form = MirrorForm.Patch,
    bool ReluResponse = false)
{
    /// <summary>Numbers in a sample of the given form for the given layer: R*S*C or H*W*C.</summary>
    /// <exception cref="ArgumentOutOfRangeException">They are more than 2^31 - 1, or the form is unknown.</exception>
    public static int SampleLength(in ConvShape layer, MirrorForm form) => form switch
    {
        MirrorForm.Patch => layer.FanIn,
        MirrorForm.FullMap => ElementCount.Of32("H*W*C", layer.H, layer.W, layer.C),
        _ => throw new ArgumentOutOfRangeException(nameof(form), form, "unknown; wanted Patch or FullMap"),
    };

    /// <summary>Responses of one output channel: what the correlation is a sum over.</summary>
    /// <exception cref="ArgumentOutOfRangeException">They are more than 2^40.</exception>
    public long Positions => Form == MirrorForm.Patch ? Samples : ElementCount.Of("N*P*Q", Samples, Layer.P, Layer.Q);

    /// <summary>What the correlation is to be divided by to be an estimate of W.</summary>
    public double CorrelationGain =>
        (ReluResponse ? 0.5 : 1) * Noise.StandardDeviation * Noise.StandardDeviation * Positions;

    /// <summary>The convolution that answers the noise: the layer's own, or one long dot product a patch.</summary>
    internal ConvShape ResponseShape =>
        Form == MirrorForm.Patch ? ConvShape.Linear(Samples, Layer.FanIn, Layer.K) : Layer.WithBatch(Samples);

    /// <inheritdoc/>
    public override string ToString() => $"{Samples} samples of {Noise.Length} numbers from {FirstSample} on, {Form}, through {Layer}";
}
