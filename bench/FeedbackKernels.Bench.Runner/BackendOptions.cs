using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench;

/// <summary>The options that select and configure the backend.</summary>
internal sealed class BackendOptions
{
    private readonly Option<string> _backend = new("--backend") { Description = "Backend.", DefaultValueFactory = _ => "cpu" };
    private readonly Option<CudaPrecision> _precision = new("--precision") { Description = "Number format of activations and products on the CUDA backend." };
    private readonly Option<int> _device = new("--device") { Description = "GPU of the CUDA backend, by its number in the driver's list, from 0." };
    private readonly Option<int> _threads = new("--threads") { Description = "Threads of the CPU backend; 0 for one per processor." };
    private readonly Option<bool> _exact = new("--exact") { Description = "Do not use Winograd's algorithm on the CPU." };
    private readonly Option<SimdLevel?> _simd = new("--simd") { Description = "Vector instructions of the CPU backend. [default: the widest that this machine supports]" };

    private readonly Option<bool> _noGraph = new("--no-cuda-graph") { Description = "Launch each CUDA kernel separately instead of each step as one graph." };

    public BackendOptions() => _backend.AcceptOnlyFromAmong([.. Backends.Names]);

    public void AddTo(Command command)
    {
        foreach (Option option in (Option[])[_backend, _precision, _device]) command.Options.Add(option);
        AddCpuTo(command);
    }

    /// <summary>Adds only the options of the CPU backend, for commands that always use it.</summary>
    public void AddCpuTo(Command command)
    {
        foreach (Option option in (Option[])[_threads, _exact, _simd]) command.Options.Add(option);
    }

    /// <summary>Adds what concerns whole steps, for commands that run them.</summary>
    public void AddStepsTo(Command command) => command.Options.Add(_noGraph);

    public Backend Create(ParseResult parsed) => Backends.Create(
        parsed.GetValue(_backend)!, parsed.GetValue(_threads), parsed.GetValue(_simd), parsed.GetValue(_exact), parsed.GetValue(_precision),
        parsed.GetValue(_device), graphs: !parsed.GetValue(_noGraph));

    public CpuBackend CreateCpu(ParseResult parsed) =>
        new(parsed.GetValue(_threads), parsed.GetValue(_simd), parsed.GetValue(_exact));

    public bool Exact(ParseResult parsed) => parsed.GetValue(_exact);

    /// <summary>The settings of the CPU backend as arguments for a child process.</summary>
    public IReadOnlyList<string> CpuArguments(ParseResult parsed)
    {
        var arguments = new List<string> { "--threads", parsed.GetValue(_threads).ToString(CultureInfo.InvariantCulture) };
        if (parsed.GetValue(_exact)) arguments.Add("--exact");
        if (parsed.GetValue(_simd) is { } level) arguments.AddRange(["--simd", level.ToString()]);
        return arguments;
    }
}
