using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>ncclResult_t. Only the values that this library tells apart have names here.</summary>
internal enum NcclResult
{
    Success = 0,
    InProgress = 7,
}

/// <summary>ncclDataType_t, as far as it is used.</summary>
internal enum NcclType
{
    Int8 = 0,
    Float32 = 7,
    BFloat16 = 9,
}

/// <summary>The library of NCCL (2.11 or newer; before 2.19.4 an abort may hang), loaded when the first processes with GPUs join. It finds the
/// CUDA driver by itself.</summary>
internal sealed unsafe class NcclLibrary
{
    /// <summary>The environment variable that names the library, if it is not <see cref="DefaultName"/>.</summary>
    public const string EnvironmentVariable = "FEEDBACK_NCCL";

    /// <summary>The name that the system's loader looks for.</summary>
    public const string DefaultName = "libnccl.so.2";

    // ncclScalarHostImmediate: the factor has been read when the call returns.
    private const int ScalarOfHost = 1;

    private readonly nint _library;
    private readonly delegate* unmanaged<int*, NcclResult> _getVersion;
    private readonly delegate* unmanaged<NcclResult, nint> _getErrorString;
    private readonly delegate* unmanaged<nint, nint> _getLastError;
    private readonly delegate* unmanaged<NcclUniqueId*, NcclResult> _getUniqueId;
    private readonly delegate* unmanaged<nint*, int, NcclUniqueId, int, NcclResult> _commInitRank;
    private readonly delegate* unmanaged<nint, NcclResult*, NcclResult> _commGetAsyncError;
    private readonly delegate* unmanaged<nint, NcclResult> _commAbort, _commDestroy;
    private readonly delegate* unmanaged<int*, void*, NcclType, int, nint, NcclResult> _redOpCreatePreMulSum;
    private readonly delegate* unmanaged<void*, void*, nuint, NcclType, int, nint, nint, NcclResult> _allReduce, _broadcast;

    private NcclLibrary(nint library, string path)
    {
        (_library, Path) = (library, path);
        _getVersion = (delegate* unmanaged<int*, NcclResult>)Export("ncclGetVersion");
        _getErrorString = (delegate* unmanaged<NcclResult, nint>)Export("ncclGetErrorString");
        // Since version 2.13.
        _getLastError = NativeLibrary.TryGetExport(library, "ncclGetLastError", out nint last) ? (delegate* unmanaged<nint, nint>)last : null;
        _getUniqueId = (delegate* unmanaged<NcclUniqueId*, NcclResult>)Export("ncclGetUniqueId");
        _commInitRank = (delegate* unmanaged<nint*, int, NcclUniqueId, int, NcclResult>)Export("ncclCommInitRank");
        _commGetAsyncError = (delegate* unmanaged<nint, NcclResult*, NcclResult>)Export("ncclCommGetAsyncError");
        _commAbort = (delegate* unmanaged<nint, NcclResult>)Export("ncclCommAbort");
        _commDestroy = (delegate* unmanaged<nint, NcclResult>)Export("ncclCommDestroy");
        _redOpCreatePreMulSum = (delegate* unmanaged<int*, void*, NcclType, int, nint, NcclResult>)Export("ncclRedOpCreatePreMulSum");
        _allReduce = (delegate* unmanaged<void*, void*, nuint, NcclType, int, nint, nint, NcclResult>)Export("ncclAllReduce");
        _broadcast = (delegate* unmanaged<void*, void*, nuint, NcclType, int, nint, nint, NcclResult>)Export("ncclBroadcast");
        int version;
        Check(_getVersion(&version), 0, "ask for the version");
        // Since version 2.9 it is 10000 * major + 100 * minor + patch.
        Version = $"{version / 10_000}.{version % 10_000 / 100}.{version % 100}";
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Its version, as major.minor.patch.</summary>
    public string Version { get; }

    /// <summary>Loads the library.</summary>
    /// <param name="path">A file; null for what the environment variable names, or else the system's library.</param>
    /// <exception cref="PlatformNotSupportedException">It cannot be loaded, or is too old; the message names every path tried.</exception>
    public static NcclLibrary Load(string? path = null)
    {
        string? named = Environment.GetEnvironmentVariable(EnvironmentVariable);
        string file = path ?? (string.IsNullOrEmpty(named) ? DefaultName : named);
        try
        {
            return new NcclLibrary(NativeLibrary.Load(file), file);
        }
        catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
        {
            string source = path is null && file == named ? $", named by {EnvironmentVariable}," : "";
            string hint = file == DefaultName ? $" (NVIDIA's package libnccl2 installs it; {EnvironmentVariable} can name another file)" : "";
            throw new PlatformNotSupportedException($"the NCCL library '{file}'{source} cannot be loaded{hint}: {CudaLibrary.LoaderReport(e.Message)}", e);
        }
    }

    /// <summary>Makes the id of a group of processes, in one of them.</summary>
    public NcclUniqueId CreateId()
    {
        NcclUniqueId id;
        Check(_getUniqueId(&id), 0, "make an id");
        return id;
    }

    /// <summary>Joins the others; returns when all have. The device's context is current.</summary>
    public nint Join(in NcclUniqueId id, int rank, int size)
    {
        nint joined;
        Check(_commInitRank(&joined, size, id, rank), 0, $"join as process {rank} of {size}");
        return joined;
    }

    /// <summary>What has gone wrong on the device or in the network since the last call; null if nothing has.</summary>
    public string? FailureOf(nint communicator)
    {
        NcclResult found;
        NcclResult result = _commGetAsyncError(communicator, &found);
        if (result == NcclResult.Success) result = found;
        return result is NcclResult.Success or NcclResult.InProgress ? null : Describe(result, communicator);
    }

    /// <summary>Ends what goes on and gives the communicator back. No other thread is in a call with it.</summary>
    public void Abort(nint communicator) => _ = _commAbort(communicator);

    /// <summary>Gives a communicator back that has nothing left to do.</summary>
    public void Destroy(nint communicator) => _ = _commDestroy(communicator);

    /// <summary>Creates a sum in which the numbers of this process are multiplied by a factor first.</summary>
    public int CreateWeightedSum(nint communicator, float weight, NcclType type)
    {
        int operation;
        var rounded = (BFloat16)weight;
        void* factor = type == NcclType.BFloat16 ? &rounded : &weight;
        Check(_redOpCreatePreMulSum(&operation, factor, type, ScalarOfHost, communicator), communicator, $"weight a sum by {weight}");
        return operation;
    }

    /// <summary>Queues a sum in place.</summary>
    public void AllReduce(nint communicator, nint values, long count, NcclType type, int operation, nint stream, string name) =>
        Check(_allReduce((void*)values, (void*)values, (nuint)count, type, operation, communicator, stream), communicator, name);

    /// <summary>Queues a broadcast in place.</summary>
    public void Broadcast(nint communicator, nint bytes, long count, int from, nint stream, string name) =>
        Check(_broadcast((void*)bytes, (void*)bytes, (nuint)count, NcclType.Int8, from, communicator, stream), communicator, name);

    /// <exception cref="CommunicationException">The result is an error.</exception>
    private void Check(NcclResult result, nint communicator, string operation)
    {
        // In progress is that of a communicator that does not block, which this library does not make.
        if (result != NcclResult.Success) throw new CommunicationException($"NCCL: {operation}: {Describe(result, communicator)}");
    }

    private string Describe(NcclResult result, nint communicator)
    {
        string text = Marshal.PtrToStringUTF8(_getErrorString(result)) ?? $"error {(int)result}";
        string last = _getLastError is null ? "" : Marshal.PtrToStringUTF8(_getLastError(communicator))?.Trim() ?? "";
        return last.Length == 0 ? text : $"{text} ({last})";
    }

    private nint Export(string name) => NativeLibrary.TryGetExport(_library, name, out nint address)
        ? address
        : throw new PlatformNotSupportedException($"the NCCL library '{Path}' has no {name}; wanted NCCL 2.11 or newer");
}
