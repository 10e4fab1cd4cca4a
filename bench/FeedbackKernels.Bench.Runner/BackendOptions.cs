using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench;

/// <summary>The options that say what computes, and how.</summary>
internal sealed class BackendOptions
{
    private readonly Option<string> _backend = new("--backend") { Description = "What computes.", DefaultValueFactory = _ => "cpu" };
    private readonly Option<CudaPrecision> _precision = new("--precision") { Description = "How the CUDA backend forms products." };
    private readonly Option<int> _device = new("--device") { Description = "The CUDA backend's GPU, as the driver counts them." };
    private readonly Option<int> _threads = new("--threads") { Description = "Threads of the CPU backend; 0 for one a processor." };
    private readonly Option<bool> _exact = new("--exact") { Description = "No Winograd on the CPU." };
    private readonly Option<SimdLevel?> _simd = new("--simd") { Description = "Vector width of the CPU backend; the widest where it is not given." };

    public BackendOptions() => _backend.AcceptOnlyFromAmong([.. Backends.Names]);

    public void AddTo(Command command)
    {
        foreach (Option option in (Option[])[_backend, _precision, _device]) command.Options.Add(option);
        AddCpuTo(command);
    }

    /// <summary>Only those of the CPU backend, for commands that are about nothing else.</summary>
    public void AddCpuTo(Command command)
    {
        foreach (Option option in (Option[])[_threads, _exact, _simd]) command.Options.Add(option);
    }

    public Backend Create(ParseResult parsed) => Backends.Create(
        parsed.GetValue(_backend)!, parsed.GetValue(_threads), parsed.GetValue(_simd), parsed.GetValue(_exact), parsed.GetValue(_precision),
        parsed.GetValue(_device));

    public CpuBackend CreateCpu(ParseResult parsed) =>
        new(parsed.GetValue(_threads), parsed.GetValue(_simd), parsed.GetValue(_exact));

    public bool Exact(ParseResult parsed) => parsed.GetValue(_exact);

    /// <summary>The choice of the CPU backend's settings as arguments for a child process.</summary>
    public IReadOnlyList<string> CpuArguments(ParseResult parsed)
    {
        var arguments = new List<string> { "--threads", parsed.GetValue(_threads).ToString(CultureInfo.InvariantCulture) };
        if (parsed.GetValue(_exact)) arguments.Add("--exact");
        if (parsed.GetValue(_simd) is { } level) arguments.AddRange(["--simd", level.ToString()]);
        return arguments;
    }
}
