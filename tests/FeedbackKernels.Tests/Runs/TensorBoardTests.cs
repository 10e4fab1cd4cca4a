using System.Globalization;
using System.Text.Json;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;
using FeedbackKernels.Runs.TensorBoard;
using FeedbackKernels.Tests.KnownAnswers;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Runs;

/// <summary>Event files for TensorBoard, read back with a reader of their own.</summary>
public sealed class TensorBoardTests : IDisposable
{
    private static readonly DataSet Data = DataSet.Open("synthetic", 3, 96, 40);

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-events").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void The_reader_computes_the_checksums_of_RFC_3720()
    {
        byte[] rising = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];
        Assert.Equal(0x8A9136AAu, RecordedEvents.Crc32C(new byte[32]));
        Assert.Equal(0x62A8AB43u, RecordedEvents.Crc32C([.. Enumerable.Repeat((byte)0xFF, 32)]));
        Assert.Equal(0x46DD794Eu, RecordedEvents.Crc32C(rising));
        Assert.Equal(0x113FDB5Cu, RecordedEvents.Crc32C([.. rising.Reverse()]));
    }

    [Fact]
    public void A_file_has_the_bytes_that_Googles_library_writes()
    {
        JsonElement known = Known.Read("events");
        string path;
        using (var file = new EventFile(_folder, known.Int("firstStep"), new StoppedClock(known.Double("time"))))
        {
            path = file.Path;
            file.Write(new Event
            {
                Step = 300,
                Summary = new Summary
                {
                    Value =
                    {
                        new Summary.Types.Value { Tag = "train/loss", SimpleValue = 2.5f }, new Summary.Types.Value { Tag = "weight_angle/conv1", SimpleValue = 0 },
                        new Summary.Types.Value { Tag = "test/top1", SimpleValue = 0.1f },
                    },
                },
            });
            var histogram = new HistogramProto { Min = -1.5, Max = 2, Num = 4, Sum = 1.5, SumSquares = 7.25, BucketLimit = { -1, 0, 1, 2.5 }, Bucket = { 1, 0, 2, 1 } };
            file.Write(new Event { Step = (1L << 31) + 5, Summary = new Summary { Value = { new Summary.Types.Value { Tag = "weights/fc", Histo = histogram } } } });
            // The file is whole after each event: TensorBoard reads it while the run goes on.
            Assert.Equal(known.Text("file"), Convert.ToHexStringLower(ReadShared(path)));
        }

        Assert.Equal($"events.out.tfevents.1234567890.{Environment.MachineName}.{Environment.ProcessId}", Path.GetFileName(path));
        RecordedEvent[] events = RecordedEvents.Read(path);
        Assert.All(events, e => Assert.Equal(1234567890.25, e.Time));
        Assert.Equal("brain.Event:2", events[0].Version);
        Assert.Equal((300, true), (events[1].Step, events[1].Starts));
        Assert.Equal(["train/loss", "weight_angle/conv1", "test/top1"], events[2].Values.Select(v => v.Tag));
        Assert.Equal([2.5f, 0, 0.1f], events[2].Values.Select(v => v.Scalar!.Value));
        Assert.Equal(2147483653, events[3].Step);
        RecordedHistogram read = events[3].Values.Single().Histogram!;
        Assert.Equal((-1.5, 2, 4, 1.5, 7.25), (read.Min, read.Max, read.Num, read.Sum, read.SumSquares));
        Assert.Equal([-1, 0, 1, 2.5], read.Limits);
        Assert.Equal([1, 0, 2, 1], read.Counts);
    }

    [Fact]
    public void A_further_file_of_a_run_sorts_behind_the_others_whatever_the_clock_says()
    {
        // Written by another program, with a name of its own.
        File.WriteAllText(Path.Combine(_folder, "events.out.tfevents.profile"), "");
        string[] paths = [.. new double[] { 1_000_000_000, 1_000_000_000, 999_999_000 }.Select(Create)];
        Assert.Equal(["1000000000", "1000000001", "1000000002"], paths.Select(path => Path.GetFileName(path).Split('.')[3]));
        Assert.Equal(paths, RecordedEvents.FilesIn(_folder)[..3]);

        string Create(double seconds)
        {
            using var file = new EventFile(_folder, 0, new StoppedClock(seconds));
            return file.Path;
        }
    }

    [Fact]
    public void The_scalars_of_a_run_are_those_of_its_tables()
    {
        Train(TensorBoardContent.Scalars);
        RecordedEvent[] events = RecordedEvents.ReadFolder(_folder);
        string[][] metrics = Table("metrics.csv"), alignment = Table("alignment.csv");
        foreach ((string tag, int column) in new[] { ("train/loss", 3), ("train/top1", 4), ("test/loss", 5), ("test/top1", 6), ("test/top5", 7), ("waiting/read", 10), ("waiting/decode", 11), ("waiting/resize", 12), ("waiting/upload", 13), ("waiting/checkpoint_seconds", 14) })
            AssertSame(metrics.ToDictionary(line => long.Parse(line[1], CultureInfo.InvariantCulture), line => Number(line[column])), events.Scalars(tag), tag);
        foreach ((string group, int column) in new[] { ("weight_angle", 4), ("norm_ratio", 5), ("error_angle", 6) })
        {
            string[] layers = [.. alignment.Where(line => line[column].Length > 0).Select(line => line[2]).Distinct()];
            Assert.NotEmpty(layers);
            Assert.Equal(layers.Select(layer => $"{group}/{layer}").Order(), Tags(events).Where(tag => tag.StartsWith($"{group}/", StringComparison.Ordinal)).Order());
            foreach (string layer in layers)
            {
                AssertSame(
                    alignment.Where(line => line[2] == layer).ToDictionary(line => long.Parse(line[1], CultureInfo.InvariantCulture), line => Number(line[column])),
                    events.Scalars($"{group}/{layer}"), $"{group}/{layer}");
            }
        }

        Dictionary<long, float> angles = events.Scalars("alignment/weight_angle_mean");
        Assert.Equal([0, 3, 6], angles.Keys);
        Assert.Equal(alignment.Where(line => line[1] == "6" && line[4].Length > 0).Average(line => Number(line[4])), angles[6], 1e-3);
    }

    [Fact]
    public void The_points_within_an_epoch_are_its_batches()
    {
        Train(TensorBoardContent.Scalars);
        RecordedEvent[] events = RecordedEvents.ReadFolder(_folder);
        Dictionary<long, float> loss = events.Scalars("train/batch_loss"), rate = events.Scalars("schedule/learning_rate");
        Assert.Equal([1, 2, 3, 4, 5, 6], loss.Keys);
        Assert.Equal(loss.Keys, events.Scalars("speed/images_per_second").Keys);
        // The loss of an epoch is the mean over its batches, which have 32 images each.
        Assert.Equal(events.Scalars("train/loss")[3], (loss[1] + loss[2] + loss[3]) / 3, 1e-5);
        Assert.Equal(events.Scalars("train/loss")[6], (loss[4] + loss[5] + loss[6]) / 3, 1e-5);
        // Multi-step divides the rate by 10 halfway and at three quarters.
        Assert.Equal([0.05f, 0.05f, 0.05f, 0.005f, 0.005f, 0.0005f], rate.OrderBy(p => p.Key).Select(p => p.Value), (a, b) => Math.Abs(a - b) < 1e-8);
    }

    [Fact]
    public void A_run_that_was_stopped_and_goes_on_has_the_points_of_one_that_was_not()
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        string whole = Path.Combine(_folder, "whole"), parts = Path.Combine(_folder, "parts");
        RunConfig config = Config(TensorBoardContent.Histograms);
        using var backend = new CpuBackend();
        Experiment.Train(config, Data, backend, new RunPlace(whole), cancel: cancel);
        using (var stop = new CancellationTokenSource())
        {
            Experiment.Train(config, Data, backend, new RunPlace(parts), new StopAt(stop, epoch: 2, step: 1), cancel: stop.Token);
        }

        // Points of a future that does not come: the process was killed after its last checkpoint.
        string killed = Path.Combine(parts, "events.out.tfevents.9999999998.killed.1");
        using (StoppedRun stopped = StoppedRun.Open(parts))
        {
            RecordedEvent[] before = RecordedEvents.ReadFolder(parts);
            Assert.Equal(4, before[^1].Step);
            using (var future = new EventFile(parts, 5, TimeProvider.System))
            {
                future.Write(new Event { Step = 5, Summary = new Summary { Value = { new Summary.Types.Value { Tag = "train/batch_loss", SimpleValue = 99 } } } });
                File.Move(future.Path, killed);
            }

            Experiment.Resume(stopped, stopped.Config, Data, backend, cancel: cancel);
        }

        Assert.Equal(3, RecordedEvents.FilesIn(parts).Length);
        Assert.EndsWith("killed.1", RecordedEvents.FilesIn(parts)[1]);
        (long, string, object)[] expected = [.. Points(RecordedEvents.FilesIn(whole))], found = [.. Points(RecordedEvents.FilesIn(parts))];
        Assert.NotEmpty(expected);
        Assert.Equal(expected.Select(p => (p.Item1, p.Item2)), found.Select(p => (p.Item1, p.Item2)));
        Assert.All(expected.Zip(found), pair => Assert.Equivalent(pair.First.Item3, pair.Second.Item3, strict: true));

        // As TensorBoard reads them: a START after the first discards what is at its step and later.
        static IEnumerable<(long Step, string Tag, object Value)> Points(string[] files)
        {
            var points = new List<(long Step, string Tag, object Value)>();
            bool started = false;
            foreach (RecordedEvent e in files.SelectMany(RecordedEvents.Read))
            {
                if (e.Starts && started) points.RemoveAll(p => p.Step >= e.Step);
                started |= e.Starts;
                points.AddRange(e.Values.Select(v => (e.Step, v.Tag, (object?)v.Scalar ?? v.Histogram!)));
            }

            // Times differ from run to run.
            return points.Where(p => !p.Tag.StartsWith("speed/", StringComparison.Ordinal) && !p.Tag.StartsWith("waiting/", StringComparison.Ordinal)).OrderBy(p => p.Step).ThenBy(p => p.Tag, StringComparer.Ordinal);
        }
    }

    [Theory]
    [InlineData(7, 7)]
    [InlineData(100, 100)]
    [InlineData(101, 51)]
    [InlineData(5004, 99)]
    public void A_long_epoch_has_about_a_hundred_points_and_its_last_step(int steps, int points)
    {
        RunConfig config = Config(TensorBoardContent.Scalars);
        using var backend = new ReferenceBackend();
        using Model model = NewModel(backend, config);
        // A run that was resumed in the middle of the second epoch.
        using (var first = new TensorBoardFile(_folder, config, model))
        {
            first.OnStart(Nothing, 0);
            for (int step = 1; step <= steps; step++) first.OnStep(Step(1, step));
            for (int step = 1; step <= steps / 2; step++) first.OnStep(Step(2, step));
        }

        int done = steps + steps / 2;
        using (var resumed = new TensorBoardFile(_folder, config, model))
        {
            resumed.OnStart(Nothing, done);
            for (int step = steps / 2 + 1; step <= steps; step++) resumed.OnStep(Step(2, step));
        }

        string[] files = RecordedEvents.FilesIn(_folder);
        Assert.Equal(2, files.Length);
        Assert.Equal((done + 1, true), RecordedEvents.Read(files[1])[1] is var start ? (start.Step, start.Starts) : default);
        long[] found = [.. files.SelectMany(RecordedEvents.Read).Scalars("train/batch_loss").Keys];
        Assert.Equal(points, found.Count(step => step <= steps));
        Assert.Equal([.. found.Where(step => step <= steps).SelectMany(step => (long[])[step, step + steps]).Order()], found.Order());
        Assert.Equal(2 * steps, found.Max());

        StepReport Step(int epoch, int step) => new(epoch, step, steps, 1, 0.5, 100, step);
    }

    [Fact]
    public void Histograms_have_every_value_of_W_B_and_the_errors()
    {
        using var backend = new CpuBackend();
        using Model model = Train(TensorBoardContent.Histograms, backend);
        RecordedEvent[] events = RecordedEvents.ReadFolder(_folder);
        foreach (ConvLayer layer in model.Layers)
        {
            AssertHistogram(backend.Download(layer.Weight.Value), Last(events, $"weights/{layer.Name}"));
            if (layer.Feedback?.OwnWeights is { } own) AssertHistogram(backend.Download(own.Value), Last(events, $"feedback_weights/{layer.Name}"));
            RecordedHistogram errors = Last(events, $"errors/{layer.Name}");
            // The probe measures with 32 images, or fewer if the batch is smaller.
            Assert.Equal(32 * layer.Shape().OutputLength, errors.Num);
            Assert.True(errors.SumSquares > 0);
        }

        Assert.Equal(model.Layers.Count(l => l.Feedback?.OwnWeights is not null), Tags(events).Count(tag => tag.StartsWith("feedback_weights/", StringComparison.Ordinal)));
        Assert.NotEqual(0, model.Layers.Count(l => l.Feedback?.OwnWeights is not null));
        Assert.Equal([3, 6], events.Where(e => e.Values.Any(v => v.Tag == "weights/conv1")).Select(e => e.Step));
        Assert.Equal([0, 3, 6], events.Where(e => e.Values.Any(v => v.Tag == "errors/conv1")).Select(e => e.Step));
    }

    [Fact]
    public void Histograms_are_written_on_demand()
    {
        Train(TensorBoardContent.Scalars);
        Assert.All(RecordedEvents.ReadFolder(_folder).SelectMany(e => e.Values), v => Assert.NotNull(v.Scalar));
    }

    [Fact]
    public void Buckets_are_those_of_TensorFlow()
    {
        // A limit belongs to the bucket above it. Between 1 and 1.1 lies one limit of 1e-12 * 1.1^k: k = 290 gives 1.00897
        RecordedHistogram histogram = Recorded([1, 1.05f, 1.05f, float.NaN, float.PositiveInfinity]);
        Assert.Equal((1, 1.05f, 3, 1 + 2 * 1.05f), (histogram.Min, histogram.Max, histogram.Num, histogram.Sum), (a, b) => Math.Abs(a.Item4 - b.Item4) < 1e-6 && a.Item3 == b.Item3);
        Assert.Equal([1, 2], histogram.Counts);
        Assert.Equal(1e-12 * Math.Pow(1.1, 290), histogram.Limits[0], 1e-9);
        Assert.Equal(1.1 * histogram.Limits[0], histogram.Limits[1], 1e-12);
        Assert.Equal([1e-12], Recorded([0, 0]).Limits);
        Assert.Equal([2], Recorded([0, 0]).Counts);
        RecordedHistogram wide = Recorded([-float.MaxValue, 0, float.MaxValue]);
        Assert.Equal((3, double.MaxValue), (wide.Counts.Sum(), wide.Limits[^1]));
        // One bucket for everything between.
        Assert.Equal([1, 0, 1, 0, 1], wide.Counts);
        Assert.Equal(1e-12, wide.Limits[2]);
        Assert.Equal((double)-float.MaxValue, wide.Min);
        Assert.Null(ValueHistogram.Of([float.NaN]));

        static RecordedHistogram Recorded(float[] values) => ValueHistogram.Of(values) is { } h
            ? new RecordedHistogram(h.Min, h.Max, h.Num, h.Sum, h.SumSquares, [.. h.BucketLimit], [.. h.Bucket]) : throw new InvalidDataException();
    }

    private static void AssertHistogram(float[] values, RecordedHistogram histogram)
    {
        Assert.Equal((values.Min(), values.Max(), values.Length), (histogram.Min, histogram.Max, histogram.Num));
        Assert.Equal(values.Sum(v => (double)v), histogram.Sum, 1e-6);
        Assert.Equal(values.Sum(v => (double)v * v), histogram.SumSquares, 1e-6);
        for (int i = 0; i < histogram.Limits.Length; i++)
        {
            double lower = i == 0 ? double.NegativeInfinity : histogram.Limits[i - 1];
            Assert.Equal(values.Count(v => v >= lower && v < histogram.Limits[i]), histogram.Counts[i]);
        }
    }

    private static RecordedHistogram Last(RecordedEvent[] events, string tag) =>
        events.SelectMany(e => e.Values).Last(v => v.Tag == tag).Histogram!;

    private static IEnumerable<string> Tags(RecordedEvent[] events) => events.SelectMany(e => e.Values.Select(v => v.Tag)).Distinct();

    private static void AssertSame(Dictionary<long, double> expected, Dictionary<long, float> found, string tag)
    {
        Assert.Equal(expected.Keys.Order(), found.Keys.Order());
        // The tables have six digits, four of the fractions of waiting.
        double digits = tag.StartsWith("waiting/", StringComparison.Ordinal) ? 1e-3 : 2e-5;
        Assert.All(expected, point => Assert.True(Math.Abs(point.Value - found[point.Key]) <= digits * Math.Abs(point.Value) + 1e-7, $"{tag}, step {point.Key}: {point.Value} and {found[point.Key]}"));
    }

    private string[][] Table(string name) => [.. File.ReadAllLines(Path.Combine(_folder, name)).Skip(1).Select(line => line.Split(','))];

    private static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);

    private static byte[] ReadShared(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var bytes = new byte[file.Length];
        file.ReadExactly(bytes);
        return bytes;
    }

    private void Train(TensorBoardContent content)
    {
        using var backend = new CpuBackend();
        Train(content, backend).Dispose();
    }

    /// <summary>Two epochs of three steps.</summary>
    private Model Train(TensorBoardContent content, Backend backend)
    {
        RunConfig config = Config(content);
        Model model = NewModel(backend, config);
        using var trainer = new Trainer(model, Data, config.Training);
        using var folder = new RunFolder(new RunPlace(_folder).Claim(), config, model, trainer);
        folder.Finish(trainer.Run(folder.Observers, TestContext.Current.CancellationToken), checkpoints: null);
        return model;
    }

    private static RunConfig Config(TensorBoardContent content) => new()
    {
        Model = "resnet8",
        Rule = new KolenPollack(),
        TensorBoard = content,
        Training = new TrainingOptions { Epochs = 2, Batch = 32, Schedule = new LearningRateSchedule(ScheduleKind.MultiStep, 0.05f) },
    };

    private static Model NewModel(Backend backend, RunConfig config) =>
        new(backend, config.Describe(Data.Train.RequireShape(), Data.Train.Classes), config.Rules, config.Training.Batch, config.Training.Seed);

    private static TrainingResult Nothing => new([], [], 0, 0, false);

    private sealed class StopAt(CancellationTokenSource stop, int epoch, int step) : ITrainingObserver
    {
        public void OnStep(in StepReport report)
        {
            if (report.Epoch == epoch && report.Step == step) stop.Cancel();
        }
    }

    private sealed class StoppedClock(double seconds) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => DateTimeOffset.UnixEpoch.AddSeconds(seconds);
    }
}
