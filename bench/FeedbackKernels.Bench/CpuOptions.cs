using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench;

/// <summary>The options that say how the CPU backend computes.</summary>
internal sealed class CpuOptions
{
    private readonly Option<int> _threads = new("--threads") { Description = "Threads; 0 for one a processor." };
    private readonly Option<bool> _exact = new("--exact") { Description = "No Winograd." };
    private readonly Option<SimdLevel?> _simd = new("--simd") { Description = "Vector width; the widest where it is not given." };

    public void AddTo(Command command)
    {
        foreach (Option option in (Option[])[_threads, _exact, _simd]) command.Options.Add(option);
    }

    public CpuBackend Create(ParseResult parsed) =>
        new(parsed.GetValue(_threads), parsed.GetValue(_simd), parsed.GetValue(_exact));

    public bool Exact(ParseResult parsed) => parsed.GetValue(_exact);

    /// <summary>The same choice as arguments for a child process.</summary>
    public IReadOnlyList<string> Arguments(ParseResult parsed)
    {
        var arguments = new List<string> { "--threads", parsed.GetValue(_threads).ToString(CultureInfo.InvariantCulture) };
        if (parsed.GetValue(_exact)) arguments.Add("--exact");
        if (parsed.GetValue(_simd) is { } level) arguments.AddRange(["--simd", level.ToString()]);
        return arguments;
    }
}
