using System.Globalization;

namespace FeedbackKernels.Bench.Peers;

/// <summary>One run of a program on one layer.</summary>
/// <param name="Line">The layer, in the format of the command <c>shapes</c>.</param>
/// <param name="Batch">N.</param>
/// <param name="Budget">Seconds for each figure.</param>
/// <param name="Threads">Threads.</param>
internal sealed record LayerRun(string Line, int Batch, double Budget, int Threads);

/// <summary>One run of a program on whole training steps.</summary>
/// <param name="Model">Model.</param>
/// <param name="Batch">N.</param>
/// <param name="Steps">Steps to measure.</param>
/// <param name="Threads">Threads.</param>
internal sealed record StepRun(string Model, int Batch, int Steps, int Threads);

/// <summary>A program to compare with.</summary>
/// <param name="Name">Name on the command line.</param>
/// <param name="Build">How to build it.</param>
internal sealed record Peer(string Name, PeerBuild Build)
{
    /// <summary>How to run it on a layer; null if it cannot run single layers.</summary>
    public Func<LayerRun, ChildProcess>? Layer { get; private init; }

    /// <summary>How to run it on training steps; null if it cannot train.</summary>
    public Func<StepRun, ChildProcess>? Step { get; private init; }

    /// <summary>Whether it may use Winograd's algorithm.</summary>
    public bool IsWinograd { get; private init; }

    /// <summary>All names.</summary>
    public static readonly string[] Names = ["onednn", "onednn-nhwc", "onednn-winograd", "onednn-auto", "openblas", "torch"];

    /// <summary>Every peer.</summary>
    /// <param name="sources">Folder of the peers' sources.</param>
    /// <param name="output">Folder of the peers' programs.</param>
    public static IReadOnlyList<Peer> All(string sources, string output)
    {
        var onednn = new CppBuild(sources, output, "onednn/onednn_conv.cpp", ["-O2"], ("dnnl.hpp", "dnnl", "libdnnl-dev"));
        var openblas = new CppBuild(sources, output, "gemm/sgemm.cpp", ["-O2"], ("cblas.h", "openblas", "libopenblas-dev"));
        var torch = new TorchBuild(sources, output);
        return
        [
            OneDnn("onednn", onednn, "any"),
            OneDnn("onednn-nhwc", onednn, "nhwc"),
            OneDnn("onednn-winograd", onednn, "winograd") with { IsWinograd = true },
            OneDnn("onednn-auto", onednn, "auto") with { IsWinograd = true },
            new Peer("openblas", openblas) { Layer = run => OpenMp(openblas.Program, run, [Text(run.Batch), Text(run.Budget)]) },
            new Peer("torch", torch)
            {
                Layer = run => Torch(torch, run.Threads, ["conv", "--batch", Text(run.Batch), "--budget", Text(run.Budget)]) with { Input = run.Line },
                Step = run => Torch(torch, run.Threads, ["step", "--model", run.Model, "--batch", Text(run.Batch), "--rounds", Text(run.Steps)]),
            },
        ];
    }

    /// <summary>The program that measures the ceilings of the machine.</summary>
    public static (PeerBuild Build, ChildProcess Run) Ceilings(string sources, string output, int threads)
    {
        var build = new CppBuild(sources, output, "peak/peak.cpp", ["-O3", "-march=native"]);
        return (build, new ChildProcess(build.Program, []) { Environment = OpenMpThreads(threads) });
    }

    private static Peer OneDnn(string name, CppBuild build, string mode) =>
        new(name, build) { Layer = run => OpenMp(build.Program, run, [Text(run.Batch), mode, Text(run.Budget)]) };

    private static ChildProcess OpenMp(string program, LayerRun run, string[] arguments) =>
        new(program, arguments) { Environment = OpenMpThreads(run.Threads), Input = run.Line };

    private static Dictionary<string, string> OpenMpThreads(int threads) => new()
    {
        ["OMP_NUM_THREADS"] = Text(threads),
        ["OMP_PROC_BIND"] = "true",
        ["OPENBLAS_NUM_THREADS"] = Text(threads),
    };

    /// <summary>PyTorch allocates every activation in every step. By default glibc maps and unmaps that memory each time, which costs
    /// page faults; PyTorch is fastest if the memory stays mapped.</summary>
    private static ChildProcess Torch(TorchBuild build, int threads, string[] arguments) =>
        new("dotnet", [build.Program, .. arguments, "--layout", "nhwc", "--threads", Text(threads)])
        {
            Environment = new Dictionary<string, string>(OpenMpThreads(threads))
            {
                ["LD_PRELOAD"] = build.Shim,
                ["MALLOC_MMAP_MAX_"] = "0",
                ["MALLOC_TRIM_THRESHOLD_"] = "17179869184",
                ["MALLOC_TOP_PAD_"] = "268435456",
            },
        };

    private static string Text(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);
}
