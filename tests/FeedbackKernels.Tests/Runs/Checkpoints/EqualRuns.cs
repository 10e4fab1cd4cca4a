using System.Text.Json.Nodes;
using FeedbackKernels.Runs;
using FeedbackKernels.Tests.Training;

namespace FeedbackKernels.Tests.Runs.Checkpoints;

/// <summary>Compares the folders of two runs of the same configuration: every file has the same bytes, except times and the number of
/// threads.</summary>
internal static class EqualRuns
{
    private static readonly string[] Timed = ["imagesPerSecond", "seconds", "waitingRead", "waitingDecode", "waitingResize", "waitingUpload", "checkpointSeconds"];

    public static void Assert(string expected, string actual, string what)
    {
        foreach (string name in (string[])[RunFiles.Model, RunFiles.Alignment])
            Same(File.ReadAllBytes(Path.Combine(expected, name)).AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(actual, name))), name);
        Same(Metrics(expected) == Metrics(actual), RunFiles.Metrics);
        Same(Json(expected, RunFiles.Summary, ["imagesPerSecond", "seconds", "backend"]) == Json(actual, RunFiles.Summary, ["imagesPerSecond", "seconds", "backend"]), RunFiles.Summary);
        string[] settings = ["threads", "checkpointEvery", "keepCheckpoints"];
        Same(Json(expected, RunFiles.Config, settings) == Json(actual, RunFiles.Config, settings), RunFiles.Config);
        string last = new CheckpointFolder(expected).All[^1].Path, other = new CheckpointFolder(actual).All[^1].Path;
        Same(Path.GetFileName(last) == Path.GetFileName(other) && CheckpointContent.Of(last).SequenceEqual(CheckpointContent.Of(other)), last);
        Xunit.Assert.Empty(Directory.EnumerateFiles(actual, "*.partial", SearchOption.AllDirectories));

        void Same(bool same, string file) => Xunit.Assert.True(same, $"{what}: {file} differs from that of the run that was never stopped ({expected}, {actual})");
    }

    private static string Metrics(string folder)
    {
        string[][] lines = [.. File.ReadAllLines(Path.Combine(folder, RunFiles.Metrics)).Select(line => line.Split(','))];
        int[] kept = [.. Enumerable.Range(0, lines[0].Length).Where(i => !Timed.Contains(lines[0][i]))];
        Xunit.Assert.Equal(lines[0].Length - Timed.Length, kept.Length);
        return string.Join('\n', lines.Select(line => string.Join(',', kept.Select(i => line[i]))));
    }

    private static string Json(string folder, string name, string[] without)
    {
        JsonObject values = JsonNode.Parse(File.ReadAllText(Path.Combine(folder, name)))!.AsObject();
        foreach (string key in without) Xunit.Assert.True(values.Remove(key), key);
        return values.ToJsonString();
    }
}
