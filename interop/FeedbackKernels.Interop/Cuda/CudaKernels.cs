using System.Reflection;

namespace FeedbackKernels.Interop;

/// <summary>
/// The kernels of native/*.cu, embedded in this assembly as PTX. A file's PTX is compiled by the driver when one of its
/// kernels is first launched.
/// </summary>
internal sealed class CudaKernels(CudaContext context, string architecture) : IDisposable
{
    private const string ResourcePrefix = "cuda/";

    private readonly Dictionary<string, CudaModule> _modules = [];
    private readonly Dictionary<string, nint> _functions = [];

    /// <summary>How this assembly's kernels were built; or, when there are none, why.</summary>
    public static string BuildStatus { get; } = ReadStatus();

    /// <summary>Whether this assembly has kernels.</summary>
    public static bool Exist => Resource("sm_80", "fill") is not null;

    /// <summary>A kernel of a file, whose launches always give it the same dynamic shared memory.</summary>
    public nint Get(string file, string kernel, int sharedBytes)
    {
        if (_functions.TryGetValue(kernel, out nint function)) return function;
        if (!_modules.TryGetValue(file, out CudaModule? module))
        {
            using Stream resource = Resource(architecture, file)
                ?? throw new InvalidOperationException($"this assembly has no PTX of native/{file}.cu for {architecture}");
            // The driver reads up to a zero byte.
            var ptx = new byte[resource.Length + 1];
            resource.ReadExactly(ptx.AsSpan(0, ptx.Length - 1));
            module = new CudaModule(context, $"native/{file}.cu for {architecture}", ptx);
            _modules.Add(file, module);
        }

        function = module.Function(kernel, sharedBytes);
        _functions.Add(kernel, function);
        return function;
    }

    /// <summary>Unloads everything.</summary>
    public void Dispose()
    {
        foreach (CudaModule module in _modules.Values) module.Dispose();
        _modules.Clear();
        _functions.Clear();
    }

    private static Stream? Resource(string architecture, string file) =>
        typeof(CudaKernels).Assembly.GetManifestResourceStream($"{ResourcePrefix}{architecture}/{file}.ptx");

    private static string ReadStatus()
    {
        Assembly assembly = typeof(CudaKernels).Assembly;
        using Stream? resource = assembly.GetManifestResourceStream(ResourcePrefix + "status.txt");
        return resource is null ? "none: the build did not try" : new StreamReader(resource).ReadToEnd().Trim();
    }
}
