using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Reports;
using FeedbackKernels.Runs;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Runs;

/// <summary>The log of a run.</summary>
public sealed class LogFileTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-log").FullName;

    private string Log => Path.Combine(_folder, "log.txt");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_log_says_what_happened_when_and_a_run_that_goes_on_adds_to_it()
    {
        var clock = new StepClock();
        var config = new RunConfig { Model = "mlp", Hidden = 4, Training = new TrainingOptions { Epochs = 3, Batch = 2, Seed = 9 } };
        using var backend = new ReferenceBackend();
        using var model = new Model(backend, config.Describe(new MapShape(2, 2, 1), 3), config.Rules, 2, 1);
        var epoch = new EpochReport(1, 8, 0.1, 2.25, 0.5, 2.5, 0.25, 0.75, 1003, 2, CheckpointSeconds: 0.125);
        var result = new TrainingResult([epoch], [], 1003, 2, Cancelled: true);
        using (var log = new LogFile(Log, config, model, clock))
        {
            log.OnStart(result, 0);
            // At most one step in half a minute.
            for (int step = 1; step <= 8; step++)
            {
                clock.Seconds += 10;
                log.OnStep(new StepReport(1, step, 8, step, 0.125, 500, step));
            }

            log.OnNote("an image\nis damaged");
            log.OnEpoch(epoch);
            // The file can be read while it is written.
            Assert.Equal(5, ReadShared().Length);
            log.OnEnd(config.Summarise(model, result), result);
        }

        clock.Seconds += 3600;
        using (var log = new LogFile(Log, config, model, clock))
        {
            log.OnStart(result, 8);
            log.OnWarning("a checkpoint is damaged");
            RunSummary summary = config.Summarise(model, result with { Cancelled = false });
            log.OnEnd(summary, result);
            log.OnEnd(summary with { Diverged = "step 9 (epoch 2): fc1" }, result);
        }

        string[] lines = File.ReadAllLines(Log);
        Assert.StartsWith("2001-09-09 01:46:40Z starts: mlp, backprop, synthetic, 3 epochs, batch 2, seed 9; reference: ", lines[0]);
        Assert.Equal(
            [
                "2001-09-09 01:47:10Z epoch 1/3, step 3/8: loss 3.0000, top-1 12.50 %, 500 images/s",
                "2001-09-09 01:47:40Z epoch 1/3, step 6/8: loss 6.0000, top-1 12.50 %, 500 images/s",
                "2001-09-09 01:48:00Z note: an image is damaged",
                "2001-09-09 01:48:00Z epoch 1/3: train loss 2.2500, top-1 50.00 %; test loss 2.5000, top-1 25.00 %, top-5 75.00 %; learning rate 0.1, 1003 images/s, waited 0.125 s for checkpoints",
                "2001-09-09 01:48:00Z stopped: 1 of 3 epochs, 2.0 s",
            ],
            lines[1..6]);
        Assert.StartsWith("2001-09-09 02:48:00Z goes on after step 8: mlp, backprop", lines[6]);
        Assert.Equal("2001-09-09 02:48:00Z warning: a checkpoint is damaged", lines[7]);
        Assert.Equal(["2001-09-09 02:48:00Z finished: 1 of 3 epochs, 2.0 s", "2001-09-09 02:48:00Z diverged at step 9 (epoch 2): fc1: 1 of 3 epochs, 2.0 s"], lines[8..]);
    }

    private string[] ReadShared()
    {
        using var reader = new StreamReader(new FileStream(Log, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        return reader.ReadToEnd().TrimEnd('\n').Split('\n');
    }

    private sealed class StepClock : TimeProvider
    {
        public double Seconds { get; set; } = 1_000_000_000;

        public override long TimestampFrequency => 1;

        public override DateTimeOffset GetUtcNow() => DateTimeOffset.UnixEpoch.AddSeconds(Seconds);

        public override long GetTimestamp() => (long)Seconds;
    }
}
