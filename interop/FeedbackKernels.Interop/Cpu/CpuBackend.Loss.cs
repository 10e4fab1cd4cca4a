namespace FeedbackKernels.Interop;

public sealed unsafe partial class CpuBackend
{
    internal override void CrossEntropyCore(
        LossKind kind, int rows, int classes, BufferView logits, BufferView labels, float smoothing, BufferView losses, BufferView dLogits)
    {
        var job = new CrossEntropyJob
        {
            Kind = kind,
            Rows = rows,
            Classes = classes,
            Logits = logits.Floats,
            Labels = labels.Ints,
            Smoothing = smoothing,
            Losses = losses.Floats,
            Gradient = dLogits.Floats,
        };
        _pool.Run(job.Items, ref job);
    }

    private struct CrossEntropyJob : IParallelJob
    {
        private const int ItemRows = 16;

        public LossKind Kind;
        public int Rows, Classes;
        public float* Logits;
        public int* Labels;
        public double Smoothing;
        public float* Losses;
        public float* Gradient;

        public readonly int Items => Rounding.DivideUp32(Rows, ItemRows);

        public readonly void Run(int item, int worker)
        {
            int first = item * ItemRows;
            for (int n = first; n - first < ItemRows && n < Rows; n++)
            {
                nint offset = (nint)n * Classes;
                Losses[n] = CrossEntropyRow.Run(
                    Kind, new ReadOnlySpan<float>(Logits + offset, Classes), Labels[n], Smoothing, 1.0 / Rows,
                    Gradient == null ? default : new Span<float>(Gradient + offset, Classes));
            }
        }
    }
}
