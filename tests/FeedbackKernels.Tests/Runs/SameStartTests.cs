using System.Globalization;
using System.Text.Json;
using FeedbackKernels.Tests.Cli;

namespace FeedbackKernels.Tests.Runs;

/// <summary>What runs share: under <c>compare</c> the start, under <c>--config</c> everything.</summary>
[Collection(nameof(CommandLineTests))]
public sealed class SameStartTests : IDisposable
{
    private static readonly string[] Small =
        ["--model", "mlp", "--hidden", "16", "--limit-train", "96", "--limit-test", "60", "--batch", "32", "--epochs", "1", "--threads", "1"];

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-start").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Rules_of_a_comparison_start_from_the_same_weights_and_see_the_same_images()
    {
        // With a rate of 0 the weights do not change: the losses are those of the initial weights, in the order of the images.
        string[] still = ["--lr", "1e-20", "--weight-decay", "0", "--align-every", "0", "--seed"];
        string compare = Path.Combine(_folder, "compare"), train = Path.Combine(_folder, "train"), other = Path.Combine(_folder, "other");
        Run(["compare", "--rules", "bp,fa,ss,dfa", "--out", compare, .. Small, .. still, "5"]);
        Run(["train", "--schedule", "one-cycle", "--out", train, .. Small, .. still, "5"]);
        Run(["train", "--schedule", "one-cycle", "--out", other, .. Small, .. still, "6"]);
        string expected = Losses(train);
        Assert.NotEqual(expected, Losses(other));
        foreach (string rule in (string[])["backprop", "feedback-alignment", "sign-symmetry", "direct-feedback-alignment"])
        {
            string run = Path.Combine(compare, rule);
            Assert.Equal(expected, Losses(run));
            Assert.Equal(5, Config(run).GetProperty("training").GetProperty("seed").GetInt32());
            Assert.Equal(
                new TensorFile(Path.Combine(train, "model.safetensors")).Values("fc1.weight"),
                new TensorFile(Path.Combine(run, "model.safetensors")).Values("fc1.weight"));
        }

        static string Losses(string run) => string.Join(',', File.ReadAllLines(Path.Combine(run, "metrics.csv"))[1].Split(',')[3..7]);
    }

    [Theory]
    [InlineData("train")]
    [InlineData("compare")]
    public void A_configuration_keeps_its_augmentation_and_an_option_changes_it(string command)
    {
        string first = Path.Combine(_folder, "first"), second = Path.Combine(_folder, "second"), third = Path.Combine(_folder, "third");
        Run(["train", "--augment", "crop-flip", "--out", first, .. Small]);
        string config = Path.Combine(first, "config.json");
        string[] rules = command == "compare" ? ["--rules", "bp"] : [];
        Run([command, "--config", config, "--out", second, .. rules]);
        Run([command, "--config", config, "--augment", "flip", "--out", third, .. rules]);
        string run = command == "compare" ? "backprop" : "";
        Assert.Equal("crop-flip", Augmentation(first));
        Assert.Equal("crop-flip", Augmentation(Path.Combine(second, run)));
        Assert.Equal("flip", Augmentation(Path.Combine(third, run)));
        Assert.Equal(File.ReadAllBytes(Path.Combine(first, "model.safetensors")), File.ReadAllBytes(Path.Combine(second, run, "model.safetensors")));
        Assert.NotEqual(
            new TensorFile(Path.Combine(first, "model.safetensors")).Values("fc1.weight"),
            new TensorFile(Path.Combine(third, run, "model.safetensors")).Values("fc1.weight"));

        static string Augmentation(string run) => Config(run).GetProperty("training").GetProperty("augmentation").GetString()!;
    }

    [Fact]
    public void Progress_and_table_show_the_numbers_of_the_files()
    {
        string run = Path.Combine(_folder, "run");
        string output = Run(["train", "--rule", "fa", "--out", run, .. Small]);
        string[] names = File.ReadAllLines(Path.Combine(run, "metrics.csv"))[0].Split(','), cells = File.ReadAllLines(Path.Combine(run, "metrics.csv"))[1].Split(',');
        var metrics = names.Zip(cells).ToDictionary(p => p.First, p => double.Parse(p.Second, CultureInfo.InvariantCulture));
        string line = output.Split('\n').Single(l => l.Contains("epoch 1/1", StringComparison.Ordinal));
        Assert.Contains(
            FormattableString.Invariant($"loss {metrics["trainLoss"]:F3}, train {100 * metrics["trainTop1"]:F2} %, test {100 * metrics["testTop1"]:F2} % (top-5 {100 * metrics["testTop5"]:F2} %)"), line);

        JsonElement summary = JsonDocument.Parse(File.ReadAllText(Path.Combine(run, "summary.json"))).RootElement;
        string[] lines = [.. output.Split('\n').Where(l => l.Contains('|', StringComparison.Ordinal))];
        var row = Cells(lines[0]).Zip(Cells(lines.Last(l => l.Contains("feedback-alignment", StringComparison.Ordinal)))).ToDictionary(p => p.First, p => p.Second);
        Same("top-1", 100 * Number("testTop1"), 0.006);
        Same("top-5", 100 * Number("testTop5"), 0.006);
        Same("train loss", Number("finalLoss"), 0.0006);
        Same("W-B angle", Number("weightAngle"), 0.06);
        Same("error angle", Number("deltaAngle"), 0.06);
        Same("largest W-B angle", Number("largestWeightAngle"), 0.06);
        Same("largest error angle", Number("largestDeltaAngle"), 0.06);

        double Number(string name) => summary.GetProperty(name).GetDouble();

        void Same(string heading, double expected, double tolerance) =>
            Assert.Equal(expected, double.Parse(row[heading].Split(' ', '%', '°')[0], CultureInfo.InvariantCulture), tolerance);

        static string[] Cells(string line) => [.. line.Trim().Trim('|').Split('|').Select(c => c.Trim())];
    }

    private static JsonElement Config(string run) => JsonDocument.Parse(File.ReadAllText(Path.Combine(run, "config.json"))).RootElement;

    private static string Run(string[] arguments)
    {
        (int code, string output, string error) = FeedbackProgram.Run(arguments);
        Assert.True(code == 0, output + error);
        return output;
    }
}
