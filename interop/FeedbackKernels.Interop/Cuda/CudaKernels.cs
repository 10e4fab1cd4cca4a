using System.IO.Compression;
using System.Reflection;

namespace FeedbackKernels.Interop;

/// <summary>
/// The kernels of native/*.cu, embedded in this assembly as an archive of PTX. A file's PTX is compiled by the driver when one of its
/// kernels is first launched.
/// </summary>
internal sealed class CudaKernels(CudaContext context, CudaDevice device) : IDisposable
{
    private const string ResourcePrefix = "cuda/";

    private readonly Dictionary<string, CudaModule> _modules = [];
    private readonly Dictionary<string, (nint Function, int SharedBytes)> _functions = [];

    /// <summary>How this assembly's kernels were built; or, when there are none, why.</summary>
    public static string BuildStatus { get; } = ReadStatus();

    /// <summary>Whether this assembly has kernels.</summary>
    public static bool Exist => Ptx("sm_80", "fill") is not null;

    /// <summary>A kernel of a file, which may be given so much dynamic shared memory: the most that any launch has asked for.</summary>
    public nint Get(string file, string kernel, int sharedBytes)
    {
        if (_functions.TryGetValue(kernel, out (nint Function, int SharedBytes) known) && known.SharedBytes >= sharedBytes) return known.Function;
        nint function = ModuleOf(file).Function(kernel, sharedBytes);
        _functions[kernel] = (function, sharedBytes);
        return function;
    }

    /// <summary>Has the driver compile the smallest file, so that one which cannot is found out before there is work.</summary>
    /// <exception cref="PlatformNotSupportedException">It is too old for the PTX of this build; the message says what it has
    /// and what it would take.</exception>
    public void Try() => ModuleOf("fill");

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
        byte[] ptx = Ptx(device.Architecture, file)
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
