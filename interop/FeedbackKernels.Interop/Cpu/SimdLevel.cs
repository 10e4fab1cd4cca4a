using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FeedbackKernels.Interop;

/// <summary>The vector width of the CPU kernels. All levels share one source, instantiated for their vector types.</summary>
public enum SimdLevel
{
    /// <summary>One float at a time.</summary>
    Scalar,

    /// <summary>4 floats: SSE, NEON, or another instruction set that the runtime maps <see cref="Vector128"/> to.</summary>
    Vector128,

    /// <summary>8 floats with fused multiply-add.</summary>
    Avx2,

    /// <summary>16 floats with fused multiply-add and 32 registers.</summary>
    Avx512,
}

/// <summary>The SIMD levels that this machine supports.</summary>
public static class SimdLevels
{
    /// <summary>The widest level that this machine and this runtime's settings support.</summary>
    public static SimdLevel Widest =>
        IsSupported(SimdLevel.Avx512) ? SimdLevel.Avx512
        : IsSupported(SimdLevel.Avx2) ? SimdLevel.Avx2
        : IsSupported(SimdLevel.Vector128) ? SimdLevel.Vector128
        : SimdLevel.Scalar;

    /// <summary>Whether this machine and this runtime's settings support a level.</summary>
    /// <param name="level">The vector width.</param>
    public static bool IsSupported(SimdLevel level) => level switch
    {
        SimdLevel.Avx512 => Avx512F.IsSupported && Avx512DQ.IsSupported && Vector512.IsHardwareAccelerated,
        SimdLevel.Avx2 => Avx2.IsSupported && Fma.IsSupported,
        SimdLevel.Vector128 => Vector128.IsHardwareAccelerated,
        SimdLevel.Scalar => true,
        _ => false,
    };

    /// <summary>All supported levels, narrowest first.</summary>
    public static IEnumerable<SimdLevel> Supported => Enum.GetValues<SimdLevel>().Where(IsSupported);
}
