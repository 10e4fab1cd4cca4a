namespace FeedbackKernels.Interop;

// native/activation.cu
public sealed unsafe partial class CudaBackend
{
    private static readonly CudaKernelTable<ElementType> ActivationForwardKernels = new(
        "activation", (ElementType.Float32, "activation_forward_fp32"), (ElementType.BFloat16, "activation_forward_bf16"));

    private static readonly CudaKernelTable<ElementType> ActivationBackwardKernels = new(
        "activation", (ElementType.Float32, "activation_backward_fp32"), (ElementType.BFloat16, "activation_backward_bf16"));

    private static IEnumerable<CudaKernel> ActivationKernels => [.. ActivationForwardKernels.All, .. ActivationBackwardKernels.All];

    internal override void ActivationForwardCore(Activation activation, long length, BufferView x, BufferView y) => Launch(
        ActivationForwardKernels[ActivationType], ElementGrid(length), ElementThreads,
        new ActivationForwardArguments
        {
            Length = length,
            Activation = (int)activation,
            Wide = AllowWide(x, y) ? 1 : 0,
            X = x.Pointer,
            Y = y.Pointer,
        },
        new Elements(length));

    internal override void ActivationBackwardCore(Activation activation, long length, BufferView y, BufferView dy, BufferView dx) => Launch(
        ActivationBackwardKernels[ActivationType], ElementGrid(length), ElementThreads,
        new ActivationBackwardArguments
        {
            Length = length,
            Activation = (int)activation,
            Wide = AllowWide(y, dy, dx) ? 1 : 0,
            Y = y.Pointer,
            Dy = dy.Pointer,
            Dx = dx.Pointer,
        },
        new Elements(length));

    internal struct ActivationForwardArguments
    {
        public long Length;
        public int Activation, Wide;
        public void* X, Y;
    }

    internal struct ActivationBackwardArguments
    {
        public long Length;
        public int Activation, Wide;
        public void* Y, Dy, Dx;
    }
}
