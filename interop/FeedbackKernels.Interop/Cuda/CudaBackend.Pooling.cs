namespace FeedbackKernels.Interop;

// native/pooling.cu
public sealed unsafe partial class CudaBackend
{
    private const int PoolThreads = 256, MostImagesOfAGrid = 65_535;

    internal override void MaxPoolForwardCore(in PoolShape shape, BufferView x, BufferView y, BufferView positions) => Launch(
        "pooling", "max_pool_forward", PoolGrid(shape, shape.P, shape.Q), PoolThreads,
        new MaxPoolForwardArguments { Shape = new NativePoolShape(shape), X = x.Floats, Y = y.Floats, Positions = positions.Ints }, shape);

    internal override void MaxPoolBackwardCore(in PoolShape shape, BufferView dy, BufferView positions, BufferView dx) => Launch(
        "pooling", "max_pool_backward", PoolGrid(shape, shape.H, shape.W), PoolThreads,
        new MaxPoolBackwardArguments { Shape = new NativePoolShape(shape), Dy = dy.Floats, Positions = positions.Ints, Dx = dx.Floats }, shape);

    internal override void AveragePoolForwardCore(in PoolShape shape, BufferView x, BufferView y) => Launch(
        "pooling", "average_pool_forward", PoolGrid(shape, shape.P, shape.Q), PoolThreads,
        new AveragePoolArguments { Shape = new NativePoolShape(shape), Source = x.Floats, Result = y.Floats }, shape);

    internal override void AveragePoolBackwardCore(in PoolShape shape, BufferView dy, BufferView dx) => Launch(
        "pooling", "average_pool_backward", PoolGrid(shape, shape.H, shape.W), PoolThreads,
        new AveragePoolArguments { Shape = new NativePoolShape(shape), Source = dy.Floats, Result = dx.Floats }, shape);

    private static Grid PoolGrid(in PoolShape shape, int rows, int columns)
    {
        long elements = (long)rows * columns * shape.C;
        if (elements + PoolThreads > int.MaxValue)
        {
            throw new NotSupportedException(
                $"an image of {rows}x{columns}x{shape.C} in a pooling has more elements than the CUDA kernels count to, {int.MaxValue}");
        }

        return new Grid(DivideUp(elements, PoolThreads), Math.Min(shape.N, MostImagesOfAGrid));
    }

    private struct MaxPoolForwardArguments
    {
        public NativePoolShape Shape;
        public float* X, Y;
        public int* Positions;
    }

    private struct MaxPoolBackwardArguments
    {
        public NativePoolShape Shape;
        public float* Dy;
        public int* Positions;
        public float* Dx;
    }

    private struct AveragePoolArguments
    {
        public NativePoolShape Shape;
        public float* Source, Result;
    }
}
