using System.Globalization;
using System.Reflection;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Bench.Peers;

/// <summary>Runs our program and those of the peers in turn. Each run is a child process, so that all have the same overhead and none
/// warms up the machine for another.</summary>
/// <param name="sources">Folder of the peers' sources.</param>
/// <param name="output">Folder of the peers' programs.</param>
/// <param name="threads">Threads of every program.</param>
/// <param name="rounds">Runs of each program on each layer or model.</param>
internal sealed class Tournament(string sources, string output, int threads, int rounds)
{
    private readonly List<Peer> _peers = [];
    private readonly List<string> _failures = [];

    /// <summary>Additional arguments for our program.</summary>
    public IReadOnlyList<string> OurArguments { get; init; } = [];

    /// <summary>Runs of each program on each layer or model.</summary>
    public int Rounds => rounds;

    /// <summary>The figures that the programs printed.</summary>
    public Comparison Comparison { get; } = new();

    /// <summary>Failed runs of peers, each with its reason.</summary>
    public IReadOnlyList<string> Failures => _failures;

    /// <summary>Builds the peers.</summary>
    /// <param name="names">Peers that must be built. If empty, all peers; those that cannot be built are then skipped.</param>
    /// <param name="withWinograd">Whether "all" includes peers that use Winograd.</param>
    public void Enter(IReadOnlyCollection<string> names, bool withWinograd)
    {
        IEnumerable<Peer> chosen = Peer.All(sources, output)
            .Where(peer => names.Count > 0 ? names.Contains(peer.Name) : withWinograd || !peer.IsWinograd);
        foreach (var group in chosen.GroupBy(peer => peer.Build))
        {
            try
            {
                group.Key.Ensure();
                _peers.AddRange(group);
            }
            catch (Exception e) when (names.Count == 0 && IsBuildFailure(e))
            {
                Console.Error.WriteLine($"# skipped {string.Join(", ", group.Select(peer => peer.Name))}: {e.Message}");
            }
        }
    }

    /// <summary>Measures FMA peak and memory bandwidth, if the program for it can be built.</summary>
    public void MeasureCeilings()
    {
        (PeerBuild build, ChildProcess run) = Peer.Ceilings(sources, output, threads);
        try
        {
            build.Ensure();
            Collect(0, "peak", run.Run()!, "ceilings");
        }
        catch (Exception e) when (IsBuildFailure(e))
        {
            Console.Error.WriteLine($"# no roofline plot: {e.Message}");
        }
    }

    /// <summary>Measures one layer in every pass.</summary>
    public void Layer(string model, LayerShape layer, double budget)
    {
        var run = new LayerRun(ShapesCommand.Line(layer), layer.Shape.N, budget, threads);
        ChildProcess ours = Ours(["layers", "--model", model, "--batch", Text(run.Batch), "--filter", layer.Name, "--budget", Text(budget)]);
        InTurn(layer.Name, ours, [.. _peers.Where(p => p.Layer is not null).Select(p => (p.Name, p.Layer!(run)))]);
    }

    /// <summary>Measures whole training steps under backprop, the rule that every peer has.</summary>
    public void Steps(string model, int batch, int steps)
    {
        var run = new StepRun(model, batch, steps, threads);
        ChildProcess ours = Ours(["step", "--model", model, "--batch", Text(batch), "--rule", Backprop.RuleName, "--rounds", Text(steps)]);
        InTurn($"{model} steps", ours, [.. _peers.Where(p => p.Step is not null).Select(p => (p.Name, p.Step!(run)))]);
    }

    private void InTurn(string subject, ChildProcess ours, IReadOnlyList<(string Name, ChildProcess Run)> peers)
    {
        var failed = new HashSet<string>();
        for (int round = 1; round <= rounds; round++)
        {
            ChildResult result = ours.Run()!;
            if (!Collect(round, Figure.OurSource, result, subject)) throw new InvalidDataException($"failed: {_failures[^1]}");
            foreach ((string name, ChildProcess run) in peers)
            {
                // A peer that failed once would fail in the next round too.
                if (!failed.Contains(name) && !Collect(round, name, run.Run()!, subject)) failed.Add(name);
            }
        }
    }

    /// <summary>Adds the figures that a program printed, even if it then failed; returns whether it succeeded.</summary>
    private bool Collect(int round, string name, ChildResult result, string subject)
    {
        try
        {
            foreach (string line in result.Lines)
            {
                if (Comparison.Add(round, line)) Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{round},{line}"));
            }
        }
        catch (InvalidDataException e)
        {
            return Failed(name, subject, e.Message);
        }

        return result.ExitCode == 0 || Failed(name, subject, result.Reason);
    }

    private bool Failed(string name, string subject, string reason)
    {
        _failures.Add($"{name} on {subject}: {reason}");
        Console.Error.WriteLine($"# failed: {_failures[^1]}");
        return false;
    }

    /// <summary>This program: its own executable, or <c>dotnet</c> with its assembly.</summary>
    private ChildProcess Ours(string[] arguments)
    {
        string program = Environment.ProcessPath ?? throw new FileNotFoundException("the path of this program is unknown");
        bool hosted = Path.GetFileNameWithoutExtension(program) == "dotnet";
        string[] assembly = hosted ? [Assembly.GetExecutingAssembly().Location] : [];
        return new ChildProcess(program, [.. assembly, .. arguments, .. OurArguments]);
    }

    private static bool IsBuildFailure(Exception e) => e is FileNotFoundException or BuildException;

    private static string Text(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);
}
