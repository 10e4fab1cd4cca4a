using System.Runtime.Intrinsics.X86;

namespace FeedbackKernels.Interop;

/// <summary>What blocks of work are cut to.</summary>
internal static class Caches
{
    /// <summary>What a cache moves at a time.</summary>
    public const int LineBytes = 64, LineFloats = LineBytes / sizeof(float);

    private const long UsualLevel2 = 1024 * 1024, Smallest = 256 * 1024, Largest = 2 * 1024 * 1024;

    /// <summary>Bytes of a core's second level of cache, as the processor tells; 1 MiB where it, or a virtual machine, hides
    /// them.</summary>
    public static readonly long Level2 = Read();

    /// <summary>Asks for lines into the first level of cache; they need not be mapped.</summary>
    public static unsafe void Fetch(float* first, nint floats)
    {
        for (nint i = 0; Sse.IsSupported && i < floats; i += LineFloats) Sse.Prefetch0(first + i);
    }

    /// <summary>The same into the second level, for what is wanted later.</summary>
    public static unsafe void FetchIntoLevel2(float* first, nint floats)
    {
        for (nint i = 0; Sse.IsSupported && i < floats; i += LineFloats) Sse.Prefetch1(first + i);
    }

    private static long Read()
    {
        // AMD's and Intel's processors tell it in the same place: leaf 0x80000006, the upper half of ecx, in KiB.
        const int cacheLeaf = unchecked((int)0x80000006);
        if (!X86Base.IsSupported || X86Base.CpuId(unchecked((int)0x80000000), 0).Eax < cacheLeaf) return UsualLevel2;
        long bytes = (long)((uint)X86Base.CpuId(cacheLeaf, 0).Ecx >> 16) * 1024;
        return bytes == 0 ? UsualLevel2 : Math.Clamp(bytes, Smallest, Largest);
    }
}
