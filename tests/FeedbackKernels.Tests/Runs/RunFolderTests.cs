using System.Diagnostics;
using System.Text.Json;
using FeedbackKernels.Data;
using FeedbackKernels.Runs;
using FeedbackKernels.Storage;
using FeedbackKernels.Tests.Cli;

namespace FeedbackKernels.Tests.Runs;

/// <summary>The folder of a run, from the first file to the last, and the commands that read it later.</summary>
[Collection(nameof(CommandLineTests))]
public sealed class RunFolderTests : IDisposable
{
    private static readonly string[] Small = ["--model", "mlp", "--hidden", "16", "--batch", "32", "--align-every", "0", "--threads", "1", "--lr", "0.5"];

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-runs").FullName;
    private readonly string _images;

    public RunFolderTests()
    {
        _images = Path.Combine(_folder, "m");
        IdxImages.Write(_images);
    }

    private string Run => Path.Combine(_folder, "run");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Images_are_preprocessed_as_those_that_the_model_was_trained_on()
    {
        Train("--data", $"mnist:{_images}");
        string own = Evaluate(Run);
        // Other training images have another mean. The test images are the same, and so is the result.
        string copy = Path.Combine(_folder, "copy");
        IdxImages.Write(copy, brightness: 60);
        Assert.NotEqual(
            Preprocessing.Of(DataSet.Open($"mnist:{_images}", 1), NormalisationKind.Standard).Means,
            Preprocessing.Of(DataSet.Open($"mnist:{copy}", 1), NormalisationKind.Standard).Means);
        Assert.Equal(own, Evaluate(Run, "--data", $"mnist:{copy}"));
        foreach (string file in Directory.EnumerateFiles(copy, "train-*").ToList()) File.Delete(file);
        Assert.Equal(own, Evaluate(Run, "--data", $"mnist:{copy}"));
        Assert.Contains("100.00 %", own);
    }

    [Fact]
    public void The_model_s_file_has_its_preprocessing()
    {
        Train("--data", $"mnist:{_images}");
        IReadOnlyDictionary<string, string> metadata = SafeTensors.Read(Path.Combine(Run, RunFiles.Model)).Metadata;
        Assert.Equal("10x8x1", metadata["input"]);
        Assert.Equal("[\"0\",\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]", metadata["classes"]);
        byte[] pixels = DataSet.Open($"mnist:{_images}", 1).Train.Pixels;
        double mean = pixels.Average(p => p / 255.0), deviation = Math.Sqrt(pixels.Average(p => Math.Pow(p / 255.0 - mean, 2)));
        Assert.Equal(mean, Assert.Single(JsonSerializer.Deserialize<double[]>(metadata["mean"])!), 1e-12);
        Assert.Equal(deviation, Assert.Single(JsonSerializer.Deserialize<double[]>(metadata["std"])!), 1e-12);
    }

    [Fact]
    public void A_run_finds_its_data_again_from_any_folder_and_sees_when_they_have_changed()
    {
        string here = Directory.GetCurrentDirectory(), other = Path.Combine(_folder, "other");
        IdxImages.Write(Path.Combine(other, "m"), shift: 3);
        try
        {
            Directory.SetCurrentDirectory(_folder);
            Train("--data", "mnist:m");
            string own = Evaluate(Run);
            Directory.SetCurrentDirectory(other);
            Assert.Equal(own, Evaluate(Run));
            Assert.NotEqual(own, Evaluate(Run, "--data", "mnist:m"));
        }
        finally
        {
            Directory.SetCurrentDirectory(here);
        }

        Assert.Equal($"mnist:{_images}", RunConfig.Read(Path.Combine(Run, RunFiles.Config)).Data);
        IdxImages.WriteHalf(_images, "t10k", IdxImages.TestImages - 1, 200, 0);
        (int code, _, string error) = FeedbackProgram.Run("evaluate", Run);
        Assert.Equal(1, code);
        Assert.Contains("not the data that the run was trained on", error);
        Assert.Contains("t10k-images-idx3-ubyte", error);
        Assert.Contains("63", error);
        Assert.Contains("--data gives another place", error);
        (code, _, error) = FeedbackProgram.Run("train", "--config", Path.Combine(Run, RunFiles.Config), "--out", Path.Combine(_folder, "again"));
        Assert.Equal(1, code);
        Assert.Contains("not the data that the run was trained on", error);
        Assert.False(Directory.Exists(Path.Combine(_folder, "again")));
        Train(["--overwrite", "--config", Path.Combine(Run, RunFiles.Config), "--data", $"mnist:{_images}"], []);
    }

    [Fact]
    public void Images_that_do_not_fit_the_model_are_refused()
    {
        Train("--data", $"mnist:{_images}");
        string wide = Path.Combine(_folder, "wide"), tall = Path.Combine(_folder, "tall");
        IdxImages.Write(wide);
        IdxImages.WriteHalf(wide, "t10k", 20, 200, 0, rows: 8, columns: 10);
        (int code, _, string error) = FeedbackProgram.Run("evaluate", Run, "--data", $"mnist:{wide}");
        Assert.Equal(1, code);
        Assert.Contains("8x10x1", error);
        Assert.Contains("the model was trained on 10x8x1", error);
        // They are rejected as training data too, before anything is written.
        (code, _, error) = FeedbackProgram.Run(["train", "--data", $"mnist:{wide}", "--out", tall, .. Small]);
        Assert.Equal(1, code);
        Assert.Contains("8x10x1", error);
        Assert.Contains("10x8x1", error);
        Assert.False(Directory.Exists(tall));
    }

    [Fact]
    public void A_run_that_diverges_does_not_leave_the_model_of_the_one_before()
    {
        Train("--data", $"mnist:{_images}", "--rule", "kp");
        (int code, string output, string error) = FeedbackProgram.Run(
            ["train", "--data", $"mnist:{_images}", "--rule", "bp", "--out", Run, "--overwrite", "--epochs", "2", .. Small[..^1], "1e30"]);
        Assert.Equal(3, code);
        Assert.Equal("feedback: backprop diverged. A lower learning rate usually helps\n", error);
        Assert.Contains("| backprop* |", output);
        Assert.Contains("* backprop diverged at step", output);
        Assert.Contains("no epoch had ended", output);
        Assert.Contains("report.html", output);
        Assert.False(File.Exists(Path.Combine(Run, RunFiles.Model)));
        (code, _, error) = FeedbackProgram.Run("evaluate", Run);
        Assert.Equal(1, code);
        Assert.Contains("the run has not finished an epoch", error);
        JsonElement summary = Json(RunFiles.Summary);
        Assert.StartsWith("step ", summary.GetProperty("diverged").GetString());
        Assert.Equal(0, summary.GetProperty("epochs").GetInt32());
    }

    [Fact]
    public void A_run_that_diverges_keeps_its_last_epoch_with_finite_weights()
    {
        // The rate is 0.5 in the first two epochs and 5e29 from the third on.
        string config = Path.Combine(_folder, "config.json");
        File.WriteAllText(config, """{"training":{"epochs":4,"schedule":{"kind":"multi-step","milestones":[2],"gamma":1e30}}}""");
        (int code, string output, string error) = FeedbackProgram.Run(["train", "--config", config, "--data", $"mnist:{_images}", "--out", Run, .. Small]);
        Assert.Equal(3, code);
        Assert.Equal("feedback: backprop diverged. A lower learning rate usually helps\n", error);
        Assert.Contains("the values and the model are those of epoch 2", output);
        Assert.Equal(3, File.ReadAllLines(Path.Combine(Run, RunFiles.Metrics)).Length);
        JsonElement summary = Json(RunFiles.Summary);
        Assert.Equal(2, summary.GetProperty("epochs").GetInt32());
        Assert.Contains("epoch 3", summary.GetProperty("diverged").GetString());
        string top1 = FormattableString.Invariant($"top-1 {100 * summary.GetProperty("testTop1").GetDouble():F2} %");
        Assert.Contains(top1, Evaluate(Run));
        Assert.Contains("diverged at step", File.ReadAllText(Path.Combine(Run, RunFiles.Report)));
    }

    [Fact]
    public void In_a_comparison_the_rules_after_one_that_diverges_are_trained()
    {
        // The noise is so large that its square is infinite: the warm-up of the weight mirror overflows B, and that the loss.
        (int code, string output, string error) = FeedbackProgram.Run(
            ["compare", "--rules", "wm,bp", "--data", $"mnist:{_images}", "--out", Run, "--epochs", "1", "--mirror-noise", "gaussian", "--mirror-std", "1e30", .. Small]);
        Assert.Equal(3, code);
        Assert.Equal("feedback: weight-mirror diverged. A lower learning rate usually helps\n", error);
        Assert.Contains("* weight-mirror diverged at step", output);
        Assert.Contains("| weight-mirror* |", output);
        Assert.Contains("| backprop ", output);
        Assert.Contains("report: ", output);
        JsonElement summaries = Json(RunFiles.Summary);
        Assert.Equal(2, summaries.GetArrayLength());
        Assert.NotEqual(JsonValueKind.Null, summaries[0].GetProperty("diverged").ValueKind);
        Assert.Equal(JsonValueKind.Null, summaries[1].GetProperty("diverged").ValueKind);
        Assert.Equal(1, summaries[1].GetProperty("epochs").GetInt32());
        Assert.Contains("diverged at", File.ReadAllText(Path.Combine(Run, RunFiles.Report)));
    }

    [Fact]
    public void A_rule_that_cannot_be_trained_is_found_before_the_others_are()
    {
        // Under the second rule conv2 sends no error to its input, but conv1, an exception, needs one.
        (int code, string output, string error) = FeedbackProgram.Run(
            "compare", "--rules", "bp,dfa", "--rule-for", "conv1=bp", "--model", "lenet", "--limit-train", "64", "--limit-test", "32", "--batch", "32", "--out", Run);
        Assert.Equal(1, code);
        Assert.Contains("learns from the error of conv2", error);
        Assert.DoesNotContain("epoch", output);
        Assert.False(Directory.Exists(Run));
    }

    [Fact]
    public void The_folder_of_a_comparison_is_told_from_that_of_a_run()
    {
        Assert.Equal(0, FeedbackProgram.Run(["compare", "--rules", "bp,fa", "--data", $"mnist:{_images}", "--out", Run, "--epochs", "1", .. Small]).Code);
        (int code, _, string error) = FeedbackProgram.Run("evaluate", Run);
        Assert.Equal(1, code);
        Assert.Contains("does not exist; there are runs in backprop, feedback-alignment", error);
    }

    [Fact]
    public void A_model_of_another_configuration_is_refused()
    {
        string other = Path.Combine(_folder, "second");
        Train("--data", $"mnist:{_images}");
        Assert.Equal(0, FeedbackProgram.Run(["train", "--data", $"mnist:{_images}", "--out", other, "--epochs", "1", "--seed", "2", .. Small]).Code);
        File.Copy(Path.Combine(other, RunFiles.Model), Path.Combine(Run, RunFiles.Model), overwrite: true);
        (int code, _, string error) = FeedbackProgram.Run("evaluate", Run);
        Assert.Equal(1, code);
        Assert.Contains("another configuration", error);
    }

    [Fact]
    public void Overwriting_deletes_the_files_of_former_runs_and_no_others()
    {
        Assert.Equal(0, FeedbackProgram.Run(["compare", "--rules", "bp,fa", "--data", $"mnist:{_images}", "--out", Run, "--epochs", "1", .. Small]).Code);
        File.WriteAllText(Path.Combine(Run, "notes.txt"), "mine");
        File.WriteAllText(Path.Combine(Run, "feedback-alignment", "notes.txt"), "mine");
        Assert.NotEmpty(RecordedEvents.FilesIn(Path.Combine(Run, "feedback-alignment")));
        Train("--overwrite", "--data", $"mnist:{_images}");
        Assert.Empty(RecordedEvents.FilesIn(Path.Combine(Run, "feedback-alignment")));
        Assert.Equal("mine", File.ReadAllText(Path.Combine(Run, "notes.txt")));
        Assert.Equal("mine", File.ReadAllText(Path.Combine(Run, "feedback-alignment", "notes.txt")));
        Assert.False(Directory.Exists(Path.Combine(Run, "backprop")));
        Assert.False(File.Exists(Path.Combine(Run, "feedback-alignment", RunFiles.Model)));
        Assert.False(File.Exists(Path.Combine(Run, "feedback-alignment", RunFiles.Config)));
        Evaluate(Run);
    }

    [Fact]
    public void A_folder_is_one_run_s_at_a_time()
    {
        using (ClaimedFolder held = ClaimedFolder.Take(Run))
        {
            (int code, _, string error) = FeedbackProgram.Run(["train", "--data", $"mnist:{_images}", "--out", Run, "--epochs", "1", "--overwrite", .. Small]);
            Assert.Equal(1, code);
            Assert.Contains("is in use", error);
            Assert.True(held.IsEmpty);
        }

        Train("--data", $"mnist:{_images}");
        using ClaimedFolder inner = ClaimedFolder.Take(Path.Combine(Run, "backprop"));
        File.WriteAllText(Path.Combine(inner.Path, RunFiles.Config), "{}");
        Assert.Contains(
            "is in use", FeedbackProgram.Run(["compare", "--data", $"mnist:{_images}", "--out", Run, "--epochs", "1", "--overwrite", .. Small]).Error);
        Assert.True(File.Exists(Path.Combine(Run, RunFiles.Model)));
    }

    [Fact]
    public async Task A_folder_whose_process_is_about_to_end_is_waited_for()
    {
        ClaimedFolder ending = ClaimedFolder.Take(Run);
        Task<ClaimedFolder> next = Task.Run(() => ClaimedFolder.Take(Run), TestContext.Current.CancellationToken);
        await Task.Delay(200, TestContext.Current.CancellationToken);
        Assert.False(next.IsCompleted);
        ending.Dispose();
        (await next).Dispose();
    }

    [Fact]
    public async Task Runs_that_start_together_have_folders_of_their_own()
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        Process[] runs = [.. Enumerable.Range(0, 3).Select(_ => FeedbackProgram.Start(_folder, ["train", "--data", "mnist:m", "--epochs", "1", .. Small]))];
        foreach (Process run in runs)
        {
            (int code, _, string error) = await FeedbackProgram.End(run, cancel);
            Assert.Equal((0, ""), (code, error));
            run.Dispose();
        }

        string[] folders = Directory.GetDirectories(Path.Combine(_folder, "runs"));
        Assert.Equal(3, folders.Length);
        Assert.All(folders, folder => Assert.True(File.Exists(Path.Combine(folder, RunFiles.Model))));
    }

    [Fact]
    public void Numbered_folders_never_meet()
    {
        var claimed = new System.Collections.Concurrent.ConcurrentBag<ClaimedFolder>();
        Parallel.For(0, 40, new ParallelOptions { MaxDegreeOfParallelism = 8 }, _ => claimed.Add(new RunPlace(Run, Numbered: true).Claim()));
        Assert.Equal(40, claimed.Select(folder => folder.Path).Distinct().Count());
        foreach (ClaimedFolder folder in claimed) folder.Dispose();
    }

    [Fact]
    public async Task A_killed_run_leaves_a_whole_model_or_none_and_a_folder_that_can_be_used()
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        var random = new Random(5);
        for (int kill = 0; kill < 4; kill++)
        {
            using Process run = FeedbackProgram.Start(
                _folder, ["train", "--data", $"mnist:{_images}", "--out", Run, "--overwrite", "--epochs", "100000", "--schedule", "constant", .. Small]);
            while (!File.Exists(Path.Combine(Run, RunFiles.Model))) await Task.Delay(5, cancel);
            string busy = FeedbackProgram.Run(["train", "--data", $"mnist:{_images}", "--out", Run, "--overwrite", "--epochs", "1", .. Small]).Error;
            await Task.Delay(random.Next(150), cancel);
            run.Kill();
            await run.WaitForExitAsync(cancel);
            Assert.Contains("is in use", busy);
            Assert.Contains("test images", Evaluate(Run));
            File.Delete(Path.Combine(Run, RunFiles.Model));
        }
    }

    [Fact]
    public void Numbers_that_json_cannot_say_are_null_with_the_reason_beside_them()
    {
        var result = new FeedbackKernels.Training.TrainingResult(
            [new FeedbackKernels.Training.EpochReport(1, 8, 0.1, double.NaN, 0.5, double.PositiveInfinity, 0.25, 0.75, double.PositiveInfinity, 2)],
            [], double.PositiveInfinity, 2, false);
        using var backend = new FeedbackKernels.Interop.ReferenceBackend();
        using var model = new FeedbackKernels.Models.Model(
            backend, new RunConfig { Model = "mlp", Hidden = 4 }.Describe(new(2, 2, 1), 3),
            FeedbackKernels.Rules.RuleSet.Of(new FeedbackKernels.Rules.Backprop()), 2, 1);
        string text = JsonSerializer.Serialize(new RunConfig().Summarise(model, result), RunJson.Default.RunSummary);
        JsonElement summary = JsonDocument.Parse(text).RootElement;
        Assert.Equal(JsonValueKind.Null, summary.GetProperty("finalLoss").ValueKind);
        Assert.Equal(JsonValueKind.Null, summary.GetProperty("testLoss").ValueKind);
        Assert.Equal(0.25, summary.GetProperty("testTop1").GetDouble());
        JsonElement reasons = summary.GetProperty("notFinite");
        Assert.Equal(
            ("NaN", "Infinity", "Infinity"),
            (reasons.GetProperty("finalLoss").GetString(), reasons.GetProperty("testLoss").GetString(), reasons.GetProperty("imagesPerSecond").GetString()));
    }

    private void Train(params string[] arguments) => Train(arguments, Small);

    private void Train(string[] arguments, string[] small)
    {
        (int code, _, string error) = FeedbackProgram.Run(["train", .. arguments, "--out", Run, "--epochs", "6", .. small]);
        Assert.Equal((0, ""), (code, error));
    }

    /// <summary>The accuracy that evaluation prints, without the name of the data.</summary>
    private static string Evaluate(params string[] arguments)
    {
        (int code, string output, string error) = FeedbackProgram.Run(["evaluate", .. arguments]);
        Assert.Equal((0, ""), (code, error));
        string line = output.TrimEnd('\n').Split('\n')[^1];
        return $"{line.Split(" of ")[0]}: {line[(line.LastIndexOf(": top-1", StringComparison.Ordinal) + 2)..]}";
    }

    private JsonElement Json(string file) => JsonDocument.Parse(File.ReadAllText(Path.Combine(Run, file))).RootElement;
}
