using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>The functions of the driver API that are used, by their names in cuda.h without the prefix.</summary>
internal static unsafe partial class DriverApi
{
    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuInit")]
    public static partial CudaResult Init(uint flags);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuDriverGetVersion")]
    public static partial CudaResult DriverGetVersion(out int version);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuGetErrorName")]
    public static partial CudaResult GetErrorName(CudaResult result, out nint name);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuGetErrorString")]
    public static partial CudaResult GetErrorString(CudaResult result, out nint text);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuDeviceGetCount")]
    public static partial CudaResult DeviceGetCount(out int count);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuDeviceGet")]
    public static partial CudaResult DeviceGet(out int device, int ordinal);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuDeviceGetName")]
    public static partial CudaResult DeviceGetName(byte* name, int length, int device);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuDeviceGetAttribute")]
    public static partial CudaResult DeviceGetAttribute(out int value, DeviceAttribute attribute, int device);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuDeviceTotalMem_v2")]
    public static partial CudaResult DeviceTotalMem(out nuint bytes, int device);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuDevicePrimaryCtxRetain")]
    public static partial CudaResult DevicePrimaryCtxRetain(out nint context, int device);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuDevicePrimaryCtxRelease_v2")]
    public static partial CudaResult DevicePrimaryCtxRelease(int device);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuCtxGetCurrent")]
    public static partial CudaResult CtxGetCurrent(out nint context);

    public static CudaResult CtxPushCurrent(nint context) =>
        context == PaperDriver.Context ? PaperDriver.Enter() : Native.CtxPushCurrent(context);

    public static CudaResult CtxPopCurrent(out nint context) =>
        PaperDriver.IsCurrent ? PaperDriver.Leave(out context) : Native.CtxPopCurrent(out context);

    public static CudaResult CtxSynchronize() =>
        PaperDriver.IsCurrent ? CudaResult.Success : Native.CtxSynchronize();

    private static partial class Native
    {
        [LibraryImport(CudaLibrary.Import, EntryPoint = "cuCtxPushCurrent_v2")]
        public static partial CudaResult CtxPushCurrent(nint context);

        [LibraryImport(CudaLibrary.Import, EntryPoint = "cuCtxPopCurrent_v2")]
        public static partial CudaResult CtxPopCurrent(out nint context);

        [LibraryImport(CudaLibrary.Import, EntryPoint = "cuCtxSynchronize")]
        public static partial CudaResult CtxSynchronize();
    }
}

internal enum DeviceAttribute
{
    MultiprocessorCount = 16,
    ComputeCapabilityMajor = 75,
    ComputeCapabilityMinor = 76,
    MemoryPoolsSupported = 115,
}
