using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

// native/pooling.cu
public sealed unsafe partial class CudaBackend
{
    private const int PoolThreads = 256, MostImagesOfAGrid = 65_535;

    private static readonly CudaKernelTable<ElementType> MaxPoolForwardKernels = new(
        "pooling", (ElementType.Float32, "max_pool_forward_fp32"), (ElementType.BFloat16, "max_pool_forward_bf16"));

    private static readonly CudaKernelTable<ElementType> MaxPoolBackwardKernels = new(
        "pooling", (ElementType.Float32, "max_pool_backward_fp32"), (ElementType.BFloat16, "max_pool_backward_bf16"));

    private static readonly CudaKernelTable<ElementType> AveragePoolForwardKernels = new(
        "pooling", (ElementType.Float32, "average_pool_forward_fp32"), (ElementType.BFloat16, "average_pool_forward_bf16"));

    private static readonly CudaKernelTable<ElementType> AveragePoolBackwardKernels = new(
        "pooling", (ElementType.Float32, "average_pool_backward_fp32"), (ElementType.BFloat16, "average_pool_backward_bf16"));

    private static IEnumerable<CudaKernel> PoolingKernels =>
        [.. MaxPoolForwardKernels.All, .. MaxPoolBackwardKernels.All, .. AveragePoolForwardKernels.All, .. AveragePoolBackwardKernels.All];

    internal override void MaxPoolForwardCore(in PoolShape shape, BufferView x, BufferView y, BufferView positions) => Launch(
        MaxPoolForwardKernels[ActivationType], PoolGrid(shape, shape.P, shape.Q), PoolThreads,
        new MaxPoolForwardArguments { Shape = new NativePoolShape(shape), X = x.Pointer, Y = y.Pointer, Positions = positions.Ints }, shape);

    internal override void MaxPoolBackwardCore(in PoolShape shape, BufferView dy, BufferView positions, BufferView dx) => Launch(
        MaxPoolBackwardKernels[ActivationType], PoolGrid(shape, shape.H, shape.W), PoolThreads,
        new MaxPoolBackwardArguments { Shape = new NativePoolShape(shape), Dy = dy.Pointer, Positions = positions.Ints, Dx = dx.Pointer }, shape);

    internal override void AveragePoolForwardCore(in PoolShape shape, BufferView x, BufferView y) => Launch(
        AveragePoolForwardKernels[ActivationType], PoolGrid(shape, shape.P, shape.Q), PoolThreads,
        new AveragePoolArguments { Shape = new NativePoolShape(shape), Source = x.Pointer, Result = y.Pointer }, shape);

    internal override void AveragePoolBackwardCore(in PoolShape shape, BufferView dy, BufferView dx) => Launch(
        AveragePoolBackwardKernels[ActivationType], PoolGrid(shape, shape.H, shape.W), PoolThreads,
        new AveragePoolArguments { Shape = new NativePoolShape(shape), Source = dy.Pointer, Result = dx.Pointer }, shape);

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

    internal struct MaxPoolForwardArguments
    {
        public NativePoolShape Shape;
        public void* X, Y;
        public int* Positions;
    }

    internal struct MaxPoolBackwardArguments
    {
        public NativePoolShape Shape;
        public void* Dy;
        public int* Positions;
        public void* Dx;
    }

    internal struct AveragePoolArguments
    {
        public NativePoolShape Shape;
        public void* Source, Result;
    }
}
