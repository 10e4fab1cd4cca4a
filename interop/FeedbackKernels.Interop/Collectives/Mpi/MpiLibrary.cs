using System.Runtime.InteropServices;
using System.Text;

namespace FeedbackKernels.Interop;

/// <summary>
/// The MPI library (MPI 3.1), loaded when a launcher has started this process. Its two kinds differ in what a handle is: an address of
/// data in Open MPI, an integer in MPICH. Both go through a parameter of 64 bits: MPICH reads its lower half.
/// </summary>
internal sealed unsafe partial class MpiLibrary
{
    /// <summary>The environment variable that names the library, if it is not one of the usual ones.</summary>
    public const string EnvironmentVariable = "FEEDBACK_MPI";

    // dlopen
    private const int Now = 2, Global = 0x100;

    private static readonly string[] OpenMpiNames = ["libmpi.so.40"], MpichNames = ["libmpich.so.12", "libmpi.so.12"];

    private readonly nint _library;

    internal readonly delegate* unmanaged<int*, byte***, int, int*, int> InitThread;
    internal readonly delegate* unmanaged<int> Finalize;
    internal readonly delegate* unmanaged<nint, int, int> Abort;
    internal readonly delegate* unmanaged<nint, int*, int> CommRank, CommSize;
    internal readonly delegate* unmanaged<nint, int, int, nint, nint*, int> CommSplitType;
    internal readonly delegate* unmanaged<nint, nint, int> CommSetErrorHandler;
    internal readonly delegate* unmanaged<void*, void*, int, nint, nint, nint, nint*, int> IAllReduce;
    internal readonly delegate* unmanaged<void*, int, nint, int, nint, int> Broadcast;
    internal readonly delegate* unmanaged<nint*, int*, nint, int> Test;
    private readonly delegate* unmanaged<int, byte*, int*, int> _errorString;
    private readonly delegate* unmanaged<byte*, int*, int> _libraryVersion;

    private MpiLibrary(nint library, string path)
    {
        (_library, Path) = (library, path);
        IsOpenMpi = NativeLibrary.TryGetExport(library, "ompi_mpi_comm_world", out _);
        InitThread = (delegate* unmanaged<int*, byte***, int, int*, int>)Export("MPI_Init_thread");
        Finalize = (delegate* unmanaged<int>)Export("MPI_Finalize");
        Abort = (delegate* unmanaged<nint, int, int>)Export("MPI_Abort");
        CommRank = (delegate* unmanaged<nint, int*, int>)Export("MPI_Comm_rank");
        CommSize = (delegate* unmanaged<nint, int*, int>)Export("MPI_Comm_size");
        CommSplitType = (delegate* unmanaged<nint, int, int, nint, nint*, int>)Export("MPI_Comm_split_type");
        CommSetErrorHandler = (delegate* unmanaged<nint, nint, int>)Export("MPI_Comm_set_errhandler");
        IAllReduce = (delegate* unmanaged<void*, void*, int, nint, nint, nint, nint*, int>)Export("MPI_Iallreduce");
        Broadcast = (delegate* unmanaged<void*, int, nint, int, nint, int>)Export("MPI_Bcast");
        Test = (delegate* unmanaged<nint*, int*, nint, int>)Export("MPI_Test");
        _errorString = (delegate* unmanaged<int, byte*, int*, int>)Export("MPI_Error_string");
        _libraryVersion = (delegate* unmanaged<byte*, int*, int>)Export("MPI_Get_library_version");

        // mpi.h of Open MPI 4.1 and of MPICH 4.0. MPICH's integers are part of its binary interface since version 3.1.
        World = IsOpenMpi ? Export("ompi_mpi_comm_world") : 0x44000000;
        NoInfo = IsOpenMpi ? Export("ompi_mpi_info_null") : 0x1c000000;
        ErrorsReturn = IsOpenMpi ? Export("ompi_mpi_errors_return") : 0x54000001;
        SumOperation = IsOpenMpi ? Export("ompi_mpi_op_sum") : 0x58000003;
        Bytes = IsOpenMpi ? Export("ompi_mpi_byte") : 0x4c00010d;
        Floats = IsOpenMpi ? Export("ompi_mpi_float") : 0x4c00040a;
        Doubles = IsOpenMpi ? Export("ompi_mpi_double") : 0x4c00080b;
        InPlace = (void*)(IsOpenMpi ? 1 : -1);
        NoStatus = IsOpenMpi ? 0 : 1;
        SharedMemory = IsOpenMpi ? 0 : 1;
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Whether it is Open MPI; otherwise it has the interface of MPICH.</summary>
    public bool IsOpenMpi { get; }

    internal nint World { get; }

    internal nint NoInfo { get; }

    internal nint ErrorsReturn { get; }

    internal nint SumOperation { get; }

    internal nint Bytes { get; }

    internal nint Floats { get; }

    internal nint Doubles { get; }

    internal void* InPlace { get; }

    internal nint NoStatus { get; }

    /// <summary>MPI_COMM_TYPE_SHARED.</summary>
    internal int SharedMemory { get; }

    /// <summary>Loads the library of a launcher.</summary>
    /// <param name="engine">Open MPI or MPICH; the other is tried second.</param>
    /// <exception cref="PlatformNotSupportedException">None can be loaded; the message names every path tried.</exception>
    internal static MpiLibrary Load(LaunchEngine engine)
    {
        string? named = Environment.GetEnvironmentVariable(EnvironmentVariable);
        string[] names = !string.IsNullOrEmpty(named) ? [named]
            : engine == LaunchEngine.Mpich ? [.. MpichNames, .. OpenMpiNames]
            : [.. OpenMpiNames, .. MpichNames];
        var tried = new List<string>();
        foreach (string name in names)
        {
            // Components of Open MPI look for its symbols in the whole process, where NativeLibrary.Load would hide them.
            nint library = Native.Open(name, Now | Global);
            if (library != 0) return new MpiLibrary(library, name);
            tried.Add(Marshal.PtrToStringUTF8(Native.Error()) ?? name);
        }

        string source = string.IsNullOrEmpty(named) ? "" : $" (named by {EnvironmentVariable})";
        throw new PlatformNotSupportedException($"no MPI library can be loaded{source}: {string.Join("; ", tried)}");
    }

    /// <summary>Sets an environment variable that the library reads, unless the user has set it.</summary>
    internal static void SetUnlessSet(string variable, string value) => _ = Native.SetVariable(variable, value, 0);

    /// <summary>Name and version, in one line.</summary>
    internal string Version()
    {
        // MPI_MAX_LIBRARY_VERSION_STRING is 256 in Open MPI, 8192 in MPICH.
        byte* text = stackalloc byte[8192];
        int length;
        if (_libraryVersion(text, &length) != 0) return Path;
        string full = Encoding.UTF8.GetString(text, length);
        string first = full.Split('\n')[0].Split(',')[0].Trim('\0', ' ');
        // "Open MPI v4.1.4", and "MPICH Version:      4.0.2".
        return string.Join(' ', first.Replace("Version:", "", StringComparison.Ordinal).Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries));
    }

    /// <exception cref="CommunicationException">The result is an error.</exception>
    internal void Check(int result, string operation)
    {
        if (result == 0) return;
        // MPI_MAX_ERROR_STRING is 256 in Open MPI, 512 in MPICH.
        byte* text = stackalloc byte[512];
        int length;
        string why = _errorString(result, text, &length) == 0 ? Encoding.UTF8.GetString(text, length) : $"error {result}";
        throw new CommunicationException($"MPI: {operation}: {why}");
    }

    private nint Export(string name) => NativeLibrary.TryGetExport(_library, name, out nint address)
        ? address
        : throw new PlatformNotSupportedException($"the MPI library '{Path}' has no {name}; wanted MPI 3.1 or newer");

    private static partial class Native
    {
        public static nint Open(string file, int flags)
        {
            byte[] name = [.. Encoding.UTF8.GetBytes(file), 0];
            fixed (byte* text = name) return dlopen(text, flags);
        }

        public static nint Error() => dlerror();

        public static int SetVariable(string name, string value, int overwrite)
        {
            fixed (byte* n = (byte[])[.. Encoding.UTF8.GetBytes(name), 0], v = (byte[])[.. Encoding.UTF8.GetBytes(value), 0]) return setenv(n, v, overwrite);
        }

        // In libc itself since glibc 2.34; before, libc has it for its own use, and .NET has loaded libdl.
        [LibraryImport("libc")]
        private static partial nint dlopen(byte* file, int flags);

        [LibraryImport("libc")]
        private static partial nint dlerror();

        // .NET keeps its own copy of the environment, which native code does not see.
        [LibraryImport("libc")]
        private static partial int setenv(byte* name, byte* value, int overwrite);
    }
}
