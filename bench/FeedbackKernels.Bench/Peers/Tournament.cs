using System.Globalization;
using System.Reflection;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Bench.Peers;

/// <summary>Runs our program and the peers' in turn, each time as a child process, so that all pay the same and none warms
/// the machine for another.</summary>
/// <param name="sources">Folder of the peers' sources.</param>
/// <param name="output">Folder of the peers' programs.</param>
/// <param name="threads">Threads of every program.</param>
/// <param name="rounds">Runs of each program in each place.</param>
internal sealed class Tournament(string sources, string output, int threads, int rounds)
{
    private readonly List<Peer> _peers = [];
    private readonly List<string> _failures = [];

    /// <summary>Arguments for our own program.</summary>
    public IReadOnlyList<string> OurArguments { get; init; } = [];

    /// <summary>Runs of each program in each place.</summary>
    public int Rounds => rounds;

    /// <summary>What the programs printed.</summary>
    public Comparison Comparison { get; } = new();

    /// <summary>Runs of peers that did not end well, each with its reason.</summary>
    public IReadOnlyList<string> Failures => _failures;

    /// <summary>Builds the peers that are to take part.</summary>
    /// <param name="names">Who; all where it is empty, and then one that cannot be built only misses the comparison.</param>
    /// <param name="withWinograd">Whether, of all, those that use Winograd take part.</param>
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
                Console.Error.WriteLine($"# without {string.Join(", ", group.Select(peer => peer.Name))}: {e.Message}");
            }
        }
    }

    /// <summary>Measures FMA peak and bandwidth, where the program that does can be built.</summary>
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
            Console.Error.WriteLine($"# without the roofline picture: {e.Message}");
        }
    }

    /// <summary>One layer, every pass.</summary>
    public void Layer(string model, LayerShape layer, double budget)
    {
        var run = new LayerRun(ShapesCommand.Line(layer), layer.Shape.N, budget, threads);
        ChildProcess ours = Ours(["layers", "--model", model, "--batch", Text(run.Batch), "--filter", layer.Name, "--budget", Text(budget)]);
        InTurn(layer.Name, ours, [.. _peers.Where(p => p.Layer is not null).Select(p => (p.Name, p.Layer!(run)))]);
    }

    /// <summary>Whole training steps under backprop, which every peer has.</summary>
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
                // A peer that cannot do it will not be able to in the next round.
                if (!failed.Contains(name) && !Collect(round, name, run.Run()!, subject)) failed.Add(name);
            }
        }
    }

    /// <summary>Takes what a program printed, also where it then failed; returns whether it ended well.</summary>
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

    /// <summary>This very program: its host, or <c>dotnet</c> with its assembly.</summary>
    private ChildProcess Ours(string[] arguments)
    {
        string program = Environment.ProcessPath ?? throw new FileNotFoundException("this process does not know its own program");
        bool hosted = Path.GetFileNameWithoutExtension(program) == "dotnet";
        string[] assembly = hosted ? [Assembly.GetExecutingAssembly().Location] : [];
        return new ChildProcess(program, [.. assembly, .. arguments, .. OurArguments]);
    }

    private static bool IsBuildFailure(Exception e) => e is FileNotFoundException or BuildException;

    private static string Text(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);
}
