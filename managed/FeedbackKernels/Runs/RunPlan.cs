using System.Diagnostics;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Storage;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>What a run will need, from its sizes and a short measurement of its steps, its evaluation and its measurement of the
/// alignment.</summary>
public sealed record RunPlan
{
    // The model, and what is written beside it while it is written.
    private const int Copies = 2;

    /// <summary>The run.</summary>
    public required RunConfig Config { get; init; }

    /// <summary>Parameters of the model, B excepted.</summary>
    public required long Parameters { get; init; }

    /// <summary>Images of the first epoch.</summary>
    public required MapShape Images { get; init; }

    /// <summary>Floating-point operations of the forward pass of an image: two for each multiplication and addition.</summary>
    public required double ForwardFlops { get; init; }

    /// <summary>The same of a training step, for an image: forward pass, weight gradient, and feedback where a layer sends an error.</summary>
    public required double TrainingFlops { get; init; }

    /// <summary>Bytes of activations, errors and images of a step.</summary>
    public required long StepBytes { get; init; }

    /// <summary>Bytes of everything that training changes: W, B, velocities, statistics. A checkpoint is as large.</summary>
    public required long StateBytes { get; init; }

    /// <summary>Bytes of the model's file.</summary>
    public required long ModelBytes { get; init; }

    /// <summary>Most memory of this process during the measurement.</summary>
    public required long HostBytes { get; init; }

    /// <summary>Device memory that the measurement took; null where the backend computes in host memory.</summary>
    public long? DeviceBytes { get; init; }

    /// <summary>Steps of an epoch.</summary>
    public required int StepsPerEpoch { get; init; }

    /// <summary>Test images.</summary>
    public required int TestImages { get; init; }

    /// <summary>Time from the start of the run to its first step.</summary>
    public required double StartSeconds { get; init; }

    /// <summary>Time of a step in the first epoch, waiting for images included.</summary>
    public required double StepSeconds { get; init; }

    /// <summary>What the steps have waited for.</summary>
    public required FeedWaiting Waiting { get; init; }

    /// <summary>Time for which the feed's threads work on the images of a step, divided by their number: a step cannot be shorter.</summary>
    public required double FeedSeconds { get; init; }

    /// <summary>Threads of the feed.</summary>
    public required int FeedThreads { get; init; }

    /// <summary>Time of an evaluation.</summary>
    public required double TestSeconds { get; init; }

    /// <summary>Time of a measurement of the alignment; 0 if the run makes none.</summary>
    public required double AlignSeconds { get; init; }

    /// <summary>Training images a second in the first epoch.</summary>
    public double ImagesPerSecond => Config.Training.Batch / LongStepSeconds;

    /// <summary>Whether the feed limits the speed.</summary>
    public bool IsLimitedByFeed => FeedSeconds > StepSeconds || Waiting.IsMuch;

    /// <summary>Time of the steps of all epochs. At another size of the images, a step takes time in proportion to their area.</summary>
    public double TrainSeconds => Enumerable.Range(1, Config.Training.Epochs).Sum(epoch => StepsPerEpoch * LongStepSeconds * AreaAt(epoch));

    /// <summary>Measurements of the alignment in the run.</summary>
    public long Measurements => new AlignmentSchedule(Config.Training.AlignEvery, Config.Training.Epochs, StepsPerEpoch).Count;

    /// <summary>Time of the whole run.</summary>
    public double TotalSeconds => StartSeconds + Config.Training.NoisePretraining * StepSeconds + TrainSeconds + Config.Training.Epochs * TestSeconds + Measurements * AlignSeconds;

    /// <summary>Largest size of the run's folder: checkpoints, the one that is being written, the model, and the tables.</summary>
    public long DiskBytes
    {
        get
        {
            int checkpoints = Config.CheckpointEvery.IsOff ? 0 : Config.KeepCheckpoints + 2;
            return checkpoints * StateBytes + Copies * ModelBytes + Config.Training.Epochs * TableBytesPerEpoch;
        }
    }

    /// <summary>Layers of the model.</summary>
    public required int Layers { get; init; }

    // A line of metrics.csv; of alignment.csv for each layer; points of a curve, 100 in an epoch; and the report's drawings.
    private long TableBytesPerEpoch => 200 + 100 * 120 + Layers * 400L;

    // A short measurement may have lived on images that were prepared before it began.
    private double LongStepSeconds => Math.Max(StepSeconds, FeedSeconds);

    /// <summary>Measures some steps, evaluations of some images, and the alignment. Writes nothing.</summary>
    /// <param name="config">The run.</param>
    /// <param name="data">Its data.</param>
    /// <param name="backend">Its backend.</param>
    /// <param name="budget">About how long to measure steps; at least three are measured.</param>
    /// <param name="cancel">Ends the measurement.</param>
    /// <exception cref="ArgumentException">The configuration, the data and the backend do not fit together.</exception>
    /// <exception cref="OutOfMemoryException">The host has too little memory for the run.</exception>
    /// <exception cref="CudaException">The device has too little memory for the run.</exception>
    /// <exception cref="NonFiniteLossException">The run diverges at once.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static RunPlan Measure(RunConfig config, DataSet data, Backend backend, TimeSpan budget, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(data);
        ArgumentNullException.ThrowIfNull(backend);
        config.Validate();
        config = config.For(data);
        long before = (backend as CudaBackend)?.DeviceBytesInUse ?? 0, start = Stopwatch.GetTimestamp();
        using Model model = Experiment.Build(config, data, backend, config.Training.PartBatch);
        // The steps on noise are counted, not made.
        TrainingOptions training = config.TrainingOnThisMachine() with { NoisePretraining = 0 };
        using var trainer = new Trainer(model, data, training);
        // The copy for checkpoints is part of what a run needs.
        using var snapshot = new Snapshot(trainer, backend);
        MapShape images = model.Spec.Input;
        double forward = model.ForwardFlops;
        double all = model.Layers.Sum(layer => layer.Shape().Flops * (layer.Feedback is { SendsError: true } ? 3 : 2));
        using var steps = new StepClock(trainer, budget, cancel);
        trainer.Run(steps, steps.Token);
        cancel.ThrowIfCancellationRequested();
        (double alignment, double test) = (TimeAlignment(model, data, trainer, training), TimeTest(model, data, trainer, training, cancel));
        double seconds = steps.Seconds / steps.Steps;
        FeedTimes times = steps.Times;
        return new RunPlan
        {
            Config = config,
            Parameters = model.ParameterCount,
            Layers = model.Layers.Count,
            Images = images,
            ForwardFlops = forward,
            TrainingFlops = all,
            StepBytes = model.ArenaBytes,
            StateBytes = snapshot.Bytes,
            ModelBytes = model.Parameters.Concat(model.Layers.SelectMany(l => l.Feedback?.Parameters ?? [])).Sum(p => p.Length * sizeof(float)),
            HostBytes = PeakMemory(),
            DeviceBytes = backend is CudaBackend cuda ? cuda.DeviceBytesInUse - before : null,
            StepsPerEpoch = trainer.StepsPerEpoch,
            TestImages = data.Test.Count,
            StartSeconds = Stopwatch.GetElapsedTime(start, steps.FirstStep).TotalSeconds,
            StepSeconds = seconds,
            Waiting = FeedWaiting.Of(times, steps.Seconds, (long)steps.Steps * training.Batch),
            FeedSeconds = times.OnThreads / trainer.FeedThreads / steps.Steps,
            FeedThreads = trainer.FeedThreads,
            TestSeconds = test,
            AlignSeconds = alignment,
        };
    }

    private double AreaAt(int epoch)
    {
        int size = Config.Training.Images.TrainSizeAt(epoch);
        return size == 0 ? 1 : (double)size * size / ((double)Images.H * Images.W);
    }

    private static double TimeAlignment(Model model, DataSet data, Trainer trainer, TrainingOptions training)
    {
        if (training.AlignEvery == 0) return 0;
        using var probe = new AlignmentProbe(model, data.Test, trainer.Preprocessing, training.LabelSmoothing);
        return TimeSecond(() => probe.Measure(0, 0));
    }

    private static double TimeTest(Model model, DataSet data, Trainer trainer, TrainingOptions training, CancellationToken cancel)
    {
        IImageSource some = data.Test.Take(Math.Min(data.Test.Count, 4 * model.MaxBatch));
        var evaluator = new Evaluator(model, training.TestFlip);
        return TimeSecond(() => evaluator.Run(some, trainer.Preprocessing, trainer.FeedOptions, cancel: cancel)) * data.Test.Count / some.Count;
    }

    /// <summary>The time of the second of two calls: the first one also compiles.</summary>
    private static double TimeSecond<T>(Func<T> call)
    {
        _ = call();
        long start = Stopwatch.GetTimestamp();
        _ = call();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static long PeakMemory()
    {
        using var process = Process.GetCurrentProcess();
        return process.PeakWorkingSet64;
    }

    /// <summary>Measures steps of the first epoch, and stops the run then.</summary>
    private sealed class StepClock(Trainer trainer, TimeSpan budget, CancellationToken cancel) : ITrainingObserver, IDisposable
    {
        private const int Fewest = 3;

        private readonly CancellationTokenSource _stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        private FeedTimes _timesAtStart;
        private long _start;
        private int _startStep;

        public CancellationToken Token => _stop.Token;

        /// <summary>When the first step had ended.</summary>
        public long FirstStep { get; private set; }

        /// <summary>Steps that were measured.</summary>
        public int Steps { get; private set; }

        /// <summary>Their time.</summary>
        public double Seconds { get; private set; }

        /// <summary>What the feed spent time on meanwhile.</summary>
        public FeedTimes Times { get; private set; }

        public void OnStep(in StepReport report)
        {
            if (report.Step == 1) FirstStep = Stopwatch.GetTimestamp();
            // The first steps compile, and find the batches that were prepared before. Short epochs leave the first step out only.
            bool warm = report.Step >= Math.Min(trainer.FeedOptions.BatchesAhead + 2, Math.Max(1, report.StepsInEpoch - Fewest));
            if (!warm) return;
            if (_start == 0)
            {
                (_start, _startStep, _timesAtStart) = (Stopwatch.GetTimestamp(), report.Step, trainer.FeedTimes);
                if (report.Step < report.StepsInEpoch) return;
                // The only step of an epoch: as long as it took from the start.
                (_start, _startStep) = (FirstStep, 0);
            }

            (Steps, Seconds, Times) = (report.Step - _startStep, Stopwatch.GetElapsedTime(_start).TotalSeconds, trainer.FeedTimes - _timesAtStart);
            bool enough = Steps >= Fewest && Stopwatch.GetElapsedTime(FirstStep) > budget;
            if (enough || report.Step == report.StepsInEpoch) _stop.Cancel();
        }

        public void Dispose() => _stop.Dispose();
    }
}
