using System.IO.Compression;
using System.Reflection;

namespace FeedbackKernels.Interop;

/// <summary>
/// The kernels of native/*.cu, embedded in this assembly as an archive of PTX. The driver compiles the PTX of a file when one of its
/// kernels is first launched.
/// </summary>
internal sealed class CudaKernels(CudaContext context, CudaDevice device) : IDisposable
{
    private const string ResourcePrefix = "cuda/";

    private readonly Dictionary<string, CudaModule> _modules = [];
    private readonly Dictionary<CudaKernel, (nint Function, int SharedBytes)> _functions = [];

    /// <summary>How this assembly's kernels were built; or, when there are none, why.</summary>
    public static string BuildStatus { get; } = ReadStatus();

    /// <summary>Whether this assembly has kernels.</summary>
    public static bool Exist => Ptx("sm_80", "fill") is not null;

    /// <summary>The CUfunction of a kernel, which may be launched with this much dynamic shared memory, or with less.</summary>
    public nint Get(CudaKernel kernel, int sharedBytes)
    {
        if (_functions.TryGetValue(kernel, out (nint Function, int SharedBytes) known) && known.SharedBytes >= sharedBytes) return known.Function;
        nint function = ModuleOf(kernel.File).Function(kernel.Name, sharedBytes);
        _functions[kernel] = (function, sharedBytes);
        return function;
    }

    /// <summary>Has the driver compile the smallest file, so that a driver that is too old is found when the backend is opened.</summary>
    /// <exception cref="PlatformNotSupportedException">The driver is too old for the PTX of this build; the message says which version it
    /// has and which is needed.</exception>
    public void Try() => ModuleOf("fill");

    /// <summary>The names of the kernels in the embedded PTX of an architecture, by file.</summary>
    internal static IEnumerable<(string File, string Kernel)> EntriesOf(string architecture)
    {
        using Stream? resource = typeof(CudaKernels).Assembly.GetManifestResourceStream(ResourcePrefix + "kernels.zip");
        if (resource is null) yield break;
        using var archive = new ZipArchive(resource);
        foreach (ZipArchiveEntry entry in archive.Entries)
        {
            if (!entry.FullName.StartsWith(architecture + "/", StringComparison.Ordinal)) continue;
            using var text = new StreamReader(entry.Open());
            const string word = ".entry ";
            while (text.ReadLine() is { } line)
            {
                int at = line.IndexOf(word, StringComparison.Ordinal);
                if (at >= 0) yield return (Path.GetFileNameWithoutExtension(entry.Name), line[(at + word.Length)..].TrimEnd('(', ' '));
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
        // A device on paper compiles nothing: a build without kernels can count launches.
        byte[] ptx = (device.IsOnPaper ? [0] : Ptx(device.Architecture, file))
            ?? throw new InvalidOperationException($"this assembly has no PTX of native/{file}.cu for {device.Architecture}");
        module = new CudaModule(context, device, $"native/{file}.cu for {device.Architecture}", ptx);
        _modules.Add(file, module);
        return module;
    }

    private static byte[]? Ptx(string architecture, string file)
    {
        using Stream? resource = typeof(CudaKernels).Assembly.GetManifestResourceStream(ResourcePrefix + "kernels.zip");
        if (resource is null) return null;
        using var archive = new ZipArchive(resource);
        if (archive.GetEntry($"{architecture}/{file}.ptx") is not { } entry) return null;
        // The driver reads up to a zero byte.
        var ptx = new byte[entry.Length + 1];
        using Stream text = entry.Open();
        text.ReadExactly(ptx.AsSpan(0, ptx.Length - 1));
        return ptx;
    }

    private static string ReadStatus()
    {
        Assembly assembly = typeof(CudaKernels).Assembly;
        using Stream? resource = assembly.GetManifestResourceStream(ResourcePrefix + "status.txt");
        return resource is null ? "none: the build did not try" : new StreamReader(resource).ReadToEnd().Trim();
    }
}
