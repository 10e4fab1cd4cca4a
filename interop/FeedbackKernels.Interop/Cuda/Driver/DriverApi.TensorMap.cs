using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

internal static unsafe partial class DriverApi
{
    public static CudaResult TensorMapEncodeTiled(
        void* map, TensorMapType type, uint rank, nint address, ulong* sizes, ulong* strides, uint* box, uint* elementStrides,
        uint interleave, TensorMapSwizzle swizzle, TensorMapPromotion promotion, uint outsideFill) =>
        PaperDriver.IsCurrent ? CudaResult.Success
            : Native.TensorMapEncodeTiled(map, type, rank, address, sizes, strides, box, elementStrides, interleave, swizzle, promotion, outsideFill);

    private static partial class Native
    {
        [LibraryImport(CudaLibrary.Import, EntryPoint = "cuTensorMapEncodeTiled")]
        public static partial CudaResult TensorMapEncodeTiled(
            void* map, TensorMapType type, uint rank, nint address, ulong* sizes, ulong* strides, uint* box, uint* elementStrides,
            uint interleave, TensorMapSwizzle swizzle, TensorMapPromotion promotion, uint outsideFill);
    }
}

/// <summary>CUtensorMapDataType, as far as it is used.</summary>
internal enum TensorMapType
{
    Byte = 0,
    Float32 = 7,
    BFloat16 = 9,
}

/// <summary>CUtensorMapSwizzle: how the 16-byte parts of the rows of a box are permuted in shared memory.</summary>
internal enum TensorMapSwizzle
{
    None,
    Bytes32,
    Bytes64,
    Bytes128,
}

/// <summary>CUtensorMapL2promotion: how much the second-level cache loads at once.</summary>
internal enum TensorMapPromotion
{
    None,
    Bytes64,
    Bytes128,
    Bytes256,
}
