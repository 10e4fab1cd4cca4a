using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

internal static unsafe partial class DriverApi
{
    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuTensorMapEncodeTiled")]
    public static partial CudaResult TensorMapEncodeTiled(
        void* map, TensorMapType type, uint rank, nint address, ulong* sizes, ulong* strides, uint* box, uint* elementStrides,
        uint interleave, TensorMapSwizzle swizzle, TensorMapPromotion promotion, uint outsideFill);
}

/// <summary>CUtensorMapDataType, as far as it is used.</summary>
internal enum TensorMapType
{
    Byte = 0,
    Float32 = 7,
    BFloat16 = 9,
}

/// <summary>CUtensorMapSwizzle: how the 16-byte pieces of rows of a box trade places in shared memory.</summary>
internal enum TensorMapSwizzle
{
    None,
    Bytes32,
    Bytes64,
    Bytes128,
}

/// <summary>CUtensorMapL2promotion: how much the second-level cache fetches at once.</summary>
internal enum TensorMapPromotion
{
    None,
    Bytes64,
    Bytes128,
    Bytes256,
}
