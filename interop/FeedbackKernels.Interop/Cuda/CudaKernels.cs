using System.Globalization;
using System.Reflection;

namespace FeedbackKernels.Interop;

/// <summary>
/// The kernels of native/*.cu, embedded in this assembly as an archive of PTX and, where the build found ptxas, of cubins. A file is loaded
/// when one of its kernels is first launched: its cubin if there is one for the device and the driver takes it, or else its PTX, which the
/// driver compiles.
/// </summary>
/// <param name="context">Where they are loaded.</param>
/// <param name="device">Its device.</param>
/// <param name="read">Reads an image, by the name of <see cref="CudaImage.EntryOf"/>; null for this assembly's.</param>
internal sealed class CudaKernels(CudaContext context, CudaDevice device, Func<string, byte[]?>? read = null) : IDisposable
{
    private static readonly Lock LogGate = new();

    private readonly Func<string, byte[]?> _read = read ?? CudaArchive.Read;
    private readonly bool _onlyPtx = OnlyPtx();
    private readonly string? _log = Environment.GetEnvironmentVariable(CudaKernelFile.LogVariable) is { Length: > 0 } named ? named : null;
    private readonly Dictionary<string, CudaModule> _modules = [];
    private readonly List<CudaKernelFile> _loaded = [];
    private readonly Dictionary<CudaKernel, (nint Function, int SharedBytes)> _functions = [];

    /// <summary>How this assembly's kernels were built; or, when there are none, why.</summary>
    public static string BuildStatus { get; } = ReadStatus();

    /// <summary>Whether this assembly has kernels.</summary>
    public static bool Exist => CudaArchive.Read(new CudaImage("sm_80", IsPtx: true).EntryOf("fill")) is not null;

    /// <summary>Files that have been loaded, in that order.</summary>
    public IReadOnlyList<CudaKernelFile> Loaded => [.. _loaded];

    /// <summary>What the kernels in use are: that of the file that is loaded first.</summary>
    public string Image => $"{device.Architecture} ({(_loaded is [{ Compiled: false }, ..] ? "cubins" : "PTX")})";

    /// <summary>The CUfunction of a kernel, which may be launched with this much dynamic shared memory, or with less.</summary>
    public nint Get(CudaKernel kernel, int sharedBytes)
    {
        if (_functions.TryGetValue(kernel, out (nint Function, int SharedBytes) known) && known.SharedBytes >= sharedBytes) return known.Function;
        nint function = ModuleOf(kernel.File).Function(kernel.Name, sharedBytes);
        _functions[kernel] = (function, sharedBytes);
        return function;
    }

    /// <summary>Has the driver load the smallest file, so that a driver that is too old is found when the backend is opened.</summary>
    /// <exception cref="PlatformNotSupportedException">The driver is too old for the PTX of this build; the message says which version it
    /// has and which is needed.</exception>
    public void Try() => ModuleOf("fill");

    /// <summary>Loads every file for the device, and every kernel: with lazy loading, the driver loads a kernel when it is asked for it.</summary>
    public void LoadAll()
    {
        foreach (string file in CudaArchive.Files(device.Architecture, ".ptx")) ModuleOf(file);
        foreach (CudaKernel kernel in CudaBackend.AllKernels)
            if (_modules.ContainsKey(kernel.File)) _ = Get(kernel, sharedBytes: 0);
    }

    /// <summary>The names of the kernels in the embedded PTX of an architecture, by file.</summary>
    internal static IEnumerable<(string File, string Kernel)> EntriesOf(string architecture)
    {
        foreach (string file in CudaArchive.Files(architecture, ".ptx"))
        {
            using var text = new StreamReader(new MemoryStream(CudaArchive.Read(new CudaImage(architecture, IsPtx: true).EntryOf(file))!));
            const string word = ".entry ";
            while (text.ReadLine() is { } line)
            {
                int at = line.IndexOf(word, StringComparison.Ordinal);
                if (at >= 0) yield return (file, line[(at + word.Length)..].TrimEnd('(', ' '));
            }
        }
    }

    /// <summary>Unloads everything.</summary>
    public void Dispose()
    {
        foreach (CudaModule module in _modules.Values) module.Dispose();
        _modules.Clear();
        _functions.Clear();
    }

    private CudaModule ModuleOf(string file)
    {
        if (_modules.TryGetValue(file, out CudaModule? module)) return module;
        module = Load(file, out CudaKernelFile loaded);
        _modules.Add(file, module);
        _loaded.Add(loaded);
        WriteLog(loaded);
        return module;
    }

    private CudaModule Load(string file, out CudaKernelFile loaded)
    {
        string source = $"native/{file}.cu";
        string? refusal = null;
        foreach (CudaImage image in CudaImage.For(device.Major, device.Architecture, _onlyPtx))
        {
            if (_read(image.EntryOf(file)) is not { } bytes) continue;
            CudaResult result = CudaModule.TryLoad(context, $"{source} for {image.Architecture}", bytes, out string log, out CudaModule? module);
            if (module is not null)
            {
                loaded = new CudaKernelFile(source, image.Architecture, image.IsPtx, refusal, log);
                return module;
            }

            if (image.IsPtx) throw RefusedPtx(source, image, bytes, result, log, refusal);
            refusal = $"cuModuleLoadDataEx: {CudaException.NameOf(result)} ({(int)result}){(log.Length == 0 ? "" : $"; {OneLine(log)}")}";
        }

        throw new InvalidOperationException($"this assembly has no PTX of {source} for {device.Architecture}");
    }

    private Exception RefusedPtx(string source, CudaImage image, byte[] ptx, CudaResult result, string log, string? refusal)
    {
        string said = OneLine(log), cubin = refusal is null ? "" : $"; the cubin was refused before: {refusal}";
        if (result is not (CudaResult.UnsupportedPtxVersion or CudaResult.NoBinaryForDevice))
        {
            return new CudaException(
                "cuModuleLoadDataEx", result, $"compiling {source} for {image.Architecture}", said.Length == 0 ? null : $"its compiler says: {said}{cubin}");
        }

        return new PlatformNotSupportedException(
            $"the CUDA driver '{CudaLibrary.LoadedPath}' is for CUDA {device.DriverVersionText} and compiles PTX up to {device.NewestPtx}; " +
            $"{source} for {image.Architecture} is PTX {CudaArchive.PtxVersionOf(ptx)}, and {device.Name} has compute capability {device.Major}.{device.Minor} " +
            $"(cuModuleLoadDataEx: {CudaException.NameOf(result)} ({(int)result}){(said.Length == 0 ? "" : $"; {said}")}){cubin}");
    }

    private static string OneLine(string log) =>
        string.Join("; ", log.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));

    // Several backends of a process may load at once.
    private void WriteLog(CudaKernelFile loaded)
    {
        if (_log is null) return;
        string refusal = loaded.Refusal is null ? "" : $"; the cubin was refused: {loaded.Refusal}";
        string said = loaded.Log.Length == 0 ? "(the driver's compiler says nothing)" : loaded.Log;
        try
        {
            lock (LogGate)
                File.AppendAllText(_log, string.Create(CultureInfo.InvariantCulture, $"== {loaded.Name}: {loaded.Image}, {device.Name}{refusal}\n{said}\n"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new IOException($"{CudaKernelFile.LogVariable} names '{_log}', which cannot be written: {e.Message}", e);
        }
    }

    private static bool OnlyPtx()
    {
        string? wanted = Environment.GetEnvironmentVariable(CudaKernelFile.ImageVariable);
        return wanted switch
        {
            null or "" => false,
            "ptx" => true,
            _ => throw new ArgumentException($"{CudaKernelFile.ImageVariable} is '{wanted}', wanted is ptx or nothing"),
        };
    }

    private static string ReadStatus()
    {
        Assembly assembly = typeof(CudaKernels).Assembly;
        using Stream? resource = assembly.GetManifestResourceStream("cuda/status.txt");
        return resource is null ? "none: the build did not try" : new StreamReader(resource).ReadToEnd().Trim();
    }
}
