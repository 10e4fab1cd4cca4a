namespace FeedbackKernels.Interop;

// The same operations on pointers, for memory that is native, pinned, or longer than a span can be. Each tensor has as many elements as the
// shape says; lengths cannot be checked.
public sealed unsafe partial class HostKernels
{
    /// <inheritdoc cref="Forward(in ConvShape, ReadOnlySpan{float}, ReadOnlySpan{float}, Span{float}, in HostEpilogue)"/>
    /// <param name="shape">Sizes.</param>
    /// <param name="x">Input, NHWC.</param>
    /// <param name="w">Forward weights, [R][S][C][K].</param>
    /// <param name="y">Output, NPQK.</param>
    /// <param name="epilogue">Operations on y, on views of memory (<see cref="BufferView.FromPointer(float*, long)"/>).</param>
    /// <exception cref="ArgumentNullException">A pointer is null.</exception>
    public void Forward(in ConvShape shape, float* x, float* w, float* y, in ConvEpilogue epilogue = default) =>
        Backend.ConvForward(
            shape, Pointer(x, shape.InputLength), Pointer(w, shape.WeightLength), Pointer(y, shape.OutputLength), epilogue);

    /// <inheritdoc cref="Feedback(in ConvShape, ReadOnlySpan{float}, ReadOnlySpan{float}, FeedbackLayout, Span{float}, bool)"/>
    /// <exception cref="ArgumentNullException">A pointer is null.</exception>
    public void Feedback(in ConvShape shape, float* dy, float* weights, FeedbackLayout layout, float* dx, bool accumulate = false) =>
        Backend.ConvFeedback(
            shape, Pointer(dy, shape.OutputLength), Pointer(weights, shape.WeightLength), layout, Pointer(dx, shape.InputLength), accumulate);

    /// <inheritdoc cref="WeightGradient(in ConvShape, ReadOnlySpan{float}, ReadOnlySpan{float}, Span{float})"/>
    /// <exception cref="ArgumentNullException">A pointer is null.</exception>
    public void WeightGradient(in ConvShape shape, float* x, float* dy, float* dw) =>
        Backend.ConvWeightGradient(
            shape, Pointer(x, shape.InputLength), Pointer(dy, shape.OutputLength), Pointer(dw, shape.WeightLength));

    /// <inheritdoc cref="MirrorStep(in MirrorStep, ReadOnlySpan{float}, float, Span{float}, Span{float})"/>
    /// <exception cref="ArgumentNullException">A pointer is null.</exception>
    public void MirrorStep(in MirrorStep step, float* w, float rate, float* correlation, float* b)
    {
        RequireRate(rate);
        long length = step.Layer.WeightLength;
        MirrorStep(step, Pointer(w, length), rate, Pointer(correlation, length), Pointer(b, length));
    }

    /// <inheritdoc cref="MirrorCorrect(in MirrorStep, ReadOnlySpan{float}, float, Span{float})"/>
    /// <exception cref="ArgumentNullException">A pointer is null.</exception>
    public void MirrorCorrect(in MirrorStep step, float* w, float rate, float* b)
    {
        RequireRate(rate);
        Backend.MirrorCorrect(step, Pointer(w, step.Layer.WeightLength), rate, Pointer(b, step.Layer.WeightLength));
    }

    /// <inheritdoc cref="MirrorCorrelate(in MirrorStep, ReadOnlySpan{float}, Span{float}, bool)"/>
    /// <exception cref="ArgumentNullException">A pointer is null.</exception>
    public void MirrorCorrelate(in MirrorStep step, float* w, float* correlation, bool accumulate = false) =>
        Backend.MirrorCorrelate(step, Pointer(w, step.Layer.WeightLength), Pointer(correlation, step.Layer.WeightLength), accumulate);

    /// <inheritdoc cref="MirrorMove(in MirrorStep, ReadOnlySpan{float}, float, Span{float})"/>
    /// <exception cref="ArgumentNullException">A pointer is null.</exception>
    public void MirrorMove(in MirrorStep collected, float* correlation, float rate, float* b)
    {
        RequireRate(rate);
        MirrorMove(collected, Pointer(correlation, collected.Layer.WeightLength), rate, Pointer(b, collected.Layer.WeightLength));
    }

    /// <inheritdoc cref="KolenPollackStep(in ConvShape, Span{float}, ReadOnlySpan{float}, Span{float}, Span{float}, Span{float}, in SgdStep)"/>
    /// <exception cref="ArgumentNullException">A pointer is null.</exception>
    public void KolenPollackStep(in ConvShape shape, float* w, float* dw, float* velocity, float* b, float* bVelocity, in SgdStep step)
    {
        long length = shape.WeightLength;
        Backend.SgdUpdateBoth(
            shape, Pointer(w, length), Pointer(dw, length), Pointer(velocity, length), Pointer(b, length), Pointer(bVelocity, length), step);
    }

    /// <inheritdoc cref="KolenPollackFollow(in ConvShape, ReadOnlySpan{float}, float, Span{float})"/>
    /// <exception cref="ArgumentNullException">A pointer is null.</exception>
    public void KolenPollackFollow(in ConvShape shape, float* adjustment, float decay, float* b)
    {
        CpuBackend.RequireFinite(decay);
        KolenPollackFollow(shape, Pointer(adjustment, shape.WeightLength), decay, Pointer(b, shape.WeightLength));
    }

    /// <inheritdoc cref="SignSymmetryStep(in ConvShape, ReadOnlySpan{float}, float, Span{float}, ReadOnlySpan{float})"/>
    /// <exception cref="ArgumentNullException">A pointer is null, except that of the magnitudes.</exception>
    public void SignSymmetryStep(in ConvShape shape, float* w, float scale, float* b, float* magnitudes = null) =>
        Backend.SignTransposed(
            shape, Pointer(w, shape.WeightLength), magnitudes == null ? default : Pointer(magnitudes, shape.WeightLength), scale,
            Pointer(b, shape.WeightLength));
}
