using System.Text.RegularExpressions;

namespace FeedbackKernels.Interop;

/// <summary>A file of kernels as the driver has loaded it.</summary>
public sealed partial class CudaKernelFile
{
    /// <summary>The environment variable that names a file to which the log of every loaded file of kernels is appended.</summary>
    public const string LogVariable = "FEEDBACK_CUDA_LOG";

    /// <summary>The environment variable that, set to <c>ptx</c>, has the driver compile the kernels even where this build has machine code
    /// for the device. It keeps the result in a cache unless <c>CUDA_CACHE_DISABLE=1</c> is set too.</summary>
    public const string ImageVariable = "FEEDBACK_CUDA_IMAGE";

    internal CudaKernelFile(string name, string architecture, bool compiled, string? refusal, string log)
    {
        (Name, Architecture, Compiled, Refusal, Log) = (name, architecture, compiled, refusal, log);
        Warnings = [.. WarningsOf(log)];
    }

    /// <summary>The source, as <c>native/fill.cu</c>.</summary>
    public string Name { get; }

    /// <summary>The architecture that it is for, as <c>sm_80</c>.</summary>
    public string Architecture { get; }

    /// <summary>Whether the driver compiled PTX; otherwise it loaded machine code (a cubin) that was made when this library was built.</summary>
    public bool Compiled { get; }

    /// <summary>Why the driver refused the machine code; null where it did not, or where there is none for the device.</summary>
    public string? Refusal { get; }

    /// <summary>What the driver's compiler said, in lines: registers, shared memory and spills of every kernel. Empty for machine code, and
    /// for PTX that the driver found in its cache.</summary>
    public string Log { get; }

    /// <summary>The lines of the log that tell of spilled registers, each after the name of its kernel, or of products that wgmma computes one
    /// after another ("serialized").</summary>
    public IReadOnlyList<string> Warnings { get; }

    /// <summary>What was loaded, as <c>cubin for sm_80</c>.</summary>
    internal string Image => $"{(Compiled ? "PTX" : "cubin")} for {Architecture}";

    internal static IEnumerable<string> WarningsOf(string log)
    {
        string kernel = "";
        foreach (string line in log.Split('\n'))
        {
            if (PropertiesOf().Match(line) is { Success: true } named) kernel = named.Groups["kernel"].Value;
            if (Serialised().IsMatch(line)) yield return line.Trim();
            else if (Spilled().IsMatch(line)) yield return kernel.Length == 0 ? line.Trim() : $"{kernel}: {line.Trim()}";
        }
    }

    [GeneratedRegex("Function properties for (?<kernel>.+)$")]
    private static partial Regex PropertiesOf();

    [GeneratedRegex("seriali[sz]", RegexOptions.IgnoreCase)]
    private static partial Regex Serialised();

    // "0 bytes spill stores" is what is hoped for.
    [GeneratedRegex(@"\b[1-9][0-9]* bytes spill")]
    private static partial Regex Spilled();
}
