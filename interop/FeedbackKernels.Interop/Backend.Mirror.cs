namespace FeedbackKernels.Interop;

public abstract partial class Backend
{
    /// <summary>
    /// Weight mirror: sends noise through a layer and correlates the response with it; see <see cref="MirrorStep"/>. Only the correlation
    /// is written; batch norm, bias and statistics are not involved.
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
}
