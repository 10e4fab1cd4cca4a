using System.Runtime.InteropServices;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Interop;

/// <summary>A backend that computes nothing: it calls <see cref="Within"/> inside each operation, and counts memory that is freed and data
/// that are copied.</summary>
internal sealed class ProbeBackend(ElementType activations) : Backend
{
    // Addresses that are never dereferenced.
    private nint _next = (nint)1 << 40;

    /// <summary>Called inside an operation.</summary>
    public Action Within { get; set; } = () => { };

    /// <summary>Blocks of memory that have been freed.</summary>
    public int Released { get; private set; }

    /// <summary>Copies between the host and buffers: address and bytes.</summary>
    public List<(nint Address, int Bytes)> Copies { get; } = [];

    public override string Name => "probe";

    public override string Description => "computes nothing";

    public override bool HostAddressable => false;

    public override ElementType ActivationType => activations;

    internal override ConvExplanation ExplainCore(in ConvRequest request) => default;

    internal override SafeHandle AllocateMemory(long bytes, string purpose)
    {
        nint address = _next;
        _next += 64 * (nint)Rounding.DivideUp(bytes, 64);
        return new Memory(this, address);
    }

    internal override void UploadBytes(ReadOnlySpan<byte> source, nint destination) => Copy(destination, source.Length);

    internal override void DownloadBytes(nint source, Span<byte> destination) => Copy(source, destination.Length);

    internal override void ConvForwardCore(
        in ConvShape shape, BufferView x, BufferView w, BufferView y, in ConvEpilogue epilogue) =>
        Within();

    internal override void ConvFeedbackCore(
        in ConvShape shape, BufferView dy, BufferView weights, FeedbackLayout layout, BufferView dx, bool accumulate) =>
        Within();

    internal override void ConvWeightGradientCore(in ConvShape shape, BufferView x, BufferView dy, BufferView dw) => Within();

    internal override void MirrorCorrelateCore(
        in MirrorStep step, BufferView w, BufferView correlation, bool accumulate) =>
        Within();

    internal override void MirrorCorrectCore(in MirrorStep step, BufferView w, float factor, BufferView b, BufferView copy) => Within();

    internal override void TransposedCombineCore(
        in ConvShape shape, float alpha, BufferView w, float beta, BufferView r, BufferView b, BufferView copy) =>
        Within();

    internal override void SignTransposedCore(
        in ConvShape shape, BufferView w, BufferView magnitudes, float scale, BufferView b, BufferView copy) =>
        Within();

    internal override void BatchNormStatisticsCore(long rows, int channels, BufferView x, in BatchStatistics statistics) => Within();

    internal override void BatchNormFoldCore(
        int channels, BufferView gamma, BufferView beta, BufferView mean, BufferView variance, float epsilon, BufferView scale, BufferView bias) =>
        Within();

    internal override void ChannelAffineCore(
        long rows, int channels, BufferView x, BufferView scale, BufferView bias, BufferView residual, Activation activation, BufferView y) =>
        Within();

    internal override void BatchNormBackwardCore(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy, BufferView dx, BufferView dGamma, BufferView dBeta, BufferView dResidual) =>
        Within();

    internal override void BatchNormBackwardSumsCore(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy, BufferView dGamma, BufferView dBeta) =>
        Within();

    internal override void BatchNormBackwardErrorsCore(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy, BufferView dGamma, BufferView dBeta, BufferView dx, BufferView dResidual) =>
        Within();

    internal override void BatchNormMergeCore(in SharedRows rows, int channels, BufferView parts, in BatchStatistics statistics) => Within();

    internal override void BiasGradientCore(long rows, int channels, BufferView dy, BufferView db) => Within();

    internal override void ActivationForwardCore(Activation activation, long length, BufferView x, BufferView y) => Within();

    internal override void ActivationBackwardCore(
        Activation activation, long length, BufferView y, BufferView dy, BufferView dx) =>
        Within();

    internal override void MaxPoolForwardCore(in PoolShape shape, BufferView x, BufferView y, BufferView positions) => Within();

    internal override void MaxPoolBackwardCore(in PoolShape shape, BufferView dy, BufferView positions, BufferView dx) => Within();

    internal override void AveragePoolForwardCore(in PoolShape shape, BufferView x, BufferView y) => Within();

    internal override void AveragePoolBackwardCore(in PoolShape shape, BufferView dy, BufferView dx) => Within();

    internal override void CrossEntropyCore(
        LossKind kind, int rows, int classes, BufferView logits, BufferView labels, float smoothing, BufferView losses, BufferView dLogits) =>
        Within();

    internal override void SgdUpdateCore(
        long length, BufferView parameter, BufferView gradient, BufferView velocity, in SgdStep step, BufferView copy) =>
        Within();

    internal override void SgdUpdateTransposedCore(
        in ConvShape shape, BufferView b, BufferView dw, BufferView velocity, in SgdStep step, BufferView copy) =>
        Within();

    internal override void SgdUpdateBothCore(
        in ConvShape shape, BufferView w, BufferView dw, BufferView velocity, BufferView b, BufferView bVelocity, in SgdStep step, BufferView wCopy, BufferView bCopy) =>
        Within();

    internal override void ClipFactorCore(ReadOnlySpan<BufferView> gradients, float most, BufferView factor) => Within();

    internal override void ConvertCore(long length, BufferView source, BufferView result) => Within();

    internal override void AugmentImagesCore(
        in ImageAugmentation augmentation, int images, BufferView pixels, BufferView numbers, BufferView table, BufferView x) =>
        Within();

    internal override void FillCore(long length, BufferView values, float value) => Within();

    internal override void FillGaussianCore(BufferView values, in RandomKey key, float standardDeviation) => Within();

    internal override WeightAlignment AlignCore(in ConvShape shape, BufferView w, BufferView b) => Nothing();

    internal override WeightAlignment CompareCore(long length, BufferView a, BufferView b) => Nothing();

    private WeightAlignment Nothing()
    {
        Within();
        return default;
    }

    private void Copy(nint address, int bytes)
    {
        Copies.Add((address, bytes));
        Within();
    }

    private sealed class Memory : SafeHandle
    {
        private readonly ProbeBackend _backend;

        public Memory(ProbeBackend backend, nint address) : base(0, ownsHandle: true)
        {
            _backend = backend;
            SetHandle(address);
        }

        public override bool IsInvalid => false;

        protected override bool ReleaseHandle()
        {
            _backend.Released++;
            return true;
        }
    }
}
