using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace FeedbackKernels.Interop;

/// <summary>Sizes of the caches, from which the sizes of blocks follow.</summary>
internal static class Caches
{
    /// <summary>Size of a cache line.</summary>
    public const int LineBytes = 64, LineFloats = LineBytes / sizeof(float);

    private const long UsualLevel1 = 48 * 1024, UsualLevel2 = 1024 * 1024, SmallestLevel2 = 256 * 1024, LargestLevel2 = 2 * 1024 * 1024;

    /// <summary>Bytes of a core's L1 data cache, as the processor reports it; 48 KiB if the processor or a virtual machine does not
    /// report it.</summary>
    public static readonly long Level1 = ReadLevel1();

    /// <summary>The same for L2; 1 MiB if it is not reported.</summary>
    public static readonly long Level2 = ReadLevel2();

    /// <summary>The address rounded up to a cache line: a vector across two lines costs two accesses.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static unsafe float* LineStart(float* buffer) => (float*)(((nint)buffer + LineBytes - 1) & -LineBytes);

    /// <summary>Prefetches cache lines into L1. The addresses need not be mapped.</summary>
    public static unsafe void Fetch(float* first, nint floats)
    {
        for (nint i = 0; Sse.IsSupported && i < floats; i += LineFloats) Sse.Prefetch0(first + i);
    }

    /// <summary>Prefetches cache lines into L2, for data that is needed later.</summary>
    public static unsafe void FetchIntoLevel2(float* first, nint floats)
    {
        for (nint i = 0; Sse.IsSupported && i < floats; i += LineFloats) Sse.Prefetch1(first + i);
    }

    // AMD processors report it in the upper byte of ecx, in KiB. On Intel processors the leaf is empty.
    private static long ReadLevel1() =>
        Leaf(unchecked((int)0x80000005)) >> 24 is > 0 and var kibibytes ? kibibytes * 1024L : UsualLevel1;

    // AMD and Intel processors report it in the upper half of ecx, in KiB.
    private static long ReadLevel2() =>
        Leaf(unchecked((int)0x80000006)) >> 16 is > 0 and var kibibytes ? Math.Clamp(kibibytes * 1024L, SmallestLevel2, LargestLevel2) : UsualLevel2;

    /// <summary>Register ecx of a leaf of CPUID; 0 if there is no such leaf.</summary>
    private static uint Leaf(int leaf) =>
        X86Base.IsSupported && X86Base.CpuId(unchecked((int)0x80000000), 0).Eax >= leaf ? (uint)X86Base.CpuId(leaf, 0).Ecx : 0;
}
