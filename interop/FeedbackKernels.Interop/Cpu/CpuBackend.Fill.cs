namespace FeedbackKernels.Interop;

public sealed unsafe partial class CpuBackend
{
    internal override void FillCore(long length, BufferView values, float value) =>
        Map(_kernels->Fill, length, new MapArguments { Y = values.Floats, Alpha = value });

    internal override void FillGaussianCore(BufferView values, in RandomKey key, float standardDeviation)
    {
        var fill = new GaussianJob { Key = key, StandardDeviation = standardDeviation, Output = values.Floats, Length = values.Length };
        _pool.Run(fill.Items, ref fill);
    }

    internal override void ConvertCore(long length, BufferView source, BufferView result) =>
        Buffer.MemoryCopy(source.Floats, result.Floats, length * sizeof(float), length * sizeof(float));

    private struct GaussianJob : IParallelJob
    {
        // A multiple of the four numbers of a Philox block.
        private const int ItemFloats = 4096;

        public RandomKey Key;
        public float StandardDeviation;
        public float* Output;
        public long Length;

        public readonly int Items => WorkItems.Checked(Rounding.DivideUp(Length, ItemFloats));

        public readonly void Run(int item, int worker)
        {
            long first = (long)item * ItemFloats;
            var part = new Span<float>(Output + first, (int)Math.Min(ItemFloats, Length - first));
            Key.FillGaussian(part, StandardDeviation, (uint)(first / 4));
        }
    }
}
