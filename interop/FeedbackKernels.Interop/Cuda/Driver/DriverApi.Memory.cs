using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

internal static unsafe partial class DriverApi
{
    public static CudaResult MemGetInfo(out nuint free, out nuint total) =>
        PaperDriver.IsCurrent ? PaperDriver.Memory(out free, out total) : Native.MemGetInfo(out free, out total);

    public static CudaResult MemAlloc(out nint address, nuint bytes) =>
        PaperDriver.IsCurrent ? PaperDriver.Allocate(out address, bytes) : Native.MemAlloc(out address, bytes);

    public static CudaResult MemFree(nint address) =>
        PaperDriver.IsCurrent ? CudaResult.Success : Native.MemFree(address);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemAllocAsync")]
    public static partial CudaResult MemAllocAsync(out nint address, nuint bytes, nint stream);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemFreeAsync")]
    public static partial CudaResult MemFreeAsync(nint address, nint stream);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuDeviceGetDefaultMemPool")]
    public static partial CudaResult DeviceGetDefaultMemPool(out nint pool, int device);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemPoolGetAttribute")]
    public static partial CudaResult MemPoolGetAttribute(nint pool, MemoryPoolAttribute attribute, ulong* value);

    public static CudaResult MemHostAlloc(out nint address, nuint bytes, uint flags) =>
        PaperDriver.IsCurrent ? PaperDriver.AllocateHost(out address, bytes) : Native.MemHostAlloc(out address, bytes, flags);

    public static CudaResult MemFreeHost(nint address) =>
        PaperDriver.IsCurrent ? PaperDriver.FreeHost(address) : Native.MemFreeHost(address);

    public static CudaResult MemcpyHtoDAsync(nint destination, nint source, nuint bytes, nint stream) =>
        PaperDriver.IsCurrent ? CudaResult.Success : Native.MemcpyHtoDAsync(destination, source, bytes, stream);

    public static CudaResult MemcpyDtoHAsync(nint destination, nint source, nuint bytes, nint stream) =>
        PaperDriver.IsCurrent ? PaperDriver.Download(destination, bytes) : Native.MemcpyDtoHAsync(destination, source, bytes, stream);

    public static CudaResult MemsetD8Async(nint address, byte value, nuint bytes, nint stream) =>
        PaperDriver.IsCurrent ? CudaResult.Success : Native.MemsetD8Async(address, value, bytes, stream);

    private static partial class Native
    {
        [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemGetInfo_v2")]
        public static partial CudaResult MemGetInfo(out nuint free, out nuint total);

        [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemAlloc_v2")]
        public static partial CudaResult MemAlloc(out nint address, nuint bytes);

        [LibraryImport(CudaLibrary.Import, EntryPoint = "cuMemFree_v2")]
        public static partial CudaResult MemFree(nint address);

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
}

/// <summary>CUmemPool_attribute, as far as it is used.</summary>
internal enum MemoryPoolAttribute
{
    ReservedBytes = 5,
    UsedBytes = 7,
}
