using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;
using FeedbackKernels.Settings;
using FeedbackKernels.Training;

namespace FeedbackKernels.Cli;

/// <summary><c>feedback plan</c>: what a run will need, before it is started.</summary>
internal static class PlanCommand
{
    public static Command Create()
    {
        var options = new RunOptions(new RunConfig());
        var rules = new RuleOptions();
        Setting<FeedbackRule> rule = RuleOptions.ForAllLayers();
        Setting<double> budget = Names.Number("--measure", Use.Always, 20.0, new Bounds(0, 3600), "Seconds to measure steps; at least three are measured. More are steadier.");
        var command = new Command("plan", "Measures some steps of a run and says what it will need: memory, disk and time, and what limits its speed. Takes the options of `feedback train` and writes nothing.") { rule, budget };
        foreach (Option option in options.All.Concat(rules.All)) command.Options.Add(option);
        command.SetAction(parsed =>
        {
            RunConfig config = options.Read(parsed);
            config = rules.Apply(parsed, Settings.Given(parsed, rule, config.Rule), config);
            UnusedOptions.Refuse(parsed, config);
            DataSet data = config.OpenData();
            Tables.PrintNotes(data.Notes);
            config = options.Complete(parsed, config, data);
            using Backend backend = BackendOptions.Open(parsed, config);
            Tables.PrintBackend(config.Backend, backend);
            using var interrupt = new Interrupt();
            foreach (string line in Lines(RunPlan.Measure(config, data, backend, TimeSpan.FromSeconds(parsed.GetValue(budget)), interrupt.Token), FreeBytes())) Console.WriteLine(line);
            return 0;
        });
        return command;
    }

    /// <summary>The plan as lines of text.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="free">Bytes that are free on the disk of this folder.</param>
    internal static IEnumerable<string> Lines(RunPlan plan, long free)
    {
        TrainingOptions training = plan.Config.Training;
        yield return Text($"model: {plan.Config.Model} under {plan.Config.Rule.Name}: {plan.Parameters:N0} parameters; images {plan.Images}: {Flops(plan.ForwardFlops)} forward, {Flops(plan.TrainingFlops)} in training, for each");
        string device = plan.DeviceBytes is { } bytes ? $"{Tables.Bytes(bytes)} on the device; " : "";
        yield return Text($"memory: {device}a step {Tables.Bytes(plan.StepBytes)}, state {Tables.Bytes(plan.StateBytes)} and a copy of it for checkpoints; this process took {Tables.Bytes(plan.HostBytes)} at most");
        yield return Text($"disk: {Tables.Bytes(plan.DiskBytes)} at most, a checkpoint {Tables.Bytes(plan.StateBytes)}, the model {Tables.Bytes(plan.ModelBytes)}; free here: {Tables.Bytes(free)}{(plan.DiskBytes > free ? ", which is NOT ENOUGH" : "")}");
        yield return Text($"step: {Time(training.Batch / plan.ImagesPerSecond)} for {training.Batch} images: {plan.ImagesPerSecond:F0} images/s, {Flops(plan.TrainingFlops * plan.ImagesPerSecond)} a second; {100 * plan.Waiting.Total:F1} % of the time waiting for images");
        yield return Text($"epoch: {plan.StepsPerEpoch} steps {Time(plan.TrainSeconds / training.Epochs)}; {plan.TestImages} test images {Time(plan.TestSeconds)}{(plan.Measurements > 0 ? $"; a measurement of the alignment {Time(plan.AlignSeconds)}" : "")}");
        yield return Text($"run: {training.Epochs} epochs {Time(plan.TotalSeconds)}, limited by {Limit(plan)}");
    }

    private static string Limit(RunPlan plan)
    {
        if (!plan.IsLimitedByFeed) return "the computation of the steps";
        string stage = plan.Waiting.Stage switch { "upload" => "the copying of images to the device", "read" => "the reading of images", "decode" => "the decoding of images", _ => "the resizing of images" };
        return plan.Waiting.EnoughThreads > plan.FeedThreads
            ? Text($"{stage}: {(plan.FeedThreads == 1 ? "1 thread prepares" : $"{plan.FeedThreads} threads prepare")} them, {plan.Waiting.EnoughThreads} on as many free cores would be enough (--data-threads)")
            : stage;
    }

    private static string Flops(double flops) => flops switch
    {
        >= 1e12 => Text($"{flops / 1e12:F2} TFLOP"),
        >= 1e9 => Text($"{flops / 1e9:F2} GFLOP"),
        _ => Text($"{flops / 1e6:F2} MFLOP"),
    };

    /// <summary>A time in the unit that suits it.</summary>
    internal static string Time(double seconds) => seconds switch
    {
        >= 2 * 86400 => Text($"{seconds / 86400:F1} days"),
        >= 2 * 3600 => Text($"{seconds / 3600:F1} hours"),
        >= 120 => Text($"{seconds / 60:F1} minutes"),
        >= 1 => Text($"{seconds:F1} s"),
        _ => Text($"{1000 * seconds:F2} ms"),
    };

    private static long FreeBytes() => new DriveInfo(Path.GetFullPath(".")).AvailableFreeSpace;

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
