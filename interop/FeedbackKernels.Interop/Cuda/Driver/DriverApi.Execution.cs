using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

internal static unsafe partial class DriverApi
{
    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuStreamCreate")]
    public static partial CudaResult StreamCreate(out nint stream, uint flags);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuStreamDestroy_v2")]
    public static partial CudaResult StreamDestroy(nint stream);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuStreamSynchronize")]
    public static partial CudaResult StreamSynchronize(nint stream);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuModuleLoadData")]
    public static partial CudaResult ModuleLoadData(out nint module, byte* image);

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

internal enum FunctionAttribute
{
    MaxDynamicSharedSizeBytes = 8,
}
