using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

// native/loss.cu
public sealed unsafe partial class CudaBackend
{
    private static readonly CudaKernelTable<(ElementType Logits, ElementType Gradient)> CrossEntropyKernels = new(
        "loss",
        ((ElementType.Float32, ElementType.Float32), "cross_entropy_fp32_fp32"),
        ((ElementType.Float32, ElementType.BFloat16), "cross_entropy_fp32_bf16"),
        ((ElementType.BFloat16, ElementType.BFloat16), "cross_entropy_bf16_bf16"));

    internal override void CrossEntropyCore(
        LossKind kind, int rows, int classes, BufferView logits, BufferView labels, float smoothing, BufferView losses, BufferView dLogits)
    {
        const int rowsPerBlock = 4, threads = 32 * rowsPerBlock;
        var arguments = new CrossEntropyArguments
        {
            Sigmoid = kind == LossKind.SigmoidCrossEntropy ? 1 : 0,
            Rows = rows,
            Classes = classes,
            Smoothing = smoothing,
            Logits = logits.Pointer,
            Labels = labels.Ints,
            Losses = losses.Floats,
            DLogits = dLogits.Pointer,
            Fault = (int*)_labels.Note(),
        };
        Launch(
            CrossEntropyKernels[(logits.Type, ActivationType)], new Grid(DivideUp(rows, rowsPerBlock)), threads, arguments,
            new RowsOfChannels(rows, classes));
    }

    internal struct CrossEntropyArguments
    {
        public int Sigmoid, Rows, Classes;
        public float Smoothing;
        public void* Logits;
        public int* Labels;
        public float* Losses;
        public void* DLogits;
        public int* Fault;
    }
}
