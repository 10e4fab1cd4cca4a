using System.Text.Json;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Runs;
using FeedbackKernels.Tests.Data;
using FeedbackKernels.Tests.Runs;
using SkiaSharp;

namespace FeedbackKernels.Tests.Cli;

/// <summary><c>feedback export</c>, <c>import</c> and <c>predict</c> as a user runs them.</summary>
[Collection(nameof(CommandLineTests))]
public sealed class WeightCommandTests(WeightCommandTests.Photos photos) : FolderTests, IClassFixture<WeightCommandTests.Photos>
{
    [Fact]
    public void An_exported_run_is_imported_and_evaluates_alike()
    {
        string weights = Path.Combine(Folder, "weights.safetensors"), imported = Path.Combine(Folder, "imported");
        string said = Succeed("export", photos.Run, weights);
        Assert.Contains($"{weights}: resnet8 for images of 32x32x3 in 4 classes", said);
        Assert.Contains("feedback weights of 9 layers", Succeed("import", weights, "--out", imported));
        string source = $"imagefolder:{photos.Folder}";
        Assert.Equal(Succeed("evaluate", photos.Run), Succeed("evaluate", imported, "--data", source));
        Assert.Contains("the model was imported without data; --data names test images", Fail("evaluate", imported));
        // With the data named at once, evaluate finds them.
        Succeed("import", weights, "--out", imported, "--overwrite", "--data", source);
        Assert.Equal(Succeed("evaluate", photos.Run), Succeed("evaluate", imported));
    }

    [Fact]
    public void Export_replaces_a_file_only_if_asked()
    {
        string weights = Path.Combine(Folder, "weights");
        File.WriteAllText(weights, "mine");
        Assert.Contains("--overwrite", Fail("export", photos.Run, weights));
        Assert.Equal("mine", File.ReadAllText(weights));
        Succeed("export", photos.Run, weights, "--overwrite");
        // The run's own file stays.
        Assert.Contains("is the file that is exported", Fail("export", photos.Run, Path.Combine(photos.Run, "model.safetensors"), "--overwrite"));
        // The usual format.
        Assert.Equal("pt", new TensorFile(weights).Metadata("format"));
        Succeed("export", photos.Run, weights, "--overwrite", "--no-feedback");
        Assert.DoesNotContain(new TensorFile(weights).Names, name => name.Contains("feedback", StringComparison.Ordinal));
        Succeed("export", photos.Run, weights, "--overwrite", "--format", "safetensors", "--no-feedback");
        Assert.Equal("feedback-kernels", new TensorFile(weights).Metadata("format"));
        Assert.DoesNotContain(new TensorFile(weights).Names, name => name.Contains("feedback", StringComparison.Ordinal));
    }

    [Fact]
    public void The_ending_onnx_chooses_the_format_and_folding_removes_the_norms()
    {
        string plain = Path.Combine(Folder, "model.onnx"), folded = Path.Combine(Folder, "folded.ONNX"), named = Path.Combine(Folder, "named");
        Succeed("export", photos.Run, plain);
        Succeed("export", photos.Run, folded, "--fold-norms");
        Succeed("export", photos.Run, named, "--format", "onnx");
        Assert.Equal(File.ReadAllBytes(plain), File.ReadAllBytes(named));
        Assert.Equal((true, false), (Says(plain, "BatchNormalization"), Says(folded, "BatchNormalization")));
        Assert.Contains("no batch norms to fold", Fail("export", photos.Plain, Path.Combine(Folder, "lenet.onnx"), "--fold-norms"));

        static bool Says(string file, string text) => System.Text.Encoding.Latin1.GetString(File.ReadAllBytes(file)).Contains(text, StringComparison.Ordinal);
    }

    [Fact]
    public void Options_of_import_say_what_the_file_does_not()
    {
        string weights = Path.Combine(Folder, "state"), names = Path.Combine(Folder, "names.txt"), run = Path.Combine(Folder, "run");
        File.WriteAllBytes(weights, KnownAnswers.Known.Bytes("weights/state.safetensors"));
        File.WriteAllLines(names, Enumerable.Range(0, 10).Select(k => $"thing {k}"));
        string[] usual = ["import", weights, "--out", run, "--overwrite", "--model", "resnet8", "--mean", "0.1", "0.2", "0.3", "--std", "0.4", "0.5", "0.6"];
        Succeed(usual);
        Preprocessing preprocessing = PreprocessingOf(run);
        Assert.Equal([0.1, 0.2, 0.3], preprocessing.Means);
        Assert.Equal([0.4, 0.5, 0.6], preprocessing.Deviations);
        Assert.Equal((new MapShape(32, 32, 3), 0, "9"), (preprocessing.Input, preprocessing.Resize, preprocessing.ClassNames[9]));
        Assert.Equal("conv-bn-relu", new Trial("import", run, "").Config("normOrder"));
        Succeed([.. usual, "--size", "16", "--resize", "20", "--class-names", names, "--norm-order", "conv-relu-bn"]);
        preprocessing = PreprocessingOf(run);
        Assert.Equal((new MapShape(16, 16, 3), 20, "thing 9"), (preprocessing.Input, preprocessing.Resize, preprocessing.ClassNames[9]));
        Assert.Equal("conv-relu-bn", new Trial("import", run, "").Config("normOrder"));
        // Three names are three classes, which the weights are not for.
        File.WriteAllText(names, "a\nb\nc\n\n");
        Assert.Contains("'fc.weight' is 10x64, wanted 3x64", Fail([.. usual, "--class-names", names]));
        File.WriteAllText(names, "a\n\nc\n");
        Assert.Contains("names.txt, line 2", Fail([.. usual, "--class-names", names]));
        Assert.Contains("2 means and 3 deviations, wanted 3 of each", Fail(["import", weights, "--out", run, "--overwrite", "--model", "resnet8", "--mean", "0", "0", "--std", "1", "1", "1"]));
        // The names of data, where there are no others.
        string set = Path.Combine(Folder, "set");
        foreach (string half in (string[])["train", "val"])
        {
            for (int k = 0; k < 10; k++)
                File.WriteAllBytes(Path.Combine(Directory.CreateDirectory(Path.Combine(set, half, $"animal {k}")).FullName, "0.png"), Png(new byte[3 * 40 * 40], 40, 40));
        }

        Succeed([.. usual, "--data", $"imagefolder:{set}"]);
        Assert.Equal("animal 0", PreprocessingOf(run).ClassNames[0]);
        Assert.Contains(", 10 test images", Succeed("evaluate", run));
    }

    [Fact]
    public void Predict_finds_the_classes_that_evaluate_finds()
    {
        string val = Path.Combine(photos.Folder, "val");
        (string Image, string[] Classes, double[] Probabilities, string? Damage)[] found = Lines(Succeed("predict", photos.Run, val, "--json"));
        Assert.Equal(32, found.Length);
        Assert.Equal(Directory.GetFiles(val, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal), found.Select(f => f.Image));
        Assert.All(found, f =>
        {
            // All four classes are among the five best.
            Assert.Equal(["class0", "class1", "class2", "class3"], f.Classes.Order());
            Assert.Equal(1, f.Probabilities.Sum(), 1e-9);
            Assert.Equal(f.Probabilities.OrderDescending(), f.Probabilities);
            Assert.Null(f.Damage);
        });
        double right = 100.0 * found.Count(f => Path.GetFileName(Path.GetDirectoryName(f.Image)) == f.Classes[0]) / found.Length;
        Assert.Contains(FormattableString.Invariant($"top-1 {right:F2} %"), Succeed("evaluate", photos.Run));
        Assert.InRange(right, 30, 100);
        // The batch changes nothing but roundings, and a table has the same classes.
        foreach (((string Image, string[], double[] Probabilities, string?) one, (string Image, string[], double[] Probabilities, string?) other) in found.Zip(Lines(Succeed("predict", photos.Run, val, "--json", "--batch", "5"))))
        {
            Assert.Equal(one.Image, other.Image);
            Assert.Equal(one.Probabilities, other.Probabilities, (a, b) => Math.Abs(a - b) < 1e-5);
        }

        string[] table = Succeed("predict", photos.Run, found[7].Image, found[3].Image).Split('\n');
        Assert.Equal([found[7].Image, found[3].Image], table.Where(line => line.Contains(val, StringComparison.Ordinal)).Select(line => line.Split('|', StringSplitOptions.TrimEntries)[1]));
        Assert.Contains(table, line => line.Contains(FormattableString.Invariant($"{found[7].Classes[0]} {100 * found[7].Probabilities[0]:F1} %"), StringComparison.Ordinal));
    }

    /// <summary>Small images of one size are seen pixel by pixel, as in training.</summary>
    [Theory]
    [InlineData(3)]
    [InlineData(1)]
    public void Images_of_the_size_of_the_model_are_not_resized(int channels)
    {
        byte[] images = channels == 3 ? DataSet.Open("synthetic", 1).Test.Take(6).Pixels : [.. Enumerable.Range(0, 6 * 32 * 32).Select(i => (byte)(i * 7 + i / 32 * 3))];
        string folder = Path.Combine(Folder, "pictures");
        Directory.CreateDirectory(folder);
        for (int i = 0; i < 6; i++)
        {
            byte[] image = images[(i * images.Length / 6)..((i + 1) * images.Length / 6)];
            File.WriteAllBytes(Path.Combine(folder, $"{i}.png"), Png(channels == 3 ? image : [.. image.SelectMany(grey => (byte[])[grey, grey, grey])], 32, 32));
        }

        string trained = channels == 3 ? photos.Plain : UntrainedRun.Write(Path.Combine(Folder, "grey"), new RunConfig { Model = "lenet" }, new MapShape(32, 32, 1), 10);
        using StoredRun run = StoredRun.Open(trained);
        using Backend backend = new CpuBackend();
        using var model = Model.ForEvaluation(backend, run.Describe(), 6);
        run.Model.LoadInto(model);
        var pixels = new float[images.Length];
        run.Preprocessing.CreateNormalisation().Apply(images, pixels);
        model.Load(pixels, new int[6]);
        model.Forward(Pass.Evaluate(6));
        var logits = new float[60];
        model.ReadLogits(logits);
        (string, string[] Classes, double[] Probabilities, string?)[] found = Lines(Succeed("predict", trained, folder, "--json"));
        for (int i = 0; i < 6; i++)
        {
            double[] exponentials = [.. logits[(10 * i)..(10 * i + 10)].Select(logit => Math.Exp(logit))];
            Assert.Equal(exponentials.OrderDescending().Take(5).Select(e => e / exponentials.Sum()), found[i].Probabilities, (a, b) => Math.Abs(a - b) < 1e-6);
            Assert.Equal(run.Preprocessing.ClassNames[Array.IndexOf(exponentials, exponentials.Max())], found[i].Classes[0]);
        }
    }

    [Fact]
    public void A_damaged_image_is_named_and_the_others_are_classified()
    {
        string val = Path.Combine(photos.Folder, "val", "class0"), good = Directory.GetFiles(val, "*.jpg")[0];
        string cut = Path.Combine(Folder, "cut.jpg"), text = Path.Combine(Folder, "text.png");
        byte[] bytes = File.ReadAllBytes(good);
        File.WriteAllBytes(cut, bytes[..(bytes.Length * 2 / 3)]);
        File.WriteAllText(text, "no image");
        (int code, string output, string error) = FeedbackProgram.Run("predict", photos.Run, cut, text, good, "--json", "--batch", "2");
        Assert.Equal(1, code);
        string[] complaints = error.TrimEnd('\n').Split('\n');
        Assert.Equal(2, complaints.Length);
        Assert.StartsWith($"feedback: {cut}: Jpeg: the end of the data is missing", complaints[0]);
        Assert.StartsWith($"feedback: {text}: not a JPEG, PNG, WebP or PNM image", complaints[1]);
        (string Image, string[] Classes, double[] Probabilities, string? Damage)[] found = Lines(output);
        Assert.Equal([(cut, 4, true), (text, 0, true), (good, 4, false)], found.Select(f => (f.Image, f.Classes.Length, f.Damage is not null)));
        Assert.Equal(Lines(Succeed("predict", photos.Run, good, "--json"))[0].Probabilities, found[2].Probabilities, (a, b) => Math.Abs(a - b) < 1e-6);
    }

    [Fact]
    public void Predict_says_what_it_cannot_take()
    {
        string none = Path.Combine(Folder, "none"), empty = Path.Combine(Folder, "empty");
        Directory.CreateDirectory(empty);
        Assert.Contains($"file '{none}' is not there", Fail("predict", photos.Run, none));
        Assert.Contains($"{empty}: found no images", Fail("predict", photos.Run, empty));
        string wide = UntrainedRun.Write(Path.Combine(Folder, "wide"), new RunConfig { Model = "mlp", Hidden = 4 }, new MapShape(28, 20, 3), 10);
        Assert.Contains("the model takes images of 28x20x3", Fail("predict", wide, Path.Combine(photos.Folder, "val")));
    }

    private static Preprocessing PreprocessingOf(string run)
    {
        using StoredRun stored = StoredRun.Open(run);
        return stored.Preprocessing;
    }

    private static byte[] Png(ReadOnlySpan<byte> pixels, int rows, int columns)
    {
        using var bitmap = new SKBitmap(new SKImageInfo(columns, rows, SKColorType.Rgba8888, SKAlphaType.Opaque));
        for (int i = 0; i < rows * columns; i++) bitmap.SetPixel(i % columns, i / columns, new SKColor(pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2]));
        using SKData data = bitmap.Encode(SKEncodedImageFormat.Png, 100);
        return data.ToArray();
    }

    private static (string Image, string[] Classes, double[] Probabilities, string? Damage)[] Lines(string output) =>
    [
        .. output.TrimEnd('\n').Split('\n').Select(line => JsonDocument.Parse(line).RootElement).Select(line => (
            line.GetProperty("image").GetString()!, line.GetProperty("best").EnumerateArray().Select(best => best.GetProperty("class").GetString()!).ToArray(),
            line.GetProperty("best").EnumerateArray().Select(best => best.GetProperty("probability").GetDouble()).ToArray(),
            line.TryGetProperty("damage", out JsonElement damage) ? damage.GetString() : null)),
    ];

    private static string Succeed(params string[] arguments)
    {
        (int code, string output, string error) = FeedbackProgram.Run(arguments);
        Assert.Equal((0, ""), (code, error));
        return output;
    }

    private static string Fail(params string[] arguments)
    {
        (int code, string output, string error) = FeedbackProgram.Run(arguments);
        Assert.Equal((1, ""), (code, output.Contains("backend", StringComparison.Ordinal) ? "" : output));
        Assert.DoesNotContain("   at ", error);
        return Assert.Single(error.TrimEnd('\n').Split('\n'));
    }

    /// <summary>A short run on photos of several sizes with feedback weights, and one on images of one size.</summary>
    public sealed class Photos : IDisposable
    {
        private readonly string _folder = Directory.CreateTempSubdirectory("feedback-weights").FullName;

        public Photos()
        {
            SmallPhotos.Write(Folder);
            Succeed("train", "--data", $"imagefolder:{Folder}", "--model", "resnet8", "--train-size", "32", "--rule", "kp", "--batch", "16", "--epochs", "4", "--align-every", "0", "--out", Run);
            Succeed("train", "--data", "synthetic", "--model", "lenet", "--limit-train", "640", "--limit-test", "32", "--batch", "32", "--epochs", "1", "--align-every", "0", "--out", Plain);
        }

        public string Folder => Path.Combine(_folder, "photos");

        public string Run => Path.Combine(_folder, "run");

        public string Plain => Path.Combine(_folder, "plain");

        public void Dispose() => Directory.Delete(_folder, recursive: true);
    }
}
