using System.CommandLine;
using FeedbackKernels.Interop;
using FeedbackKernels.Runs;
using FeedbackKernels.Settings;

namespace FeedbackKernels.Cli;

/// <summary>The options that choose and configure the backend.</summary>
internal sealed class BackendOptions
{
    private const string Name = "--backend";

    private readonly Settings _settings = new();
    private readonly Setting<string> _backend;

    /// <param name="standard">The defaults.</param>
    /// <param name="training">Whether the command trains; otherwise options for training steps are left out.</param>
    public BackendOptions(RunConfig standard, bool training = true)
    {
        _backend = _settings.Add(
            new Setting<string>(Name, Use.Always)
            {
                Description = $"Backend: {string.Join(" | ", Backends.Names)}. auto uses a GPU if it finds one that works, otherwise the CPU; reference is slow, for checking the others.",
                DefaultValueFactory = _ => standard.Backend,
                HelpName = "name",
            },
            (c, v) => c with { Backend = v });
        _settings.Add(ThreadsOption(standard), (c, v) => c with { Threads = v });
        _settings.Add(
            Names.OptionalChoice<SimdLevel>("--simd", Use.Cpu, "Vector instructions of the CPU backend. Choose a narrower set to get the results of another machine.", whenOmitted: "the widest that this machine supports"),
            (c, v) => c with { Simd = v });
        _settings.Add(
            Names.Switch("--exact", Use.Cpu, standard.Exact, "Compute convolutions on the CPU without Winograd's algorithm. Slower, with smaller rounding errors."),
            (c, v) => c with { Exact = v });
        _settings.Add(DeviceOption(standard), (c, v) => c with { Device = v });
        _settings.Add(
            Names.Choice("--precision", Use.Cuda, standard.Precision, "Number format of activations, errors and matrix products on the GPU; sums and master weights are always fp32. bf16 uses tensor cores and half the memory for activations."),
            (c, v) => c with { Precision = v });
        if (!training) return;
        _settings.Add(NoGraphOption(standard), (c, v) => c with { CudaGraphs = !v });
    }

    internal static Setting<int> ThreadsOption(RunConfig standard) => Names.Number(
        "--threads", Use.Cpu, standard.Threads, new Bounds(0, CpuBackend.MostThreads),
        "Threads of the CPU backend; 0 for one per processor. The results do not depend on it. Use fewer to leave processors to other programs.");

    internal static Setting<int> DeviceOption(RunConfig standard) => Names.Number(
        "--device", Use.Cuda, standard.Device, Bounds.AtLeast(0), "GPU to use, by its number in the driver's list, from 0. `feedback info` prints its name.");

    internal static Setting<bool> NoGraphOption(RunConfig standard) => Names.Switch(
        "--no-cuda-graph", Use.Cuda, !standard.CudaGraphs,
        "Launch each CUDA kernel separately instead of each step as one graph. Slower. Use it to find the operation that fails, or the step at which the loss stops being finite.");

    /// <summary>All options.</summary>
    public IEnumerable<Option> All => _settings;

    /// <summary>Applies the given options to a run. If the command line chooses another backend than the configuration, settings that
    /// the chosen backend does not have are reset.</summary>
    public RunConfig Apply(ParseResult parsed, RunConfig config)
    {
        RunConfig asked = _settings.Apply(parsed, config), standard = new();
        if (!Settings.IsGiven(parsed, _backend)) return asked;
        if (asked.Backend is "cuda" or "reference")
            asked = asked with { Threads = standard.Threads, Simd = standard.Simd, Exact = standard.Exact };
        if (asked.Backend is "cpu" or "reference")
            asked = asked with { Device = standard.Device, Precision = standard.Precision, CudaGraphs = standard.CudaGraphs };
        return asked;
    }

    /// <summary>Creates the backend of the runs, and rejects options that it does not use.</summary>
    /// <exception cref="UsageException">An option was given that the backend does not use.</exception>
    public static Backend Open(ParseResult parsed, params IReadOnlyList<RunConfig> runs)
    {
        UnusedOptions.Refuse(parsed, runs);
        Backend backend = Create(runs[0]);
        if (backend is CpuBackend && runs[0].Threads == 0 && Processes.UsualThreads() is > 0 and var threads)
        {
            backend.Dispose();
            backend = (runs[0] with { Backend = backend.Name, Threads = threads }).CreateBackend();
        }

        try
        {
            UnusedOptions.Refuse(parsed, [.. runs.Select(run => run with { Backend = backend.Name })]);
            Processes.RequireOneKind(backend);
            return backend;
        }
        catch
        {
            backend.Dispose();
            throw;
        }
    }

    /// <summary>The name that a command line gives for its backend; null if it gives none.</summary>
    public static string? Given(ParseResult parsed) =>
        parsed.CommandResult.Command.Options.FirstOrDefault(option => option.Name == Name) is Setting<string> option && Settings.IsGiven(parsed, option)
            ? parsed.GetValue(option)
            : null;

    /// <summary>Opens the backend of a run. Of processes on one machine, each takes a GPU of its own, counted from --device.</summary>
    private static Backend Create(RunConfig run)
    {
        if (!Processes.Group.IsShared || run.Backend is not ("cuda" or "auto")) return run.CreateBackend();
        int local = Processes.OwnDevice();
        if (local == 0) return run.CreateBackend();
        if (run.Backend == "auto")
        {
            // The number of a device would itself be a reason to choose a GPU.
            Backend chosen = run.CreateBackend();
            if (chosen is not CudaBackend) return chosen;
            chosen.Dispose();
            run = run with { Backend = chosen.Name };
        }

        try
        {
            return (run with { Device = run.Device + local }).CreateBackend();
        }
        catch (PlatformNotSupportedException e)
        {
            throw new PlatformNotSupportedException(
                $"{Processes.Group.LocalSize} processes of this machine take a GPU each, from device {run.Device} on; for process {Processes.Group.Rank}: {e.Message}", e);
        }
    }
}
