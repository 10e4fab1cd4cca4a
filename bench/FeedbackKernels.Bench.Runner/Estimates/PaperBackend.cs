using System.Runtime.InteropServices;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench.Estimates;

/// <summary>The memory traffic and the arithmetic of one operation.</summary>
/// <param name="Subject">What it is applied to: a layer's sizes, or channels and rows of a map.</param>
/// <param name="Pass">The operation.</param>
/// <param name="Bytes">Bytes read and written, each operand once for each pass over it.</param>
/// <param name="Flops">FLOP of matrix products; elementwise arithmetic counts as free.</param>
internal readonly record struct PaperWork(string Subject, string Pass, double Bytes, double Flops);

/// <summary>
/// A backend that computes nothing and records what a GPU would have to move and to multiply. A model and its rule run on it as
/// on any other backend, so an estimate counts exactly the operations of a step.
/// </summary>
/// <param name="name">Names a convolution.</param>
/// <param name="storage">Type of stored activations, errors, and the copies of W and B that products read.</param>
internal sealed class PaperBackend(Func<ConvShape, string> name, ElementType storage) : Backend
{
    private const int MasterBytes = sizeof(float);

    private readonly int _bytes = storage.Size();

    // Addresses that are never dereferenced; not zero, which means an absent buffer.
    private long _address = 1L << 40;

    /// <summary>The work of the operations so far.</summary>
    public List<PaperWork> Work { get; } = [];

    /// <inheritdoc/>
    public override string Name => "paper";

    /// <inheritdoc/>
    public override string Description => "counts bytes and FLOP, computes nothing";

    /// <inheritdoc/>
    public override bool HostAddressable => false;

    /// <inheritdoc/>
    public override ElementType ActivationType => storage;

    internal override ConvExplanation ExplainCore(in ConvRequest request) => new("none", Description);

    internal override SafeHandle AllocateMemory(long bytes, string purpose)
    {
        var memory = new NoMemory((nint)_address);
        _address += 256 * Rounding.DivideUp(bytes, 256);
        return memory;
    }

    internal override void UploadBytes(ReadOnlySpan<byte> source, nint destination)
    {
        // Uploads of initial weights and of images are not part of a step.
    }

    internal override void DownloadBytes(nint source, Span<byte> destination) => destination.Clear();

    internal override void ConvForwardCore(in ConvShape shape, BufferView x, BufferView w, BufferView y, in ConvEpilogue epilogue) => Note(
        name(shape), "fwd",
        _bytes * (Touched(shape) + shape.WeightLength) + y.Type.Size() * Times(shape.OutputLength, 1, epilogue.Residual), shape.Flops);

    internal override void ConvFeedbackCore(
        in ConvShape shape, BufferView dy, BufferView weights, FeedbackLayout layout, BufferView dx, bool accumulate) => Note(
        name(shape), "bwd_data", _bytes * (shape.OutputLength + shape.WeightLength + (accumulate ? 2 : 1) * shape.InputLength), shape.Flops);

    internal override void ConvWeightGradientCore(in ConvShape shape, BufferView x, BufferView dy, BufferView dw) => Note(
        name(shape), "bwd_weights", _bytes * (Touched(shape) + shape.OutputLength) + MasterBytes * shape.WeightLength, shape.Flops);

    internal override void MirrorCorrelateCore(in MirrorStep step, BufferView w, BufferView correlation, bool accumulate)
    {
        ConvShape response = step.ResponseShape;
        Note(
            name(step.Layer), "mirror",
            _bytes * (w.Length + 2 * response.OutputLength) + MasterBytes * (accumulate ? 2 : 1) * step.Layer.WeightLength, 2 * response.Flops);
    }

    internal override void MirrorCorrectCore(in MirrorStep step, BufferView w, float factor, BufferView b, BufferView copy)
    {
        // As the backends do it: the difference of W and Bᵀ, its response and the correlation, and the update of B.
        BufferView difference = BufferView.FromPointer(w.Address, step.Layer.WeightLength, storage);
        TransposedCombineCore(step.Layer.Transpose(), -1, b, 1, w, w, storage == ElementType.Float32 ? default : difference);
        MirrorCorrelateCore(step, difference, w, accumulate: false);
        TransposedCombineCore(step.Layer, factor, w, 1, b, b, copy);
    }

    internal override void TransposedCombineCore(
        in ConvShape shape, float alpha, BufferView w, float beta, BufferView r, BufferView b, BufferView copy) =>
        NoteUpdate(shape.WeightLength, beta == 0 ? 2 : 3, copy);

    internal override void SignTransposedCore(
        in ConvShape shape, BufferView w, BufferView magnitudes, float scale, BufferView b, BufferView copy) =>
        NoteUpdate(shape.WeightLength, magnitudes.IsAbsent ? 2 : 3, copy);

    internal override void BatchNormStatisticsCore(long rows, int channels, BufferView x, in BatchStatistics statistics) =>
        NoteMap(rows, channels, "norm statistics", 1);

    internal override void BatchNormFoldCore(
        int channels, BufferView gamma, BufferView beta, BufferView mean, BufferView variance, float epsilon, BufferView scale, BufferView bias) =>
        Note("all", "norm fold", 6.0 * MasterBytes * channels, 0);

    internal override void ChannelAffineCore(
        long rows, int channels, BufferView x, BufferView scale, BufferView bias, BufferView residual, Activation activation, BufferView y) =>
        NoteMap(rows, channels, "norm fwd", 2, residual);

    // One pass for the sums over x and dy, and one that reads them again and writes dx. If y masks them, both passes read it.
    internal override void BatchNormBackwardCore(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy,
        BufferView dx, BufferView dGamma, BufferView dBeta, BufferView dResidual) =>
        NoteMap(rows, channels, "norm bwd", 5, y, y, dResidual);

    internal override void BiasGradientCore(long rows, int channels, BufferView dy, BufferView db) => NoteMap(rows, channels, "bias bwd", 1);

    internal override void ActivationForwardCore(Activation activation, long length, BufferView x, BufferView y) =>
        Note("all", "activation", 2.0 * _bytes * length, 0);

    internal override void ActivationBackwardCore(Activation activation, long length, BufferView y, BufferView dy, BufferView dx) =>
        Note("all", "activation", 3.0 * _bytes * length, 0);

    internal override void MaxPoolForwardCore(in PoolShape shape, BufferView x, BufferView y, BufferView positions) => NotePool(shape, sizeof(int));

    internal override void MaxPoolBackwardCore(in PoolShape shape, BufferView dy, BufferView positions, BufferView dx) => NotePool(shape, sizeof(int));

    internal override void AveragePoolForwardCore(in PoolShape shape, BufferView x, BufferView y) => NotePool(shape, 0);

    internal override void AveragePoolBackwardCore(in PoolShape shape, BufferView dy, BufferView dx) => NotePool(shape, 0);

    internal override void CrossEntropyCore(
        LossKind kind, int rows, int classes, BufferView logits, BufferView labels, float smoothing, BufferView losses, BufferView dLogits) =>
        Note("all", "loss", (double)rows * classes * (logits.Type.Size() + (dLogits.IsAbsent ? 0 : _bytes)), 0);

    internal override void SgdUpdateCore(
        long length, BufferView parameter, BufferView gradient, BufferView velocity, in SgdStep step, BufferView copy) =>
        NoteUpdate(length, 5, copy);

    internal override void SgdUpdateTransposedCore(
        in ConvShape shape, BufferView b, BufferView dw, BufferView velocity, in SgdStep step, BufferView copy) =>
        NoteUpdate(shape.WeightLength, 5, copy);

    // dW is read once.
    internal override void SgdUpdateBothCore(
        in ConvShape shape, BufferView w, BufferView dw, BufferView velocity, BufferView b, BufferView bVelocity, in SgdStep step,
        BufferView wCopy, BufferView bCopy) =>
        NoteUpdate(shape.WeightLength, 9, wCopy, bCopy);

    internal override void SgdUpdateSlabCore(
        ReadOnlySpan<SlabSegment> segments, BufferView values, BufferView gradients, BufferView velocities, in SgdStep step, BufferView copies)
    {
        long length = 0;
        foreach (SlabSegment segment in segments) length += segment.Length;
        NoteUpdate(length, 5, copies);
    }

    internal override void SgdUpdateCoupledSlabCore(
        ReadOnlySpan<CoupledSegment> segments, BufferView values, BufferView gradients, BufferView velocities, BufferView feedback,
        BufferView feedbackVelocities, in SgdStep step, BufferView copies, BufferView feedbackCopies)
    {
        long length = 0;
        foreach (CoupledSegment segment in segments) length += segment.Shape.WeightLength;
        NoteUpdate(length, 9, copies, feedbackCopies);
    }

    internal override void ClipFactorCore(ReadOnlySpan<BufferView> gradients, float most, BufferView factor)
    {
        foreach (BufferView gradient in gradients) Note("all", "clip", (double)MasterBytes * gradient.Length, 0);
    }

    internal override void ConvertCore(long length, BufferView source, BufferView result) =>
        Note("all", "conversion", (double)length * (source.Type.Size() + result.Type.Size()), 0);

    internal override void AugmentImagesCore(
        in ImageAugmentation augmentation, int images, BufferView pixels, BufferView numbers, BufferView table, BufferView x) =>
        Note("all", "images", (double)images * augmentation.ImageLength * (1 + _bytes), 0);

    internal override void FillCore(long length, BufferView values, float value) => Note("all", "fill", (double)values.Type.Size() * length, 0);

    internal override void FillGaussianCore(BufferView values, in RandomKey key, float standardDeviation) =>
        Note("all", "fill", (double)values.Type.Size() * values.Length, 0);

    internal override WeightAlignment AlignCore(in ConvShape shape, BufferView w, BufferView b) => CompareCore(shape.WeightLength, w, b);

    internal override WeightAlignment CompareCore(long length, BufferView a, BufferView b)
    {
        Note("all", "compare", 2.0 * MasterBytes * length, 0);
        return default;
    }

    /// <summary>Elements of x that a forward pass reads: a filter smaller than its stride skips rows and columns.</summary>
    private static long Touched(in ConvShape s) =>
        (long)s.N * s.C * Math.Min(s.H, (long)s.P * Math.Min(s.R, s.Stride)) * Math.Min(s.W, (long)s.Q * Math.Min(s.S, s.Stride));

    private static long Times(long length, int passes, params ReadOnlySpan<BufferView> present)
    {
        foreach (BufferView view in present)
        {
            if (!view.IsAbsent) passes++;
        }

        return passes * length;
    }

    private void NoteMap(long rows, int channels, string pass, int passes, params ReadOnlySpan<BufferView> present) =>
        Note($"{channels} channels, {rows} rows", pass, _bytes * Times(rows * channels, passes, present), 0);

    private void NotePool(in PoolShape shape, int positionBytes) => Note(
        $"{shape.C} channels@{shape.H}", "pooling", _bytes * (shape.InputLength + shape.OutputLength) + positionBytes * shape.OutputLength, 0);

    // Masters, gradients and velocities are fp32. The update also writes the copies that products read, if there are any.
    private void NoteUpdate(long length, int passes, params ReadOnlySpan<BufferView> copies) =>
        Note("all", "update", (double)length * passes * MasterBytes + Times((long)_bytes * length, 0, copies), 0);

    private void Note(string subject, string pass, double bytes, double flops) => Work.Add(new PaperWork(subject, pass, bytes, flops));

    private sealed class NoMemory : SafeHandle
    {
        public NoMemory(nint address) : base(0, ownsHandle: true) => SetHandle(address);

        public override bool IsInvalid => false;

        protected override bool ReleaseHandle() => true;
    }
}
