using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

internal static unsafe partial class DriverApi
{
    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemGetInfo_v2")]
    public static partial CudaResult MemGetInfo(out nuint free, out nuint total);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemAlloc_v2")]
    public static partial CudaResult MemAlloc(out nint address, nuint bytes);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemFree_v2")]
    public static partial CudaResult MemFree(nint address);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemcpyHtoDAsync_v2")]
    public static partial CudaResult MemcpyHtoDAsync(nint destination, void* source, nuint bytes, nint stream);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemcpyDtoHAsync_v2")]
    public static partial CudaResult MemcpyDtoHAsync(void* destination, nint source, nuint bytes, nint stream);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemsetD8Async")]
    public static partial CudaResult MemsetD8Async(nint address, byte value, nuint bytes, nint stream);
}
