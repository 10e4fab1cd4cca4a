using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>A call of the CUDA driver failed. Launches are asynchronous, so a fault in a kernel may be reported by a later call; with the
/// environment variable <c>CUDA_LAUNCH_BLOCKING=1</c> it is reported by the launch itself.</summary>
public sealed class CudaException : Exception
{
    internal CudaException(string call, CudaResult result, string operation, string? log = null)
        : base($"{call} failed with {NameOf(result)} ({(int)result}) in {operation}: {DescriptionOf(result)}{(log is null ? "" : $"; {log}")}")
    {
        Call = call;
        Result = (int)result;
    }

    /// <summary>The function of the driver API.</summary>
    public string Call { get; }

    /// <summary>Its CUresult.</summary>
    public int Result { get; }

    /// <summary>Whether the device, or the host's page-locked memory, was too small.</summary>
    public bool IsOutOfMemory => Result == (int)CudaResult.OutOfMemory;

    internal static void ThrowIfFailed(CudaResult result, string call, string operation)
    {
        if (result != CudaResult.Success) throw new CudaException(call, result, operation);
    }

    internal static string NameOf(CudaResult result) =>
        DriverApi.GetErrorName(result, out nint name) == CudaResult.Success ? Marshal.PtrToStringUTF8(name)! : "an unknown error";

    private static string DescriptionOf(CudaResult result) =>
        DriverApi.GetErrorString(result, out nint text) == CudaResult.Success ? Marshal.PtrToStringUTF8(text)! : "the driver has no description";
}
