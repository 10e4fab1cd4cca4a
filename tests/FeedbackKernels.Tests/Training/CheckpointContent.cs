using System.Text.Json.Nodes;
using FeedbackKernels.Tests.Runs;

namespace FeedbackKernels.Tests.Training;

/// <summary>What a checkpoint holds, without what differs between two equal runs: times, speeds and the checksum over them.</summary>
internal static class CheckpointContent
{
    private static readonly string[] Times = ["ImagesPerSecond", "Seconds", "CheckpointSeconds", "WaitingRead", "WaitingDecode", "WaitingResize", "WaitingUpload"];

    /// <summary>A line for each tensor and value, with all bits.</summary>
    public static IReadOnlyList<string> Of(string path)
    {
        var file = new TensorFile(path);
        var lines = new List<string>();
        foreach (string name in file.Names) lines.Add($"{name}: {string.Join(',', file.Sizes(name))}: {Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(System.Runtime.InteropServices.MemoryMarshal.AsBytes(file.Values(name).AsSpan())))}");
        foreach ((string key, string value) in file.AllMetadata)
        {
            if (key is "sha256" or "state:trainer.seconds") continue;
            lines.Add($"{key}: {(key == "text:trainer.epochs" ? string.Join('\n', value.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(Untimed)) : value)}");
        }

        // A file without a state would equal any other.
        Assert.Contains(lines, line => line.StartsWith("state:optimiser.step: ", StringComparison.Ordinal));
        return lines;
    }

    private static string Untimed(string line)
    {
        JsonObject report = JsonNode.Parse(line)!.AsObject();
        foreach (string time in Times) Assert.True(report.Remove(time), time);
        return report.ToJsonString();
    }
}
