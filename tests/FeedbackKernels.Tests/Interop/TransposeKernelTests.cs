using System.Runtime.InteropServices;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Interop;

public sealed unsafe class TransposeKernelTests
{
    public static TheoryData<SimdLevel, bool> Kernels()
    {
        var kernels = new TheoryData<SimdLevel, bool>();
        foreach (SimdLevel level in SimdLevels.Supported)
        {
            kernels.Add(level, false);
            kernels.Add(level, true);
        }

        return kernels;
    }

    /// <summary>Sizes on both sides of a vector and of a line, between rows and columns that must stay as they are.</summary>
    [Theory, MemberData(nameof(Kernels))]
    public void Every_element_goes_to_its_place_and_nothing_else_is_written(SimdLevel level, bool nonTemporal)
    {
        const int sourceStride = 51, line = 16;
        CpuKernels* kernels = CpuKernels.For(level);
        var transpose = nonTemporal ? kernels->TransposeNonTemporal : kernels->Transpose;
        int[] sizes = [1, 3, 8, 15, 16, 17, 40, 48];
        foreach (int rows in sizes)
        {
            foreach (int columns in sizes)
            {
                int destinationStride = (rows + line - 1) / line * line + line, length = (columns + 1) * destinationStride;
                float[] source = [.. Enumerable.Range(0, rows * sourceStride).Select(i => i + 1f)];
                float* destination = (float*)NativeMemory.AlignedAlloc((nuint)length * sizeof(float), Caches.LineBytes);
                try
                {
                    new Span<float>(destination, length).Clear();
                    fixed (float* from = source) transpose(from, sourceStride, rows, columns, destination, destinationStride);
                    for (int i = 0; i < length; i++)
                    {
                        (int column, int row) = Math.DivRem(i, destinationStride);
                        float expected = column < columns && row < rows ? source[row * sourceStride + column] : 0;
                        if (destination[i] != expected) Assert.Fail($"{rows} rows, {columns} columns: [{column}][{row}] is {destination[i]}, not {expected}");
                    }
                }
                finally
                {
                    NativeMemory.AlignedFree(destination);
                }
            }
        }
    }
}
