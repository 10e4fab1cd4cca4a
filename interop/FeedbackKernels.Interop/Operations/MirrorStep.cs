namespace FeedbackKernels.Interop;

/// <summary>The noise that a mirror step sends through a layer.</summary>
public enum MirrorForm
{
    /// <summary>
    /// Patches of R*S*C independent numbers: the product of the layer without its geometry, so that neither padding nor stride biases the estimate.
    /// </summary>
    Patch,

    /// <summary>
    /// Noise images through the layer's own convolution, as in Akrout et al. 2019. Taps on the padding contribute less, so B converges to W with
    /// damped outer taps: up to 6 degrees off on a 7x7 map.
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
    /// <param name="layer">Sizes of the layer.</param>
    /// <param name="form">Patches or whole images.</param>
    /// <exception cref="ArgumentOutOfRangeException">There are more than 2^31 - 1, or the form is unknown.</exception>
    public static int SampleLength(in ConvShape layer, MirrorForm form) => form switch
    {
        MirrorForm.Patch => layer.FanIn,
        MirrorForm.FullMap => ElementCount.Of32("H*W*C", layer.H, layer.W, layer.C),
        _ => throw new ArgumentOutOfRangeException(nameof(form), form, "unknown; wanted Patch or FullMap"),
    };

    /// <summary>Responses of one output channel, over which the correlation sums.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There are more than 2^40.</exception>
    public long Positions => Form == MirrorForm.Patch ? Samples : ElementCount.Of("N*P*Q", Samples, Layer.P, Layer.Q);

    /// <summary>The divisor that makes the correlation an estimate of W: gain * σ² * <see cref="Positions"/>, with the gain 1, or 1/2 behind a
    /// ReLU (from the expectation of Akrout et al. 2019, eq. 7, over white noise).</summary>
    public double CorrelationGain =>
        (ReluResponse ? 0.5 : 1) * Noise.StandardDeviation * Noise.StandardDeviation * Positions;

    /// <summary>
    /// The factor f of <see cref="Backend.MirrorCorrect"/> that leaves the least error of B after the step, if all errors of one size are
    /// as likely: with P = ξᵀξ the error E becomes (1 - f P) E, so f = E tr P / E tr P². For d numbers in a sample, c samples in a cycle
    /// and n in this step it is 1 / (σ² (d + (n - 1) (c - d) / (c - 1))): 1 / (σ² d) for one sample and 1 / (σ² c) for a whole cycle, which
    /// leaves no error. The samples of balanced noise belong to one cycle. For one sample it is the step of Kaczmarz 1937; the general
    /// formula is derived here.
    /// </summary>
    public double CorrectionFactor
    {
        get
        {
            double d = Noise.Length, cycle = Noise.CycleLength, others = Samples - 1;
            double length = Noise.Kind switch
            {
                // (ξᵢ·ξⱼ)² / σ⁴ for i ≠ j is d on average over independent samples, and less over the rows of a Hadamard matrix.
                NoiseKind.Balanced => d + (cycle > 1 ? others * (cycle - d) / (cycle - 1) : 0),
                // |ξ|⁴ / σ⁴ is d² for ±σ and d (d + 2) for normal numbers.
                NoiseKind.Gaussian => d + 2 + others,
                _ => d + others,
            };
            return 1 / (Noise.StandardDeviation * (double)Noise.StandardDeviation * length);
        }
    }

    /// <summary>The convolution of the noise: that of the layer, or one long dot product for each patch.</summary>
    internal ConvShape ResponseShape =>
        Form == MirrorForm.Patch ? ConvShape.Linear(Samples, Layer.FanIn, Layer.K) : Layer.WithBatch(Samples);

    /// <inheritdoc/>
    public override string ToString() => $"{Samples} samples of {Noise.Length} numbers from {FirstSample} on, {Form}, through {Layer}";
}
