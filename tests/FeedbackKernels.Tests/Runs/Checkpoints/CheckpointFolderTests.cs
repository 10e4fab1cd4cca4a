using FeedbackKernels.Runs;
using FeedbackKernels.Storage;
using FeedbackKernels.Tests.Data;

namespace FeedbackKernels.Tests.Runs.Checkpoints;

/// <summary>Which checkpoint is taken, and which are kept.</summary>
public sealed class CheckpointFolderTests : FolderTests
{
    private CheckpointFolder Checkpoints => new(Folder);

    [Fact]
    public void The_newest_is_taken_by_its_number()
    {
        Assert.Null(Checkpoints.FindNewest([]));
        Write(9, 10, 12_345_678);
        var damaged = new List<string>();
        Assert.Equal(12_345_678, Checkpoints.FindNewest(damaged)!.Step);
        Assert.Empty(damaged);
        Assert.Equal(["step-0000009.safetensors", "step-0000010.safetensors", "step-12345678.safetensors"], Checkpoints.All.Select(c => c.Name));
    }

    [Fact]
    public void Of_a_damaged_one_the_former_is_taken_and_the_damage_is_said()
    {
        Write(10, 20, 30, 40);
        Truncate(40);
        byte[] bytes = File.ReadAllBytes(Checkpoints.FileOf(30));
        bytes[^1] ^= 1;
        File.WriteAllBytes(Checkpoints.FileOf(30), bytes);
        var damaged = new List<string>();
        Assert.Equal(20, Checkpoints.FindNewest(damaged)!.Step);
        Assert.Equal(2, damaged.Count);
        Assert.Contains("step-0000040.safetensors", damaged[0]);
        Assert.Contains("step-0000030.safetensors: damaged: the checksum", damaged[1]);
        // It is put aside and does not count any more.
        Checkpoints.CleanBehind(20);
        Assert.Equal([10, 20], Checkpoints.All.Select(c => c.Step));
        Assert.Equal(bytes, File.ReadAllBytes(Checkpoints.FileOf(30) + ".damaged"));
    }

    [Fact]
    public void If_all_are_damaged_the_run_does_not_start_over()
    {
        Write(10, 20);
        Truncate(10);
        Truncate(20);
        string message = Assert.Throws<InvalidDataException>(() => Checkpoints.FindNewest([])).Message;
        Assert.Contains("none of the 2 checkpoints", message);
        Assert.Contains("step-0000010", message);
        Assert.Contains("step-0000020", message);
    }

    [Theory]
    [InlineData(3, null, "40 50 60")]
    [InlineData(1, null, "60")]
    [InlineData(2, 20L, "20 50 60")]
    [InlineData(2, 60L, "50 60")]
    [InlineData(2, 99L, "50 60")]
    [InlineData(7, 10L, "10 20 30 40 50 60")]
    public void The_newest_ones_and_the_best_one_stay(int keep, long? best, string left)
    {
        Write(10, 20, 30, 40, 50, 60);
        File.WriteAllText(Path.Combine(Checkpoints.Path, "notes.txt"), "mine");
        Checkpoints.Prune(keep, best);
        Assert.Equal(left, string.Join(' ', Checkpoints.All.Select(c => c.Step)));
        Assert.True(File.Exists(Path.Combine(Checkpoints.Path, "notes.txt")));
    }

    [Fact]
    public void Partial_files_are_no_checkpoints_and_go()
    {
        Write(10);
        string partial = Checkpoints.FileOf(20) + ".partial";
        File.WriteAllText(partial, "torn");
        Assert.Equal(10, Checkpoints.FindNewest([])!.Step);
        Checkpoints.CleanBehind(10);
        Assert.False(File.Exists(partial));
        Assert.Equal(10, Assert.Single(Checkpoints.All).Step);
    }

    [Fact]
    public void Deleting_leaves_files_of_others()
    {
        Write(10, 20);
        File.WriteAllText(Checkpoints.FileOf(30) + ".partial", "torn");
        File.WriteAllText(Checkpoints.FileOf(30) + ".damaged", "torn");
        string mine = Path.Combine(Checkpoints.Path, "notes.txt");
        File.WriteAllText(mine, "mine");
        Checkpoints.Delete();
        Assert.Equal([mine], Directory.GetFiles(Checkpoints.Path));
        File.Delete(mine);
        Checkpoints.Delete();
        Assert.False(Directory.Exists(Checkpoints.Path));
    }

    [Theory]
    [InlineData("10m", null, 600.0, "10m")]
    [InlineData("90s", null, 90.0, "90s")]
    [InlineData("120s", null, 120.0, "2m")]
    [InlineData("1.5h", null, 5400.0, "90m")]
    [InlineData("0.25s", null, 0.25, "0.25s")]
    [InlineData("500", 500, null, "500")]
    [InlineData("off", null, null, "off")]
    public void An_interval_is_a_time_or_a_number_of_steps(string text, int? steps, double? seconds, string written)
    {
        CheckpointInterval interval = CheckpointInterval.TryParse(text)!;
        Assert.Equal((steps, seconds), (interval.Steps, interval.Time?.TotalSeconds));
        Assert.Equal(written, interval.ToString());
        Assert.Equal(interval, CheckpointInterval.TryParse(interval.ToString()));
        Assert.Equal(text == "off", interval.IsOff);
    }

    [Theory]
    [InlineData("")]
    [InlineData("0")]
    [InlineData("-5")]
    [InlineData("0m")]
    [InlineData("m")]
    [InlineData("5d")]
    [InlineData("1e3s")]
    [InlineData("+5m")]
    [InlineData("never")]
    [InlineData("99999999999")]
    public void Other_texts_are_no_interval(string text) => Assert.Null(CheckpointInterval.TryParse(text));

    private void Write(params long[] steps)
    {
        Checkpoints.Create();
        foreach (long step in steps) Checkpoint.Write(Checkpoints.FileOf(step), [], [new("state:step", $"{step}")], new Dictionary<string, string>());
    }

    private void Truncate(long step)
    {
        using FileStream file = File.OpenWrite(Checkpoints.FileOf(step));
        file.SetLength(file.Length / 2);
    }
}
