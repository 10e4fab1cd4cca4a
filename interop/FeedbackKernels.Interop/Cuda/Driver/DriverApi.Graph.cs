using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

internal static unsafe partial class DriverApi
{
    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuGraphCreate")]
    public static partial CudaResult GraphCreate(out nint graph, uint flags);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuGraphAddKernelNode_v2")]
    public static partial CudaResult GraphAddKernelNode(
        out nint node, nint graph, nint* dependencies, nuint dependencyCount, KernelNodeParameters* parameters);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuGraphInstantiateWithFlags")]
    public static partial CudaResult GraphInstantiate(out nint executable, nint graph, ulong flags);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuGraphExecKernelNodeSetParams_v2")]
    public static partial CudaResult GraphExecKernelNodeSetParameters(nint executable, nint node, KernelNodeParameters* parameters);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuGraphLaunch")]
    public static partial CudaResult GraphLaunch(nint executable, nint stream);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuGraphExecDestroy")]
    public static partial CudaResult GraphExecDestroy(nint executable);

    [LibraryImport(CudaLibrary.Import, EntryPoint = "cuGraphDestroy")]
    public static partial CudaResult GraphDestroy(nint graph);
}

/// <summary>CUDA_KERNEL_NODE_PARAMS_v2.</summary>
internal unsafe struct KernelNodeParameters
{
    public nint Function;
    public uint GridX, GridY, GridZ, BlockX, BlockY, BlockZ, SharedBytes;

    /// <summary>Addresses of the kernel's parameters.</summary>
    public void** Parameters;

    public void** Extra;

    /// <summary>A CUkernel and its context, where there is no <see cref="Function"/>.</summary>
    public nint Kernel, Context;
}
