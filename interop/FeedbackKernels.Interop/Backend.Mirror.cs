namespace FeedbackKernels.Interop;

public abstract partial class Backend
{
    /// <summary>
    /// Weight mirror (Akrout et al. 2019, eq. 7): sends noise through a layer and correlates the response with it; see
    /// <see cref="MirrorStep"/>. Only the correlation is written; batch norm, bias and statistics are not involved.
    /// </summary>
    /// <param name="step">Layer and noise; noise and response are rounded to <see cref="ActivationType"/>.</param>
    /// <param name="w">Forward weights, [R][S][C][K]: the master or its copy.</param>
    /// <param name="correlation">Sum of ξᵀη, in the layout of W.</param>
    /// <param name="accumulate">Adds to the correlation instead of overwriting it, for a mirror step in several calls.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number of samples is not positive, the first sample is negative, the last one is
    /// beyond the 2^32 samples of the noise, the form is unknown, or noise or response have more than 2^40 numbers.</exception>
    /// <exception cref="ArgumentException">The noise does not have the sample length of the layer and the form.</exception>
    public void MirrorCorrelate(in MirrorStep step, BufferView w, BufferView correlation, bool accumulate = false)
    {
        using OperationScope call = new(this);
        RequireMirrorStep(step);
        call.ReadEither(w, step.Layer.WeightLength);
        call.Write(correlation, step.Layer.WeightLength);
        call.RequireApart();
        MirrorCorrelateCore(step, w, correlation, accumulate);
    }

    /// <summary>
    /// Weight mirror by correction: sends noise through W and through Bᵀ and moves B by the correlation of the noise with the difference
    /// of the responses, <c>B += rate * f * (ξᵀ(ξW - ξBᵀ))ᵀ</c> with f the <see cref="MirrorStep.CorrectionFactor"/>. What B knows already
    /// does not move it, so there is nothing to average: with W still, the error of B shrinks at every step, and over one cycle of balanced
    /// noise whose length is the fan-in it vanishes.
    /// </summary>
    /// <remarks>
    /// The delta rule (Widrow and Hoff 1960), with several samples in a step; with orthogonal samples Kaczmarz's projections (1937). The weight
    /// mirror of Akrout et al. 2019, eq. 7 is this without ξBᵀ. Backends may compute the difference of the responses, which are linear,
    /// as the response of W - Bᵀ.
    /// </remarks>
    /// <param name="step">Layer and noise: patches, linear response. The noise and the difference of the responses are rounded to
    /// <see cref="ActivationType"/>.</param>
    /// <param name="w">Forward weights, [R][S][C][K], Float32.</param>
    /// <param name="rate">Share of the difference that is corrected; finite.</param>
    /// <param name="b">Feedback weights, [R][S][K][C], Float32.</param>
    /// <param name="copy">Optional: b rounded to <see cref="ActivationType"/>, written in the same pass.</param>
    /// <exception cref="ArgumentOutOfRangeException">As <see cref="MirrorCorrelate"/>; or the rate is not finite.</exception>
    /// <exception cref="ArgumentException">As <see cref="MirrorCorrelate"/>; or the step is one of whole maps or of ReLU responses, whose
    /// mean is no multiple of W.</exception>
    public void MirrorCorrect(in MirrorStep step, BufferView w, float rate, BufferView b, BufferView copy = default)
    {
        using OperationScope call = new(this);
        RequireMirrorStep(step);
        RequireFinite(rate);
        if (step.Form != MirrorForm.Patch || step.ReluResponse)
            throw new ArgumentException($"the correction takes patches and linear responses, found {step.Form}{(step.ReluResponse ? " and ReLU" : "")}", nameof(step));
        call.Read(w, step.Layer.WeightLength);
        call.Write(b, step.Layer.WeightLength);
        call.WriteCopyIfPresent(copy, step.Layer.WeightLength);
        call.RequireApart();
        MirrorCorrectCore(step, w, (float)(rate * step.CorrectionFactor), b, copy);
    }

    /// <summary>Checks the numbers of a mirror step.</summary>
    internal static void RequireMirrorStep(in MirrorStep step)
    {
        RequireShape(step.Layer, nameof(step));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(step.Samples);
        ArgumentOutOfRangeException.ThrowIfNegative(step.FirstSample);
        if (step.FirstSample > MirrorNoise.MostSamples - step.Samples)
        {
            throw new ArgumentOutOfRangeException(
                nameof(step), step.FirstSample, $"with {step.Samples} samples from there on more than the {MirrorNoise.MostSamples} that the noise has");
        }

        RequireDefined(step.Form);
        int length = MirrorStep.SampleLength(step.Layer, step.Form);
        if (step.Noise.Length != length)
            throw new ArgumentException($"the noise has samples of {step.Noise.Length} numbers, wanted {length}", nameof(step));
        _ = step.ResponseShape;
    }

    internal abstract void MirrorCorrelateCore(in MirrorStep step, BufferView w, BufferView correlation, bool accumulate);

    internal abstract void MirrorCorrectCore(in MirrorStep step, BufferView w, float factor, BufferView b, BufferView copy);
}
