using System.Text.Json;
using FeedbackKernels.Cli;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Storage;
using FeedbackKernels.Training;
using Spectre.Console;

namespace FeedbackKernels.Tests.Cli;

/// <summary>The program as a user runs it, in this process: exit codes, files, and one clear line for each error.</summary>
[Collection(nameof(CommandLineTests))]
public sealed class CommandLineTests : IDisposable
{
    private static readonly string[] Small =
        ["--model", "resnet8", "--limit-train", "256", "--limit-test", "100", "--batch", "32", "--lr", "0.05"];

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-cli").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Train_writes_every_file_and_evaluate_finds_the_same_accuracy()
    {
        string run = Path.Combine(_folder, "run");
        (int code, string output, string error) = Feedback(["train", "--rule", "weight-mirror", "--rule-for", "fc=backprop", "--out", run, "--epochs", "2", .. Small]);
        Assert.Equal("", error);
        Assert.Equal(0, code);
        Assert.Contains("backend cpu (auto)", output);
        Assert.Contains("epoch 2/2", output);
        Assert.Contains("report.html", output);

        JsonElement summary = Json(run, "summary.json");
        string[] wanted = ["model", "rule", "data", "epochs", "seed", "backend", "testTop1", "testTop5", "finalLoss", "imagesPerSecond", "seconds"];
        Assert.All(wanted, name => Assert.True(summary.TryGetProperty(name, out _), $"summary.json lacks {name}"));
        Assert.Equal("weight-mirror", summary.GetProperty("rule").GetString());
        Assert.Equal(2, summary.GetProperty("epochs").GetInt32());

        string[] metrics = File.ReadAllLines(Path.Combine(run, "metrics.csv"));
        Assert.Equal(3, metrics.Length);
        Assert.All(metrics, line => Assert.Equal(metrics[0].Split(',').Length, line.Split(',').Length));
        string[] alignment = File.ReadAllLines(Path.Combine(run, "alignment.csv"));
        Assert.Equal(1 + 3 * 10, alignment.Length);
        string report = File.ReadAllText(Path.Combine(run, "report.html"));
        // Five large charts and one for each layer.
        Assert.Equal(5 + 10, report.Split("<figure>").Length - 1);
        Assert.DoesNotContain("http-equiv", report);
        Assert.DoesNotContain("src=", report);
        Assert.True(File.Exists(Path.Combine(run, "model.safetensors")));

        (int evaluated, string result, _) = Feedback("evaluate", run);
        Assert.Equal(0, evaluated);
        double top1 = 100 * summary.GetProperty("testTop1").GetDouble();
        Assert.Contains(FormattableString.Invariant($"top-1 {top1:F2} %"), result);
    }

    [Fact]
    public void A_config_repeats_its_run_to_the_last_digit()
    {
        string first = Path.Combine(_folder, "first"), second = Path.Combine(_folder, "second");
        Assert.Equal(0, Feedback(["train", "--rule", "kp", "--kp-early-steps", "3", "--out", first, "--epochs", "2", .. Small]).Code);
        Assert.Equal(0, Feedback("train", "--config", Path.Combine(first, "config.json"), "--threads", "1", "--out", second).Code);
        Assert.Equal(File.ReadAllBytes(Path.Combine(first, "model.safetensors")), File.ReadAllBytes(Path.Combine(second, "model.safetensors")));
        JsonElement rule = Json(second, "config.json").GetProperty("rule");
        Assert.Equal("kolen-pollack", rule.GetProperty("rule").GetString());
        Assert.Equal(3, rule.GetProperty("earlySteps").GetInt32());
    }

    [Fact]
    public void Compare_runs_the_rules_side_by_side()
    {
        string folder = Path.Combine(_folder, "compare");
        (int code, string output, string error) = Feedback(["compare", "--rules", "bp,fa,dfa", "--out", folder, "--epochs", "2", .. Small]);
        Assert.Equal("", error);
        Assert.Equal(0, code);
        foreach (string rule in (string[])["backprop", "feedback-alignment", "direct-feedback-alignment"])
        {
            Assert.Contains(rule, output);
            Assert.True(File.Exists(Path.Combine(folder, rule, "summary.json")));
        }

        Assert.Equal(3, Json(folder, "summary.json").GetArrayLength());
        Assert.Equal(7, File.ReadAllText(Path.Combine(folder, "report.html")).Split("<figure>").Length - 1);
    }

    [Theory]
    [InlineData("resnet20", "direct")]
    [InlineData("resnet18", "direct")]
    [InlineData("mlp", "pointwise")]
    [InlineData("lenet", "direct")]
    public void Info_says_what_computes_and_why(string model, string kernel)
    {
        (int code, string output, _) = Feedback("info", "--model", model, "--simd", "scalar", "--threads", "1");
        Assert.Equal(0, code);
        Assert.Contains("Scalar, 1 floats a vector, 1 thread", output);
        Assert.Contains("parameters", output);
        Assert.Contains($"(1) {kernel}", output);
    }

    [Fact]
    public void Help_lists_commands_and_options()
    {
        Assert.Contains("compare", Feedback().Output);
        (int code, string output, _) = Feedback("train", "--help");
        Assert.Equal(0, code);
        string[] options =
        [
            "--model", "--data", "--rule", "--rule-for", "--epochs", "--batch", "--lr", "--schedule", "--momentum", "--weight-decay",
            "--label-smoothing", "--augment", "--seed", "--threads", "--backend", "--device", "--norm-order", "--limit-train", "--limit-test", "--out",
        ];
        Assert.All(options, option => Assert.Contains(option + " ", output));
    }

    public static TheoryData<int, string, string[]> WrongUses() => new()
    {
        { 2, "unknown rule 'backpropagation'", ["train", "--rule", "backpropagation"] },
        { 2, "unknown rule 'x'", ["compare", "--rules", "bp,x"] },
        { 2, "wanted 1 or more", ["train", "--batch", "0"] },
        { 2, "wanted a whole number", ["train", "--epochs", "many"] },
        { 2, "wanted a number", ["train", "--lr", "0,1"] },
        { 2, "unknown model 'vgg'", ["train", "--model", "vgg"] },
        { 2, "'sinus' is unknown", ["train", "--schedule", "sinus"] },
        { 2, "wanted layer=rule", ["train", "--rule-for", "fc"] },
        { 2, "--no-such-option", ["train", "--no-such-option"] },
        { 1, "no layer matches 'fcx'", ["train", "--rule-for", "fcx=bp", "--limit-train", "200"] },
        { 1, "directory '/not/there' is not there", ["train", "--data", "cifar10:/not/there"] },
        { 1, "no data source 'imagenet'", ["train", "--data", "imagenet"] },
        { 1, "no backend 'tpu' in this build", ["train", "--backend", "tpu", "--limit-train", "200"] },
        { 2, "--threads has no effect here: it needs --backend cpu", ["train", "--backend", "cuda", "--threads", "2", "--limit-train", "200"] },
        { 2, "--device has no effect here: it needs --backend cuda", ["train", "--backend", "cpu", "--device", "1", "--limit-train", "200"] },
        { 2, "--device has no effect here: it needs --backend cuda", ["info", "--backend", "reference", "--device", "1"] },
        { 2, "--device -1: wanted 0 or more", ["train", "--device", "-1"] },
        { 2, "--device 'h100': wanted a whole number", ["info", "--device", "h100"] },
        { 1, "a batch of 128 out of 100", ["train", "--limit-train", "100"] },
        { 2, "--momentum 1.5: wanted 0 to below 1", ["train", "--momentum", "1.5", "--limit-train", "200"] },
        { 1, "directory '", ["evaluate", "/not/there"] },
        { 1, "config.json", ["train", "--config", "/not/there/config.json"] },
    };

    [Theory, MemberData(nameof(WrongUses))]
    public void A_wrong_use_gives_one_clear_line_and_writes_nothing(int expected, string part, string[] arguments)
    {
        string here = Directory.GetCurrentDirectory();
        Directory.SetCurrentDirectory(_folder);
        try
        {
            (int code, _, string error) = Feedback(arguments);
            Assert.Equal(expected, code);
            Assert.Contains(part, error);
            Assert.Single(error.TrimEnd('\n').Split('\n'));
            Assert.StartsWith("feedback: ", error);
            Assert.DoesNotContain("   at ", error);
            Assert.Empty(Directory.EnumerateFileSystemEntries(_folder));
        }
        finally
        {
            Directory.SetCurrentDirectory(here);
        }
    }

    [Theory]
    [InlineData("wanted shares or epochs (Parameter 'milestones') Actual value was 0.5 2.", "milestones: wanted shares or epochs, found 0.5 2")]
    [InlineData("Hidden ('-5') must be 0 or more. (Parameter 'hidden') Actual value was -5.", "Hidden ('-5') must be 0 or more")]
    [InlineData("a batch of 128 out of 100 (Parameter 'options')", "a batch of 128 out of 100")]
    [InlineData("file 'x' does not exist", "file 'x' does not exist")]
    public void The_setting_comes_first_and_the_value_found_last(string message, string expected) => Assert.Equal(expected, Program.Plain(message));

    [Fact]
    public void Broken_run_folders_are_named()
    {
        string run = Path.Combine(_folder, "run");
        Assert.Equal(0, Feedback(["train", "--out", run, "--epochs", "1", .. Small]).Code);
        string model = Path.Combine(run, "model.safetensors"), config = Path.Combine(run, "config.json");
        byte[] good = File.ReadAllBytes(model);

        File.WriteAllBytes(model, good[..^100]);
        Assert.Contains("the file ends here", Feedback("evaluate", run).Error);
        File.WriteAllBytes(model, good[..5]);
        Assert.Contains("header length", Feedback("evaluate", run).Error);
        File.WriteAllBytes(model, good);
        File.WriteAllText(config, File.ReadAllText(config).Replace("resnet8", "resnet14", StringComparison.Ordinal));
        Assert.Contains("another configuration", Feedback("evaluate", run).Error);
        using (var backend = new CpuBackend(1))
        using (var larger = new Model(backend, ModelCatalog.Create("resnet14", new(32, 32, 3), 10), RuleSet.Of(new Backprop()), 2, seed: 1))
            Assert.Contains("is missing", Assert.Throws<InvalidDataException>(() => StoredModel.Load(larger, model)).Message);
        File.WriteAllText(config, "{ \"modle\": 1 }");
        Assert.Contains("modle", Feedback("evaluate", run).Error);
    }

    [Fact]
    public void An_output_folder_is_not_overwritten_unasked()
    {
        string run = Path.Combine(_folder, "run");
        Directory.CreateDirectory(run);
        File.WriteAllText(Path.Combine(run, "precious"), "");
        (int code, _, string error) = Feedback(["train", "--out", run, "--epochs", "2", .. Small]);
        Assert.Equal(1, code);
        Assert.Contains("not empty", error);
        Assert.Equal(0, Feedback(["train", "--out", run, "--overwrite", "--epochs", "1", .. Small]).Code);
    }

    [Fact]
    public void On_a_terminal_each_epoch_has_a_bar_and_ends_with_its_accuracy()
    {
        // Not disposed: the thread that draws the bars may write once more.
        var text = new StringWriter();
        IAnsiConsole terminal = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = AnsiSupport.Yes,
            Interactive = InteractionSupport.Yes,
            Out = new AnsiConsoleOutput(text),
        });
        terminal.Profile.Width = 100;
        DataSet data = DataSet.Open("synthetic", 1, 160, 100);
        using var backend = new CpuBackend();
        using var model = new Model(backend, ModelCatalog.Create("resnet8", data.Train.RequireShape(), 10), RuleSet.Of(new WeightMirror()), 32, seed: 1);
        var trainer = new Trainer(model, data, new TrainingOptions { Epochs = 2, Batch = 32 });
        TrainingResult result = ConsoleProgress.Show(terminal, 2, observer => trainer.Run(observer, TestContext.Current.CancellationToken));
        foreach (EpochReport epoch in result.Epochs)
        {
            string line = text.ToString().Split('\n').Last(l => l.Contains($"epoch {epoch.Epoch}/2", StringComparison.Ordinal));
            Assert.Contains(FormattableString.Invariant($"loss {epoch.TrainLoss:F3}"), line);
            Assert.Contains(FormattableString.Invariant($"test {100 * epoch.TestTop1:F2} %"), line);
        }
    }

    private static (int Code, string Output, string Error) Feedback(params string[] arguments) => FeedbackProgram.Run(arguments);

    private static JsonElement Json(string folder, string file) => FeedbackProgram.Json(folder, file);
}

/// <summary>These tests redirect the console, so nothing may run in parallel.</summary>
[CollectionDefinition(nameof(CommandLineTests), DisableParallelization = true)]
public sealed class AloneOnTheConsole;
