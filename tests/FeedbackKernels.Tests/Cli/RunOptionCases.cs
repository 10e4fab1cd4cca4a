using FeedbackKernels.Tests.Runs;
using static FeedbackKernels.Tests.Cli.OptionCase;

namespace FeedbackKernels.Tests.Cli;

/// <summary>The options of <c>train</c> and <c>compare</c>. Unless a case overrides it, a run is 4 steps of LeNet with a learning rate
/// that falls from 0.1 to almost 0 along a cosine.</summary>
internal static class RunOptionCases
{
    private const string Rate = "training.schedule", Sizes = "training.images", SmallNet = "--model mlp --hidden 8";

    /// <summary>All options that both commands have.</summary>
    public static OptionCase[] All => [.. Model, .. Photos, .. Training, .. Files, .. Backend, .. Mirror, .. KolenPollack, .. OtherRules, .. DeclaredByRules];

    private static OptionCase[] Model =>
    [
        new("--model mlp", (_, with) => Assert.Equal((3072 * 1000 + 1000 + 1000 * 10 + 10).ToString(), with.Summary("parameters")), "model", "mlp"),
        new("--norm-order conv-relu-bn", OtherModel, "normOrder", "conv-relu-bn", "--model resnet8"),
        new("--zero-gamma", OtherModel, "zeroGamma", "True", "--model resnet8"),
        new("--hidden 16", (_, with) => Assert.Equal((3072 * 16 + 16 + 16 * 10 + 10).ToString(), with.Summary("parameters")), "hidden", "16", "--model mlp"),
        new("--data mnist:{digits}", ShowsDigits, "data", "mnist:{digits}"),
        new("--limit-train 32", (_, with) => Assert.Equal(2, with.Steps), "limitTrain", "32"),
        new("--limit-test 16", ShowsFewerTests, "limitTest", "16"),
    ];

    private const string OfPhotos = "--data imagefolder:{photos}", OfAnySize = $"{OfPhotos} --model resnet8 --train-size 16";

    private static OptionCase[] Photos =>
    [
        new("--train-size 36", OtherModel, $"{Sizes}.trainSize", "36", OfPhotos),
        new("--test-size 24", OtherTestOnly, $"{Sizes}.testSize", "24", OfAnySize),
        new("--test-resize 40", OtherTestOnly, $"{Sizes}.testResize", "40", OfAnySize),
        new("--resize-schedule 24@2", OtherModel, $"{Sizes}.resizeSchedule.0.size", "24", $"{OfAnySize} --epochs 2 --test-size 24"),
        new("--crop-scale 0.5 0.6", OtherModel, $"{Sizes}.cropScaleMax", "0.6", OfPhotos),
        new("--crop-ratio 1 1.5", OtherModel, $"{Sizes}.cropRatioMax", "1.5", OfPhotos),
        new("--data-threads 3", (_, with) => Assert.Contains("3 threads decode images", with.Output), "dataThreads", "3", OfPhotos),
        new("--batches-ahead 5", (_, with) => Assert.Contains("5 batches ahead", with.Output), "batchesAhead", "5", OfPhotos),
        new("--ram-cache", InMemory, "ramCache", "True", "--data packed:{photos-packed}"),
    ];

    private static OptionCase[] Training =>
    [
        new("--epochs 3", (_, with) => Assert.Equal(3, with.Metrics.Length), "training.epochs", "3"),
        new("--batch 32", (_, with) => Assert.Equal(2, with.Steps), "training.batch", "32"),
        new("--lr 0.03", (_, with) => Assert.Equal(0.03, with.LearningRate, 1e-6), $"{Rate}.peak", "0.03", "--schedule constant"),
        new("--schedule constant", (_, with) => Assert.Equal(0.1, with.LearningRate, 1e-6), $"{Rate}.kind", "constant"),
        // Four of eight steps: halfway up to the peak.
        new("--warm-up 2", (_, with) => Assert.Equal("0.05", with.Metrics[0][2]), $"{Rate}.warmUpEpochs", "2", "--schedule constant --epochs 2"),
        new("--milestones 0.25", (_, with) => Assert.Equal(0.01, with.LearningRate, 1e-6), $"{Rate}.milestones.0", "0.25", "--schedule multi-step"),
        // The default milestones apply it twice.
        new("--gamma 0.5", (_, with) => Assert.Equal(0.025, with.LearningRate, 1e-6), $"{Rate}.gamma", "0.5", "--schedule multi-step"),
        new("--momentum 0.5", OtherModel, "training.momentum", "0.5"),
        new("--nesterov false", OtherModel, "training.nesterov", "False"),
        new("--weight-decay 0.01", OtherModel, "training.weightDecay", "0.01"),
        new("--label-smoothing 0.25", OtherModel, "training.labelSmoothing", "0.25"),
        // The steps are as many; without batch norm they differ by rounding alone, with it also by its statistics.
        new("--accumulate 2", ShowsSameSteps, "training.accumulate", "2", "--model resnet8"),
        new("--ema 0.5", OtherModel, "training.ema", "0.5"),
        new("--test-flip", ShowsOtherTest, "training.testFlip", "True"),
        new("--clip-norm 0.125", OtherModel, "training.clipNorm", "0.125"),
        new("--noise-pretraining 2", OtherModel, "training.noisePretraining", "2"),
        new("--noise-pretraining-lr 0.5", OtherModel, "training.noisePretrainingRate", "0.5", "--noise-pretraining 2"),
        new("--update-noise 0.25", OtherModel, "training.updateNoise", "0.25"),
        new("--update-noise-on feedback", OtherModel, "training.updateNoiseOn", "feedback", "--update-noise 0.25 --rule kp"),
        new("--augment flip", OtherModel, "training.augmentation", "flip"),
        new("--shuffle false", OtherModel, "training.shuffle", "False"),
        new("--normalize unit", OtherModel, "training.normalisation", "unit"),
        new("--seed 5", ShowsSeed, "training.seed", "5"),
        new("--align-every 1", (without, with) => Assert.Equal((0, 2 * 5), (without.Alignment.Length, with.Alignment.Length)), "training.alignEvery", "1"),
        new("--align-every 0.25", (_, with) => Assert.Equal(["0", "0.25", "0.5", "0.75", "1"], with.Alignment.Select(line => line[0]).Distinct()), "training.alignEvery", "0.25"),
        new("--rule-for conv2=ss", OtherModel, "ruleFor.0.rule.rule", "sign-symmetry"),
    ];

    private static OptionCase[] Files =>
    [
        new("--tensorboard off", (without, with) => Assert.Equal((1, 0), (without.Events.Length, with.Events.Length)), "tensorBoard", "off"),
        new("--tensorboard histograms", ShowsHistograms, "tensorBoard", "histograms"),
    ];

    private static OptionCase[] Backend =>
    [
        new("--backend reference", (_, with) => Assert.StartsWith("reference", with.Summary("backend")), "backend", "reference"),
        new("--threads 3", (_, with) => Assert.Contains("3 threads", with.Summary("backend")), "threads", "3"),
        new("--simd scalar", (_, with) => Assert.Contains("Scalar, 1 floats", with.Summary("backend")), "simd", "scalar"),
        new("--exact", (_, with) => Assert.Contains("no Winograd", with.Summary("backend")), "exact", "True"),
        new("--device 1", (_, with) => Assert.Contains(", device 1, ", with.Summary("backend")), "device", "1", SmallNet, Cuda: true),
        new("--precision bf16", (_, with) => Assert.Contains("activations in bf16", with.Summary("backend")), "precision", "bf16", SmallNet, Cuda: true),
        new("--no-cuda-graph", (_, with) => Assert.Contains("no graphs", with.Summary("backend")), "cudaGraphs", "False", SmallNet, Cuda: true),
    ];

    private static OptionCase[] Mirror => [.. new (string Given, string Path, string Value)[]
    {
        ("--mirror-samples 40", "samples", "40"), ("--mirror-noise gaussian", "noise", "gaussian"), ("--mirror-std 3", "noiseDeviation", "3"),
        ("--mirror-rate 0.5", "rate", "0.5"), ("--mirror-every 3", "every", "3"), ("--mirror-warm-up 7", "warmUpSteps", "7"),
        ("--mirror-form full-map", "form", "full-map"), ("--mirror-response relu", "reluResponse", "True"),
        ("--mirror-update average", "update", "average"), ("--mirror-follow true", "follow", "True"),
    }.Select(c => new OptionCase(c.Given, OtherModel, $"rule.{c.Path}", c.Value, c.Given.Contains("warm-up", StringComparison.Ordinal) ? "--rule wm" : "--rule wm --mirror-warm-up 4"))];

    private static OptionCase[] KolenPollack => [.. new (string Given, string Path, string Value)[]
    {
        ("--kp-decay 0.05", "decay", "0.05"), ("--kp-early-shrink 0.5", "earlyShrink", "0.5"), ("--kp-early in-training", "early", "in-training"),
        ("--kp-early-steps 3", "earlySteps", "3"), ("--kp-form closed-form", "form", "closed-form"),
    }.Select(c => new OptionCase(c.Given, OtherModel, $"rule.{c.Path}", c.Value, "--rule kp"))];

    private static OptionCase[] OtherRules =>
    [
        new("--sign-magnitude fixed-random", OtherModel, "rule.magnitude", "fixed-random", "--rule ss"),
        .. ((string[])["fa", "ss", "kp"]).Select(rule => new OptionCase("--feedback-init xavier", OtherModel, "rule.init", "xavier", $"--rule {rule}")),
        .. ((string[])["fa", "ss", "kp", "dfa"]).Select(rule => new OptionCase("--feedback-scale 0.75", OtherModel, "rule.scale", "0.75", $"--rule {rule}")),
        new("--direct-target channels", OtherModel, "rule.target", "channels", "--rule dfa"),
    ];

    private static IEnumerable<OptionCase> DeclaredByRules =>
        IRuleOptionCases.All.SelectMany(rule => rule.Cases.Select(c => c with { With = $"--rule {rule.Rule.ShortName} {c.With}".TrimEnd() }));

    private static void ShowsSameSteps(Trial without, Trial with)
    {
        Assert.Equal(without.Steps, with.Steps);
        OtherModel(without, with);
    }

    private static void ShowsOtherTest(Trial without, Trial with)
    {
        Assert.Equal(without.Model, with.Model);
        Assert.NotEqual(without.Metrics[0][5], with.Metrics[0][5]);
    }

    // Grey images: the first filter reads one channel.
    private static void ShowsDigits(Trial without, Trial with)
    {
        Assert.NotEqual(without.Model.Length, with.Model.Length);
        Assert.StartsWith("mnist:", with.Summary("data"));
    }

    // The same training; the last model is evaluated on other pixels.
    private static void OtherTestOnly(Trial without, Trial with)
    {
        Assert.Equal(without.Model, with.Model);
        Assert.NotEqual(without.Metrics[^1][5], with.Metrics[^1][5]);
    }

    private static void InMemory(Trial without, Trial with)
    {
        Assert.Equal(without.Model, with.Model);
        Assert.Equal((false, true), (without.Output.Contains("in memory", StringComparison.Ordinal), with.Output.Contains("in memory", StringComparison.Ordinal)));
    }

    private static void ShowsFewerTests(Trial without, Trial with)
    {
        Assert.Equal(without.Model, with.Model);
        Assert.NotEqual(without.Metrics[0][5], with.Metrics[0][5]);
        double right = 16 * double.Parse(with.Summary("testTop1"), System.Globalization.CultureInfo.InvariantCulture);
        Assert.Equal(Math.Round(right), right, 1e-6);
    }

    private static void ShowsHistograms(Trial without, Trial with)
    {
        Assert.Equal(without.Model, with.Model);
        static IEnumerable<string> Tags(Trial trial) => RecordedEvents.Read(Assert.Single(trial.Events)).SelectMany(e => e.Values).Where(v => v.Histogram is not null).Select(v => v.Tag);
        Assert.Empty(Tags(without));
        Assert.Contains("weights/conv1", Tags(with));
    }

    private static void ShowsSeed(Trial without, Trial with)
    {
        OtherModel(without, with);
        Assert.Equal("5", with.Summary("seed"));
    }
}
