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

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemAllocAsync")]
    public static partial CudaResult MemAllocAsync(out nint address, nuint bytes, nint stream);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemFreeAsync")]
    public static partial CudaResult MemFreeAsync(nint address, nint stream);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuDeviceGetDefaultMemPool")]
    public static partial CudaResult DeviceGetDefaultMemPool(out nint pool, int device);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemPoolGetAttribute")]
    public static partial CudaResult MemPoolGetAttribute(nint pool, MemoryPoolAttribute attribute, ulong* value);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemHostAlloc")]
    public static partial CudaResult MemHostAlloc(out nint address, nuint bytes, uint flags);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemFreeHost")]
    public static partial CudaResult MemFreeHost(nint address);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemcpyHtoDAsync_v2")]
    public static partial CudaResult MemcpyHtoDAsync(nint destination, nint source, nuint bytes, nint stream);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemcpyDtoHAsync_v2")]
    public static partial CudaResult MemcpyDtoHAsync(nint destination, nint source, nuint bytes, nint stream);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemsetD8Async")]
    public static partial CudaResult MemsetD8Async(nint address, byte value, nuint bytes, nint stream);
}

/// <summary>CUmemPool_attribute, as far as it is used.</summary>
internal enum MemoryPoolAttribute
{
    ReservedBytes = 5,
    UsedBytes = 7,
}
