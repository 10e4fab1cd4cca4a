using System.Globalization;
using System.Text.Json;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Tests.Cli;
using FeedbackKernels.Tests.KnownAnswers;

namespace FeedbackKernels.Tests.Runs;

/// <summary>
/// Whole runs from the command line to the files, compared with the same runs in PyTorch (KnownAnswers/make.py). The initial weights
/// come from the seed, so the comparison covers everything: options, images, normalisation, schedule, loss, gradients, batch norms,
/// optimiser, evaluation, tables and the model file.
/// </summary>
[Collection(nameof(CommandLineTests))]
public sealed class KnownRunTests : IDisposable
{
    private static readonly JsonElement Answers = Known.Read("runs");

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-known").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    public static TheoryData<string, string[]> Runs() => new()
    {
        { "mlp", ["--model", "mlp", "--hidden", "20"] },
        { "mlp-clipped", ["--model", "mlp", "--hidden", "20"] },
        { "resnet8", ["--model", "resnet8"] },
        { "resnet8-zero-gamma", ["--model", "resnet8", "--zero-gamma"] },
        { "resnet8-relu-bn", ["--model", "resnet8", "--norm-order", "conv-relu-bn"] },
    };

    [Theory, MemberData(nameof(Runs))]
    public void A_run_equals_the_same_run_in_PyTorch(string name, string[] model)
    {
        JsonElement answer = Answers.GetProperty("runs").GetProperty(name);
        string run = Train(answer.GetProperty("options"), model);
        CheckTable(answer, Path.Combine(run, "metrics.csv"));
        CheckTensors(answer.GetProperty("tensors"), new TensorFile(Path.Combine(run, "model.safetensors")));
        CheckSummary(answer, JsonDocument.Parse(File.ReadAllText(Path.Combine(run, "summary.json"))).RootElement);
        CheckEvaluation(answer, run);
    }

    [Theory]
    [InlineData("mlp", false, NormOrder.ConvBnRelu)]
    [InlineData("resnet8", false, NormOrder.ConvBnRelu)]
    [InlineData("resnet8-zero-gamma", true, NormOrder.ConvBnRelu)]
    public void A_seed_gives_the_known_initial_weights(string name, bool zeroGamma, NormOrder order)
    {
        int size = Answers.Int("size");
        using var backend = new CpuBackend(1);
        ModelSpec spec = ModelCatalog.Create(name.Split('-')[0], new MapShape(size, size, 1), 10, new ModelOptions(order, zeroGamma, 20));
        using var model = new Model(backend, spec, RuleSet.Of(new Backprop()), 2, Answers.GetProperty("seed").GetUInt64());
        JsonElement started = Answers.GetProperty("runs").GetProperty(name).GetProperty("started");
        Assert.Equal(started.EnumerateObject().Select(t => t.Name).Order(), model.Parameters.Select(p => p.Name).Order());
        foreach (Parameter parameter in model.Parameters)
            CheckTensor(started.GetProperty(parameter.Name), parameter.Name, [.. parameter.Sizes], backend.Download(parameter.Value), 1e-5);
        foreach (BatchNorm norm in model.Norms)
        {
            Assert.All(backend.Download(norm.RunningMean), v => Assert.Equal(0, v));
            Assert.All(backend.Download(norm.RunningVariance), v => Assert.Equal(1, v));
        }
    }

    /// <summary>The images and labels as idx files, and the run on them.</summary>
    private string Train(JsonElement options, string[] model)
    {
        string data = Path.Combine(_folder, "data"), run = Path.Combine(_folder, "run");
        WriteImages(data);
        string Text(string option) => options.GetProperty(option).GetRawText();
        (int code, string output) = Feedback(
        [
            "train", .. model, "--rule", "backprop", "--data", $"mnist:{data}", "--out", run, "--batch", Answers.Int("train").ToString(CultureInfo.InvariantCulture),
            "--seed", Answers.GetProperty("seed").GetRawText(), "--epochs", Text("epochs"), "--lr", Text("lr"), "--momentum", Text("momentum"),
            "--nesterov", Text("nesterov"), "--weight-decay", Text("weightDecay"), "--label-smoothing", Text("smoothing"), "--clip-norm", Text("clipNorm"),
            "--schedule", options.Text("schedule"), "--normalize", options.Text("normalize"), "--align-every", "0", "--threads", "2", "--backend", "cpu",
            // Because of Winograd's rounding a few ReLUs switch, and after three steps an image that was close to a tie.
            "--exact",
            .. options.Text("schedule") == "one-cycle" ? (string[])[] : ["--warm-up", Text("warmUp")],
        ]);
        Assert.True(code == 0, output);
        return run;
    }

    private static void CheckTable(JsonElement answer, string file)
    {
        string[] lines = File.ReadAllLines(file);
        string[] names = lines[0].Split(',');
        Assert.Equal(answer.GetProperty("epochs").GetArrayLength(), lines.Length - 1);
        foreach ((JsonElement epoch, string line) in answer.Each("epochs").Zip(lines.Skip(1)))
        {
            var row = names.Zip(line.Split(',')).ToDictionary(p => p.First, p => double.Parse(p.Second, CultureInfo.InvariantCulture));
            foreach (JsonProperty expected in epoch.EnumerateObject()) Same(expected.Value.GetDouble(), row[expected.Name], $"epoch {epoch.Int("epoch")}, {expected.Name}");
        }
    }

    private static void CheckSummary(JsonElement answer, JsonElement summary)
    {
        JsonElement[] epochs = [.. answer.Each("epochs")];
        JsonElement last = epochs[^1];
        Same(last.Double("testTop1"), summary.Double("testTop1"), "top-1");
        Same(last.Double("testTop5"), summary.Double("testTop5"), "top-5");
        Same(epochs.Max(e => e.Double("testTop1")), summary.Double("bestTestTop1"), "best top-1");
        Same(last.Double("trainLoss"), summary.Double("finalLoss"), "training loss");
        Same(last.Double("testLoss"), summary.Double("testLoss"), "test loss");
        Assert.Equal(epochs.Length, summary.Int("epochs"));
        Assert.Equal(Answers.GetProperty("seed").GetUInt64(), summary.GetProperty("seed").GetUInt64());
    }

    /// <summary>What <c>evaluate</c> prints for the run: the test results of the last epoch.</summary>
    private static void CheckEvaluation(JsonElement answer, string run)
    {
        JsonElement last = answer.Each("epochs").Last();
        (int code, string output) = Feedback(["evaluate", run, "--batch", "7"]);
        Assert.True(code == 0, output);
        Assert.Contains($"{Answers.Int("test")} test images", output);
        Same(100 * last.Double("testTop1"), Number("top-1 "), "evaluate's top-1", 0.006);
        Same(100 * last.Double("testTop5"), Number("top-5 "), "evaluate's top-5", 0.006);
        Same(last.Double("testLoss"), Number("loss "), "evaluate's loss");

        double Number(string before)
        {
            int start = output.LastIndexOf(before, StringComparison.Ordinal) + before.Length;
            string digits = string.Concat(output[start..].TakeWhile(c => char.IsAsciiDigit(c) || c == '.'));
            return double.Parse(digits, CultureInfo.InvariantCulture);
        }
    }

    private static void CheckTensors(JsonElement tensors, TensorFile file)
    {
        Assert.Equal(tensors.EnumerateObject().Select(t => t.Name).Order(), file.Names.Order());
        foreach (JsonProperty tensor in tensors.EnumerateObject())
            CheckTensor(tensor.Value, tensor.Name, file.Sizes(tensor.Name), file.Values(tensor.Name), 2e-3);
    }

    // The tolerance is relative to the root mean square of the tensor.
    private static void CheckTensor(JsonElement expected, string name, int[] sizes, float[] found, double tolerance)
    {
        Assert.Equal(expected.Ints("sizes"), sizes);
        double norm = expected.Double("norm"), bound = tolerance * norm / Math.Sqrt(found.Length) + 1e-7;
        Same(norm, Math.Sqrt(found.Sum(v => (double)v * v)), $"norm of {name}", tolerance * norm + 1e-6);
        float[] elements = expected.Floats("elements");
        int step = expected.Int("step");
        for (int i = 0; i < elements.Length; i++) Same(elements[i], found[i * step], $"{name}[{i * step}]", bound);
    }

    private static void Same(double expected, double found, string what, double bound = 1e-4) =>
        Assert.True(Math.Abs(expected - found) <= bound, FormattableString.Invariant($"{what}: expected {expected}, found {found}, bound {bound:G3}"));

    private static void WriteImages(string folder)
    {
        Directory.CreateDirectory(folder);
        int train = Answers.Int("train"), test = Answers.Int("test"), size = Answers.Int("size"), image = size * size;
        byte[] pixels = [.. Answers.Ints("pixels").Select(p => (byte)p)], labels = [.. Answers.Ints("labels").Select(l => (byte)l)];
        foreach ((string prefix, int first, int count) in ((string, int, int)[])[("train", 0, train), ("t10k", train, test)])
        {
            File.WriteAllBytes(Path.Combine(folder, $"{prefix}-images-idx3-ubyte"), [0, 0, 8, 3, 0, 0, 0, (byte)count, 0, 0, 0, (byte)size, 0, 0, 0, (byte)size, .. pixels[(first * image)..((first + count) * image)]]);
            File.WriteAllBytes(Path.Combine(folder, $"{prefix}-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, (byte)count, .. labels[first..(first + count)]]);
        }
    }

    private static (int Code, string Output) Feedback(string[] arguments)
    {
        (int code, string output, string error) = FeedbackProgram.Run(arguments);
        return (code, output + error);
    }
}
