using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

internal static unsafe partial class DriverApi
{
    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuStreamCreate")]
    public static partial CudaResult StreamCreate(out nint stream, uint flags);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuStreamDestroy_v2")]
    public static partial CudaResult StreamDestroy(nint stream);

    public static CudaResult StreamSynchronize(nint stream) =>
        PaperDriver.IsCurrent ? CudaResult.Success : Native.StreamSynchronize(stream);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuStreamWaitEvent")]
    public static partial CudaResult StreamWaitEvent(nint stream, nint waitedFor, uint flags);

    public static CudaResult EventCreate(out nint made, uint flags) =>
        PaperDriver.IsCurrent ? PaperDriver.CreateEvent(out made) : Native.EventCreate(out made, flags);

    public static CudaResult EventRecord(nint recorded, nint stream) =>
        PaperDriver.IsCurrent ? CudaResult.Success : Native.EventRecord(recorded, stream);

    public static CudaResult EventQuery(nint queried) =>
        PaperDriver.IsCurrent ? CudaResult.Success : Native.EventQuery(queried);

    public static CudaResult EventSynchronize(nint waitedFor) =>
        PaperDriver.IsCurrent ? CudaResult.Success : Native.EventSynchronize(waitedFor);

    public static CudaResult EventDestroy(nint destroyed) =>
        PaperDriver.IsCurrent ? CudaResult.Success : Native.EventDestroy(destroyed);

    public static CudaResult ModuleLoadData(out nint module, byte* image, uint options, JitOption* names, void** values) =>
        PaperDriver.IsCurrent ? PaperDriver.Load(out module) : Native.ModuleLoadData(out module, image, options, names, values);

    public static CudaResult ModuleUnload(nint module) =>
        PaperDriver.IsCurrent ? CudaResult.Success : Native.ModuleUnload(module);

    public static CudaResult ModuleGetFunction(out nint function, nint module, string name) =>
        PaperDriver.IsCurrent ? PaperDriver.Find(out function) : Native.ModuleGetFunction(out function, module, name);

    public static CudaResult FuncSetAttribute(nint function, FunctionAttribute attribute, int value) =>
        PaperDriver.IsCurrent ? CudaResult.Success : Native.FuncSetAttribute(function, attribute, value);

    public static CudaResult LaunchKernel(
        nint function, uint gridX, uint gridY, uint gridZ, uint blockX, uint blockY, uint blockZ, uint sharedBytes, nint stream,
        void** parameters, void** extra) =>
        PaperDriver.IsCurrent ? CudaResult.Success
            : Native.LaunchKernel(function, gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes, stream, parameters, extra);

    private static partial class Native
    {
        [LibraryImport(CudaLibrary.Import, EntryPoint = "cuStreamSynchronize")]
        public static partial CudaResult StreamSynchronize(nint stream);

        [LibraryImport(CudaLibrary.Import, EntryPoint = "cuEventCreate")]
        public static partial CudaResult EventCreate(out nint made, uint flags);

        [LibraryImport(CudaLibrary.Import, EntryPoint = "cuEventRecord")]
        public static partial CudaResult EventRecord(nint recorded, nint stream);

        [LibraryImport(CudaLibrary.Import, EntryPoint = "cuEventQuery")]
        public static partial CudaResult EventQuery(nint queried);

        [LibraryImport(CudaLibrary.Import, EntryPoint = "cuEventSynchronize")]
        public static partial CudaResult EventSynchronize(nint waitedFor);

        [LibraryImport(CudaLibrary.Import, EntryPoint = "cuEventDestroy_v2")]
        public static partial CudaResult EventDestroy(nint destroyed);

        [LibraryImport(CudaLibrary.Import, EntryPoint = "cuModuleLoadDataEx")]
        public static partial CudaResult ModuleLoadData(out nint module, byte* image, uint options, JitOption* names, void** values);

        [LibraryImport(CudaLibrary.Import, EntryPoint = "cuModuleUnload")]
        public static partial CudaResult ModuleUnload(nint module);

        [LibraryImport(CudaLibrary.Import, EntryPoint = "cuModuleGetFunction", StringMarshalling = StringMarshalling.Utf8)]
        public static partial CudaResult ModuleGetFunction(out nint function, nint module, string name);

        [LibraryImport(CudaLibrary.Import, EntryPoint = "cuFuncSetAttribute")]
        public static partial CudaResult FuncSetAttribute(nint function, FunctionAttribute attribute, int value);

        [LibraryImport(CudaLibrary.Import, EntryPoint = "cuLaunchKernel")]
        public static partial CudaResult LaunchKernel(
            nint function, uint gridX, uint gridY, uint gridZ, uint blockX, uint blockY, uint blockZ, uint sharedBytes, nint stream,
            void** parameters, void** extra);
    }
}

/// <summary>CUjit_option, as far as it is used.</summary>
internal enum JitOption
{
    InfoLogBuffer = 3,
    InfoLogBufferBytes = 4,
    ErrorLogBuffer = 5,
    ErrorLogBufferBytes = 6,
    LogVerbose = 12,
}

internal enum FunctionAttribute
{
    MaxDynamicSharedSizeBytes = 8,
}
