using System.CommandLine;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;
using FeedbackKernels.Training;

namespace FeedbackKernels.Cli;

/// <summary>The condition under which an option has an effect. Every option declares it, and an option that is given without effect
/// is refused.</summary>
/// <param name="Needs">The condition, as errors name it.</param>
/// <param name="Holds">Whether a run meets it.</param>
internal sealed record Use(string Needs, Func<ParseResult, RunConfig, bool> Holds)
{
    /// <summary>The option always has an effect.</summary>
    public static Use Always { get; } = new("", (_, _) => true);

    /// <summary>A model with batch norms.</summary>
    public static Use BatchNorms { get; } = OfModel("a --model with batch norms, such as resnet8", b => b is ConvSpec { Norm: not null } or ResidualSpec);

    /// <summary>A model with batch norms, trained by several processes.</summary>
    public static Use SharedNorms { get; } = new($"several processes, started by mpirun, and {BatchNorms.Needs}", (parsed, run) => Processes.Group.IsShared && BatchNorms.Holds(parsed, run));

    /// <summary>Weight mirrors of several processes.</summary>
    public static Use SharedMirror { get; } = new(
        $"several processes, started by mpirun, and the rule {WeightMirror.RuleName}", (_, run) => Processes.Group.IsShared && RulesOf(run).Any(rule => rule is WeightMirror));

    /// <summary>A model with residual blocks.</summary>
    public static Use ResidualBlocks { get; } = OfModel("a --model with residual blocks, such as resnet8", b => b is ResidualSpec);

    /// <summary>The CPU backend.</summary>
    public static Use Cpu { get; } = Backend("cpu");

    /// <summary>The CUDA backend.</summary>
    public static Use Cuda { get; } = Backend("cuda");

    /// <summary>Several processes with a GPU each.</summary>
    public static Use SeveralDevices { get; } = new("several processes with --backend cuda", (_, run) => run.Backend is "cuda" or "auto" && Processes.Group.IsShared);

    /// <summary>Data whose images have several sizes.</summary>
    public static Use SeveralSizes { get; } = Sources(kind => kind.HasSeveralSizes);

    /// <summary>Data that can be held in memory.</summary>
    public static Use InMemory { get; } = Sources(kind => kind.CanHoldInMemory);

    /// <summary>Some models.</summary>
    public static Use Models(Func<ModelEntry, bool> uses) =>
        new($"--model {AnyOf(ModelCatalog.All.Where(uses).Select(entry => entry.Name))}", (_, run) => ModelCatalog.Find(run.Model) is { } entry && uses(entry));

    /// <summary>Some schedules of the learning rate.</summary>
    public static Use Schedules(Func<ScheduleKind, bool> uses) =>
        new($"--schedule {AnyOf(ScheduleCatalog.All.Where(uses).Select(kind => kind.Name))}", (_, run) => uses(run.Training.Schedule.Kind));

    /// <summary>A rule that an option configures, for all layers or some of them.</summary>
    public static Use Rule(RuleOption option) => new(
        $"the rule {AnyOf(RuleCatalog.RulesWith(option).Select(rule => rule.SettingOf(option)!.Needs is { } needs ? $"{rule.Name} with {needs}" : rule.Name))}",
        (_, run) => RulesOf(run).Any(rule => RuleCatalog.EntryOf(rule)?.SettingOf(option)?.IsUsed(rule) == true));

    /// <summary>A run that saves its state.</summary>
    public static Use Checkpoints { get; } = new("--checkpoint-every other than off", (_, run) => !run.CheckpointEvery.IsOff);

    /// <summary>A run that trains on noise first.</summary>
    public static Use NoisePretraining { get; } = new("--noise-pretraining above 0", (_, run) => run.Training.NoisePretraining > 0);

    /// <summary>A run whose updates get noise; on feedback alone, a rule whose B the optimiser moves.</summary>
    public static Use UpdateNoise { get; } = new(
        $"--update-noise above 0, and feedback with the rule {AnyOf(RuleCatalog.All.Where(entry => entry.Create().OptimiserMovesFeedback).Select(entry => entry.Name))}",
        (_, run) => run.Training.UpdateNoise > 0 && (run.Training.UpdateNoiseOn != NoisyUpdates.Feedback || RulesOf(run).Any(rule => rule.OptimiserMovesFeedback)));

    /// <summary>Another option.</summary>
    public static Use With(Option option) => new(option.Name, (parsed, _) => parsed.GetResult(option) is { Implicit: false });

    private static Use Sources(Func<SourceKind, bool> uses) =>
        new($"--data {AnyOf(SourceCatalog.All.Where(uses).Select(kind => kind.Form))}", (_, run) => uses(SourceCatalog.KindOf(run.Data)));

    // Before the backend has been chosen, it may be any.
    private static Use Backend(string name) => new($"--backend {name}", (_, run) => run.Backend == name || run.Backend == "auto");

    private static Use OfModel(string needs, Func<BlockSpec, bool> holds) => new(needs, (_, run) => BlocksOf(run.Model).Any(holds));

    private static IReadOnlyList<BlockSpec> BlocksOf(string model)
    {
        int size = ModelCatalog.UsualImageSize(model);
        return ModelCatalog.Create(model, new MapShape(size, size, 3), ModelCatalog.UsualClasses(model)).Blocks;
    }

    private static IEnumerable<FeedbackRule> RulesOf(RunConfig run) => run.RuleFor.Select(e => e.Rule).Prepend(run.Rule);

    private static string AnyOf(IEnumerable<string> names)
    {
        string[] all = [.. names];
        return all.Length == 1 ? all[0] : $"{string.Join(", ", all[..^1])} or {all[^1]}";
    }
}
