using System.Text.Json;
using System.Text.RegularExpressions;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Runs;
using FeedbackKernels.Training;

namespace FeedbackKernels.Watch.Tests;

/// <summary>What a page is told about the runs of a folder, while files grow, are replaced, or are damaged.</summary>
public sealed partial class RunFeedTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-feed").FullName;
    private readonly RunFeed _feed;

    public RunFeedTests() => _feed = new RunFeed(new RunScanner(_folder));

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_page_is_told_everything_at_first_and_then_what_is_new()
    {
        var run = new WrittenRun(Path.Combine(_folder, "a"));
        run.AddEpoch();
        JsonElement[] first = Poll();
        Assert.Equal(["hello", "runs", "metrics", "alignment", "log"], first.Select(Kind));
        Assert.Equal(_folder, first[0].GetProperty("folder").GetString());
        JsonElement state = Assert.Single(first[1].EnumerateArray());
        Assert.Equal(("a", "resnet20", "weight-mirror", "cifar10:/data", 12, "open"), (Text(state, "name"), Text(state, "model"), Text(state, "rule"), Text(state, "data"), state.GetProperty("epochs").GetInt32(), Text(state, "state")));
        Assert.Equal("trainLoss", first[2].GetProperty("columns")[3].GetString());
        Assert.Equal("2", Assert.Single(Rows(first[2]))[3]);
        Assert.Equal(6, Rows(first[3]).Length);
        Assert.Empty(Poll());
        run.AddEpoch();
        JsonElement[] second = Poll();
        Assert.Equal(["metrics", "alignment", "log"], second.Select(Kind).Where(kind => kind != "runs"));
        JsonElement metrics = second.Single(m => Kind(m) == "metrics");
        Assert.False(metrics.GetProperty("anew").GetBoolean());
        Assert.Equal(["2", "200"], Assert.Single(Rows(metrics))[..2]);
        Assert.Equal(3, Rows(second.Single(m => Kind(m) == "alignment")).Length);
        Assert.Equal("2026-01-02 03:04:05Z epoch 2/12", second.Single(m => Kind(m) == "log").GetProperty("lines")[0].GetString());
    }

    [Fact]
    public void A_line_counts_when_its_end_is_written()
    {
        var run = new WrittenRun(Path.Combine(_folder, "a"));
        _ = Poll();
        const string Line = "1,100,0.1,2.25,0.5,2.5,0.5,0.9,1234.5,60,0,0,0,0\n";
        for (int i = 0; i < Line.Length - 1; i++)
        {
            run.Append("metrics.csv", Line[i..(i + 1)]);
            Assert.DoesNotContain(Poll(), m => Kind(m) == "metrics");
        }

        run.Append("metrics.csv", "\n");
        Assert.Equal("2.25", Assert.Single(Rows(Assert.Single(Poll(), m => Kind(m) == "metrics")))[3]);
    }

    [Fact]
    public void Lines_that_are_no_rows_are_left_out()
    {
        var run = new WrittenRun(Path.Combine(_folder, "a"));
        // A process was killed in the middle of a line, and the next one went on behind it.
        run.Append("metrics.csv", "1,100,0.1,2.2");
        run.AddEpoch();
        run.Append("metrics.csv", "\n,\n");
        run.AddEpoch();
        string[] row = Assert.Single(Rows(Poll().Single(m => Kind(m) == "metrics")));
        Assert.Equal("2", row[0]);
    }

    [Fact]
    public void A_file_that_was_replaced_or_cut_off_is_read_from_its_start()
    {
        var run = new WrittenRun(Path.Combine(_folder, "a"));
        for (int i = 0; i < 3; i++) run.AddEpoch();
        Assert.Equal(3, Rows(Poll().Single(m => Kind(m) == "metrics")).Length);
        // A run that was resumed from its first epoch; the file is longer than before.
        string[] lines = File.ReadAllLines(Path.Combine(run.Folder, "metrics.csv"));
        run.Write("metrics.csv", string.Join('\n', [.. lines[..2], .. Enumerable.Repeat("2,200,0.1,9,0.5,9,0.5,0.9,1234.5,60,0,0,0,0", 3)]) + "\n");
        JsonElement resumed = Poll().Single(m => Kind(m) == "metrics");
        Assert.True(resumed.GetProperty("anew").GetBoolean());
        Assert.Equal(["2", "9", "9", "9"], Rows(resumed).Select(row => row[3]));
        run.Write("metrics.csv", WrittenRun.MetricsHeader);
        JsonElement cut = Poll().Single(m => Kind(m) == "metrics");
        Assert.True(cut.GetProperty("anew").GetBoolean());
        Assert.Empty(Rows(cut));
        File.Delete(Path.Combine(run.Folder, "metrics.csv"));
        JsonElement deleted = Poll().Single(m => Kind(m) == "metrics");
        Assert.True(deleted.GetProperty("anew").GetBoolean());
        Assert.Empty(deleted.GetProperty("columns").EnumerateArray());
    }

    [Fact]
    public void Runs_appear_and_vanish_also_in_folders_below()
    {
        Assert.Equal(["hello", "runs"], Poll().Select(Kind));
        _ = new WrittenRun(Path.Combine(_folder, "compare", "backprop"), "backprop");
        _ = new WrittenRun(Path.Combine(_folder, "x y", "b", "c"));
        // The runs of a study among other runs.
        _ = new WrittenRun(Path.Combine(_folder, "study", "kolen-pollack", "lr-0.1", "seed-1"));
        _ = new WrittenRun(Path.Combine(_folder, "much", "too", "deep", "to", "be"));
        Directory.CreateDirectory(Path.Combine(_folder, "no run"));
        Assert.Equal(["compare/backprop", "study/kolen-pollack/lr-0.1/seed-1", "x y/b/c"], Names(Poll()));
        _ = new WrittenRun(_folder);
        Assert.Equal([".", "compare/backprop", "study/kolen-pollack/lr-0.1/seed-1", "x y/b/c"], Names(Poll()));
        Directory.Delete(Path.Combine(_folder, "compare"), recursive: true);
        Assert.Equal([".", "study/kolen-pollack/lr-0.1/seed-1", "x y/b/c"], Names(Poll()));
        // A run that comes back is a new one.
        _ = new WrittenRun(Path.Combine(_folder, "compare", "backprop"), "backprop");
        Assert.Contains(Poll(), m => Kind(m) == "metrics" && Text(m, "run") == "compare/backprop" && m.GetProperty("anew").GetBoolean());
    }

    [Fact]
    public void Weights_without_a_log_are_imported()
    {
        string folder = Directory.CreateDirectory(Path.Combine(_folder, "a")).FullName;
        File.WriteAllText(Path.Combine(folder, "config.json"), """{"model":"resnet18"}""");
        Assert.Equal("open", Text(Poll()[1][0], "state"));
        File.WriteAllText(Path.Combine(folder, "model.safetensors"), "");
        Assert.Equal("imported", Text(Poll()[0][0], "state"));
        File.WriteAllText(Path.Combine(folder, "log.txt"), "");
        Assert.Equal("open", Text(Poll()[0][0], "state"));
    }

    [Theory]
    [InlineData("""{"cancelled":false,"diverged":null}""", "finished")]
    [InlineData("""{"cancelled":true}""", "stopped")]
    [InlineData("""{"cancelled":false,"diverged":"step 3"}""", "diverged")]
    [InlineData("""{"cancel""", "open")]
    [InlineData("[]", "open")]
    public void The_state_of_a_run_is_that_of_its_summary(string summary, string state)
    {
        new WrittenRun(Path.Combine(_folder, "a")).Write("summary.json", summary);
        Assert.Equal(state, Text(Poll()[1][0], "state"));
    }

    [Theory]
    [InlineData("{")]
    [InlineData("[1]")]
    [InlineData("""{"model":7,"rule":"x","training":{"epochs":"many"}}""")]
    [InlineData("""{"training":3}""")]
    public void A_damaged_configuration_leaves_the_rest_of_the_run(string config)
    {
        var run = new WrittenRun(Path.Combine(_folder, "a"));
        run.Write("config.json", config);
        run.AddEpoch();
        JsonElement[] messages = Poll();
        Assert.Equal(JsonValueKind.Null, messages[1][0].GetProperty("epochs").ValueKind);
        Assert.Equal(JsonValueKind.Null, messages[1][0].GetProperty("rule").ValueKind);
        Assert.Single(Rows(messages[2]));
    }

    [Fact]
    public void Of_a_log_the_end_is_shown_and_bytes_that_are_no_text_do_no_harm()
    {
        var run = new WrittenRun(Path.Combine(_folder, "a"));
        run.Write("log.txt", string.Concat(Enumerable.Range(1, 1000).Select(i => $"line {i}\n")));
        JsonElement log = Poll().Single(m => Kind(m) == "log");
        Assert.Equal(RunFeed.LogTail, log.GetProperty("lines").GetArrayLength());
        Assert.Equal("line 1000", log.GetProperty("lines").EnumerateArray().Last().GetString());
        File.WriteAllBytes(Path.Combine(run.Folder, "log.txt"), [.. Enumerable.Repeat((byte)0xFF, 5_000_000), (byte)'\n', (byte)'x', (byte)'\n']);
        Assert.Contains(Poll().Concat(Poll()), m => Kind(m) == "log" && m.GetProperty("lines").EnumerateArray().Last().GetString() == "x");
    }

    [Fact]
    public void Links_are_not_followed()
    {
        string outside = Directory.CreateTempSubdirectory("feedback-outside").FullName;
        try
        {
            var secret = new WrittenRun(Path.Combine(outside, "secret"));
            secret.AddEpoch();
            Directory.CreateSymbolicLink(Path.Combine(_folder, "link"), secret.Folder);
            var run = new WrittenRun(Path.Combine(_folder, "a"));
            File.Delete(Path.Combine(run.Folder, "metrics.csv"));
            File.CreateSymbolicLink(Path.Combine(run.Folder, "metrics.csv"), Path.Combine(secret.Folder, "metrics.csv"));
            JsonElement[] messages = Poll();
            Assert.Equal(["a"], Names(messages));
            Assert.DoesNotContain(messages, m => Kind(m) == "metrics");
        }
        finally
        {
            Directory.Delete(outside, recursive: true);
        }
    }

    [Fact]
    public void The_watched_folder_may_be_a_link()
    {
        var run = new WrittenRun(Path.Combine(_folder, "a"));
        string link = _folder + "-link";
        Directory.CreateSymbolicLink(link, _folder);
        try
        {
            Assert.Equal(run.Folder, Assert.Single(new RunScanner(link).Scan()).Folder);
        }
        finally
        {
            File.Delete(link);
        }
    }

    [Fact]
    public void A_real_run_has_the_columns_that_the_page_shows()
    {
        var config = new RunConfig { Model = "mlp", Hidden = 8, Rule = new Rules.KolenPollack(), Training = new TrainingOptions { Epochs = 2, Batch = 20 } };
        DataSet data = DataSet.Open("synthetic", 6, 60, 40);
        using var backend = new CpuBackend(1);
        string folder = Path.Combine(_folder, "run");
        Experiment.Train(config, data, backend, new RunPlace(folder), cancel: TestContext.Current.CancellationToken);
        JsonElement[] messages = Poll();
        JsonElement state = messages[1][0];
        Assert.Equal(("mlp", "kolen-pollack", "finished", 2), (Text(state, "model"), Text(state, "rule"), Text(state, "state"), state.GetProperty("epochs").GetInt32()));
        JsonElement metrics = messages.Single(m => Kind(m) == "metrics"), alignment = messages.Single(m => Kind(m) == "alignment");
        Assert.Equal(File.ReadAllLines(Path.Combine(folder, "metrics.csv")).Skip(1), Rows(metrics).Select(row => string.Join(',', row)));
        Assert.Equal(3 * 2, Rows(alignment).Length);
        Assert.NotEmpty(messages.Single(m => Kind(m) == "log").GetProperty("lines").EnumerateArray());
        string[] columns = [.. metrics.GetProperty("columns").EnumerateArray().Concat(alignment.GetProperty("columns").EnumerateArray()).Select(c => c.GetString()!)];
        using var script = new StreamReader(typeof(WatchServer).Assembly.GetManifestResourceStream("watch.js")!);
        string text = script.ReadToEnd();
        string[] used = [.. Column().Matches(text).SelectMany(m => m.Groups.Values.Skip(1)).Where(g => g.Success).Select(g => g.Value).Where(name => name is not ("dataset" or "insertCell")).Distinct()];
        Assert.Superset(new HashSet<string> { "trainLoss", "testTop1", "waitingDecode", "weightAngle", "seconds", "layer", "imagesPerSecond" }, used.ToHashSet());
        Assert.Subset(columns.ToHashSet(), used.ToHashSet());
    }

    private static string Kind(JsonElement message) =>
        message.ValueKind == JsonValueKind.Array ? "runs" : message.TryGetProperty("folder", out _) ? "hello" : message.TryGetProperty("lines", out _) ? "log" : Text(message, "table");

    private static string Text(JsonElement message, string name) => message.GetProperty(name).GetString()!;

    private static string[][] Rows(JsonElement message) =>
        [.. message.GetProperty("rows").EnumerateArray().Select(row => row.EnumerateArray().Select(cell => cell.GetString()!).ToArray())];

    private static IEnumerable<string> Names(JsonElement[] messages) => messages.Single(m => Kind(m) == "runs").EnumerateArray().Select(run => Text(run, "name"));

    private JsonElement[] Poll() => [.. _feed.Poll().Select(message => JsonDocument.Parse(message.Json).RootElement)];

    // row.seconds, last.testTop1, angle('weightAngle'), column: 'deltaAngle', 'waitingRead'
    [GeneratedRegex(@"\b(?:row|last|epoch)\.(\w+)\b|angle\('(\w+)'\)|column: '(\w+)'|'(waiting\w+)'")]
    private static partial Regex Column();
}
