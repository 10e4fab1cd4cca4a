using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

// native/fill.cu, convert.cu
public sealed unsafe partial class CudaBackend
{
    private static readonly CudaKernelTable<ElementType> FillKernels = new(
        "fill", (ElementType.Float32, "fill_fp32"), (ElementType.BFloat16, "fill_bf16"));

    private static readonly CudaKernelTable<(ElementType From, ElementType To)> ConvertKernels = new(
        "convert",
        ((ElementType.Float32, ElementType.Float32), "convert_fp32_to_fp32"), ((ElementType.Float32, ElementType.BFloat16), "convert_fp32_to_bf16"),
        ((ElementType.BFloat16, ElementType.Float32), "convert_bf16_to_fp32"), ((ElementType.BFloat16, ElementType.BFloat16), "convert_bf16_to_bf16"));

    private static readonly CudaKernel FillGaussianKernel = new("fill", "fill_gaussian");

    private static IEnumerable<CudaKernel> AllFillKernels => [.. FillKernels.All, FillGaussianKernel, .. ConvertKernels.All];

    internal override void FillCore(long length, BufferView values, float value) => Launch(
        FillKernels[values.Type], ElementGrid(length), ElementThreads,
        new FillArguments { Length = length, Wide = AllowWide(values) ? 1 : 0, Value = value, Values = values.Pointer },
        new Elements(length));

    internal override void FillGaussianCore(BufferView values, in RandomKey key, float standardDeviation) => Launch(
        FillGaussianKernel, new Grid(DivideUp(values.Length, 4 * ElementThreads)), ElementThreads,
        new FillGaussianArguments
        {
            Length = values.Length,
            Key = new NativeRandomKey(key),
            StandardDeviation = standardDeviation,
            Values = values.Floats,
        },
        new Elements(values.Length));

    internal override void ConvertCore(long length, BufferView source, BufferView result) => Launch(
        ConvertKernels[(source.Type, result.Type)], ElementGrid(length), ElementThreads,
        new ConvertArguments { Length = length, Wide = AllowWide(source, result) ? 1 : 0, Source = source.Pointer, Result = result.Pointer },
        new Elements(length));

    /// <summary><see cref="Backend.Convert"/> between any of the two types, also where activations are Float32.</summary>
    internal void ConvertNumbers(BufferView source, BufferView result)
    {
        using OperationScope call = new(this);
        call.Read(source, source.Length, source.Type);
        call.Write(result, source.Length, result.Type);
        ConvertCore(source.Length, source, result);
    }

    internal struct FillArguments
    {
        public long Length;
        public int Wide;
        public float Value;
        public void* Values;
    }

    internal struct FillGaussianArguments
    {
        public long Length;
        public NativeRandomKey Key;
        public float StandardDeviation;
        public fixed byte Hole[4];
        public float* Values;
    }

    internal struct ConvertArguments
    {
        public long Length;
        public int Wide;
        public fixed byte Hole[4];
        public void* Source, Result;
    }
}
