using System.Runtime.Intrinsics.X86;

namespace FeedbackKernels.Interop;

/// <summary>What blocks of work are cut to.</summary>
internal static class Caches
{
    /// <summary>What a cache moves at a time.</summary>
    public const int LineBytes = 64, LineFloats = LineBytes / sizeof(float);

    private const long UsualLevel1 = 48 * 1024, UsualLevel2 = 1024 * 1024, SmallestLevel2 = 256 * 1024, LargestLevel2 = 2 * 1024 * 1024;

    /// <summary>Bytes of a core's first level of cache for data, as the processor tells; 48 KiB where it, or a virtual machine, hides
    /// them.</summary>
    public static readonly long Level1 = ReadLevel1();

    /// <summary>The same of the second level; 1 MiB where they are hidden.</summary>
    public static readonly long Level2 = ReadLevel2();

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

    // AMD's processors tell it in the upper byte of ecx, in KiB; Intel's keep that leaf empty.
    private static long ReadLevel1() =>
        Leaf(unchecked((int)0x80000005)) >> 24 is > 0 and var kibibytes ? kibibytes * 1024L : UsualLevel1;

    // AMD's and Intel's processors tell it in the same place: the upper half of ecx, in KiB.
    private static long ReadLevel2() =>
        Leaf(unchecked((int)0x80000006)) >> 16 is > 0 and var kibibytes ? Math.Clamp(kibibytes * 1024L, SmallestLevel2, LargestLevel2) : UsualLevel2;

    /// <summary>Register ecx of a leaf of CPUID; 0 where there is none.</summary>
    private static uint Leaf(int leaf) =>
        X86Base.IsSupported && X86Base.CpuId(unchecked((int)0x80000000), 0).Eax >= leaf ? (uint)X86Base.CpuId(leaf, 0).Ecx : 0;
}
