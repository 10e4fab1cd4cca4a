using System.Diagnostics;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.State;

namespace FeedbackKernels.Training;

/// <summary>
/// Trains a model on a data set. A trainer is the whole state of a run: one that gets the state of another, which was stopped after
/// some step, goes on with the same bits as if nothing had happened.
/// </summary>
public sealed class Trainer : IState, IDisposable
{
    private readonly Model _model;
    private readonly DataSet _data;
    private readonly TrainingOptions _options;
    private readonly FeedOptions _feedOptions;
    private readonly Evaluator _evaluator;
    private readonly Optimiser _optimiser;
    private readonly ImageFeed _feed;
    private readonly EpochTally _tally;
    private readonly AlignmentSchedule _measurements;
    private readonly RunHistory _history = new();
    private readonly GradientSum? _gradients;
    private readonly Communicator _group;
    private readonly SharedStep? _shared;
    private readonly WeightAverage? _average;
    private ITrainingObserver? _observer;
    private ICheckpoints? _checkpoints;
    private double _waitedBefore;
    private long _prepared;
    private bool _started, _saidThatItWaits, _stopAgreed;
    // Null where this process decides by itself: the others then need not know.
    private bool? _saveAgreed;
    private int _saidDamaged;

    /// <summary>Checks that everything fits together.</summary>
    /// <param name="model">Planned for training and for the batch of the options.</param>
    /// <param name="data">Training and test images of the model's size and classes.</param>
    /// <param name="options">Settings. The batch is that of all processes together.</param>
    /// <param name="group">Processes that train the model together, each with a model and a trainer of its own with the same settings; null
    /// for this one. Each computes its share of every batch, and all have the same weights after each step. Stays the caller's.</param>
    /// <exception cref="ArgumentException">They do not fit; the message names what was found and what the model takes.</exception>
    /// <exception cref="NotSupportedException">There are several processes, and the backend's memory is one that they cannot sum.</exception>
    public Trainer(Model model, DataSet data, TrainingOptions options, Communicator? group = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(data);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        Evaluator.RequireFit(data.Train, model.Spec.Input, model.Spec.Classes, "training images", nameof(data));
        Evaluator.RequireFit(data.Test, model.Spec.Input, model.Spec.Classes, "test images", nameof(data));
        ImageOptions images = options.Images.For(model.Spec.Input.H);
        if (data.Train.Shape is null && (images.TrainSize, images.TrainSize) != (model.Spec.Input.H, model.Spec.Input.W))
            throw new ArgumentException($"training images of {images.TrainSize}x{images.TrainSize}, the model is made for {model.Spec.Input}", nameof(options));
        if (!model.CanTrain) throw new ArgumentException("the model is planned for evaluation, without a backward pass", nameof(model));
        if (options.Batch > data.Train.Count)
            throw new ArgumentException($"a batch of {options.Batch} out of {data.Train.Count} training images", nameof(options));
        _group = group ?? Communicator.Alone;
        if (options.PartBatch < _group.Size)
            throw new ArgumentException($"a batch of {options.PartBatch} images for {_group.Size} processes; wanted at least one for each", nameof(options));
        int share = Communicator.LargestShareOf(options.PartBatch, _group.Size);
        if (share > model.MaxBatch) throw new ArgumentException($"a batch of {share}, the model is planned for {model.MaxBatch}", nameof(options));
        if (_group.IsShared && !_group.CanSum(model.Backend))
            throw new NotSupportedException($"{_group.Size} processes by {_group.Description} cannot sum buffers of the {model.Backend.Name} backend");
        if (options.AlignEvery > 0) model.RequireStatistics(Math.Min(data.Test.Count, model.MaxBatch));
        long steps = (long)options.Epochs * (data.Train.Count / options.Batch);
        if (steps > int.MaxValue)
            throw new ArgumentException($"{options.Epochs} epochs are {steps} steps, the largest number of steps is {int.MaxValue}", nameof(options));
        (_model, _data, _options) = (model, data, options);
        Preprocessing = Preprocessing.Of(data, options.Normalisation, images);
        _feedOptions = options.Feed with { Images = images, KeepsOrder = !options.Shuffle, Rank = _group.Rank, WorldSize = _group.Size };
        _evaluator = new Evaluator(model, options.TestFlip);
        _feed = ImageFeed.Train(
            model.Backend, data.Train, Preprocessing.CreateNormalisation(), options.Augmentation, options.PartBatch, options.Seed, _feedOptions);
        try
        {
            RequireSizes();
        }
        catch
        {
            _feed.Dispose();
            throw;
        }

        _tally = new EpochTally(options.Accumulate);
        _measurements = new AlignmentSchedule(options.AlignEvery, options.Epochs, StepsPerEpoch);
        _optimiser = new Sgd(model, options, StepsPerEpoch);
        if (options.Accumulate > 1) _gradients = new GradientSum(model, options.Accumulate);
        if (options.Ema > 0) _average = new WeightAverage(model, options.Ema);
        if (_group.IsShared) _shared = new SharedStep(model, _group, overlaps: _gradients is null, options.SyncBatchNorm);
    }

    /// <summary>What the images of training and evaluation go through; to be saved with the model.</summary>
    public Preprocessing Preprocessing { get; }

    /// <summary>Steps done in the run.</summary>
    public int Step => _optimiser.Step;

    /// <summary>Steps of an epoch.</summary>
    public int StepsPerEpoch => _feed.BatchesPerEpoch / _options.Accumulate;

    /// <summary>What the feed has spent time on so far.</summary>
    internal FeedTimes FeedTimes => _feed.Times;

    /// <summary>Threads that prepare batches.</summary>
    internal int FeedThreads => _feed.Threads;

    /// <summary>The feed's settings, with all sizes set.</summary>
    internal FeedOptions FeedOptions => _feedOptions;

    /// <summary>Whether the state is one that a run can go on from: between two steps, not within one, and not between the evaluation of an
    /// epoch and its report.</summary>
    public bool IsBetweenSteps { get; private set; }

    /// <summary>What has been measured so far, in a run that goes on also before it was stopped.</summary>
    public TrainingResult Measured => _history.Result(cancelled: false);

    /// <summary>
    /// Runs all epochs, or until the token is cancelled: then the step in hand is finished and what there is returned. A
    /// trainer runs once.
    /// </summary>
    /// <param name="observer">Is told how it goes; optional.</param>
    /// <param name="cancel">Stops the run, also during what a rule does before training.</param>
    /// <exception cref="NonFiniteLossException">The loss, or a weight, became NaN or infinite. The exception has the results of
    /// the epochs before; the observer was told of each of them while all weights were finite.</exception>
    /// <exception cref="InvalidOperationException">The trainer has run already.</exception>
    public TrainingResult Run(ITrainingObserver? observer = null, CancellationToken cancel = default) => Run(observer, checkpoints: null, cancel);

    /// <inheritdoc cref="Run(ITrainingObserver?, CancellationToken)"/>
    /// <param name="observer">Is told how it goes; optional.</param>
    /// <param name="checkpoints">Saves the state as the run goes on; optional.</param>
    /// <param name="cancel">Stops the run, also during what a rule does before training.</param>
    public TrainingResult Run(ITrainingObserver? observer, ICheckpoints? checkpoints, CancellationToken cancel)
    {
        if (_started) throw new InvalidOperationException("this trainer has run already; make a new one, with a new model or one to go on from");
        _started = true;
        (_observer, _checkpoints) = (observer, checkpoints);
        if (_data.Train.Shape is null) _observer?.OnNote($"{_feed.Threads} {(_feed.Threads == 1 ? "thread decodes" : "threads decode")} images by {ImageDecoder.Name}, {_feedOptions.BatchesAhead} batches ahead");
        if (_group.IsShared)
            _observer?.OnNote($"{_group.Size} processes by {_group.Description}: a batch of {_options.Batch} images, {Communicator.LargestShareOf(_options.PartBatch, _group.Size)} of each {(_options.Accumulate > 1 ? "part" : "batch")} for a process");
        _history.StartClock();
        try
        {
            return _history.Result(cancelled: !RunEpochs(cancel));
        }
        catch (NonFiniteLossException e)
        {
            e.Result = _history.Result(cancelled: false);
            throw;
        }
    }

    /// <inheritdoc/>
    /// <exception cref="InvalidOperationException">The run was stopped in the steps before training: it has no state to go on from, and
    /// is started anew.</exception>
    public void Walk(IStateWalker walker)
    {
        ArgumentNullException.ThrowIfNull(walker);
        if (_started && _prepared == 0) throw new InvalidOperationException("the run was stopped before its first step; start it anew");
        walker.Scalar("trainer.prepared", ref _prepared);
        _history.Walk(walker);
        // A run of fewer epochs also measured the alignment at its end.
        if (walker.Replaces) _history.KeepAlignment(layer => _measurements.Includes(layer.Step));
        _tally.Walk(walker);
        _feed.Walk(walker);
        _optimiser.Walk(walker);
        _model.Walk(walker);
        _average?.Walk(walker);
    }

    /// <summary>Runs something while the model has the averaged weights, if the run averages them.</summary>
    /// <param name="use">What to run.</param>
    public T WithAverage<T>(Func<T> use)
    {
        ArgumentNullException.ThrowIfNull(use);
        if (_average is null || Step == 0) return use();
        _average.Exchange();
        try
        {
            return use();
        }
        finally
        {
            _average.Exchange();
        }
    }

    /// <summary>Gives back the memory of the optimiser and of the feed.</summary>
    public void Dispose()
    {
        _shared?.Dispose();
        _average?.Dispose();
        _gradients?.Dispose();
        _optimiser.Dispose();
        _feed.Dispose();
    }

    /// <summary>Whether all epochs came to their end.</summary>
    private bool RunEpochs(CancellationToken cancel)
    {
        bool resumed = _prepared != 0;
        if (!resumed && !Prepare(cancel)) return false;
        // All processes would measure the same.
        using AlignmentProbe? probe = _measurements.IsOn && _group.IsFirst
            ? new AlignmentProbe(_model, _data.Test, Preprocessing, _options.LabelSmoothing)
            : null;
        using var results = new StepResults(_model);
        if (!resumed) Align(probe);
        IsBetweenSteps = true;
        while (_tally.Epoch <= _options.Epochs)
        {
            if (!RunEpoch(results, probe, cancel)) return false;
            _tally.BeginNext();
            IsBetweenSteps = true;
            _checkpoints?.Save(Step);
        }

        return true;
    }

    /// <summary>Whether what the rules do before training came to its end.</summary>
    private bool Prepare(CancellationToken cancel)
    {
        bool stops = false;
        try
        {
            foreach (ConvLayer layer in _model.Layers) layer.Feedback?.BeforeTraining(cancel);
            if (_options.NoisePretraining > 0) NoisePretraining.Run(_model, _optimiser, _gradients, _options, _group, _shared, cancel);
        }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested)
        {
            stops = true;
        }

        if (_group.Any(stops || cancel.IsCancellationRequested)) return false;
        _prepared = 1;
        return true;
    }

    /// <summary>Whether the epoch came to its end.</summary>
    private bool RunEpoch(StepResults results, AlignmentProbe? probe, CancellationToken cancel)
    {
        int epoch = (int)_tally.Epoch;
        // A run may go on from where all steps of the epoch are done, and its evaluation is not.
        if (_feed.Epoch == epoch) RunSteps(epoch, results, probe, cancel);
        if (_tally.Steps < StepsPerEpoch) return false;
        StateAgreement.Require(_group, this, _model.Backend);
        // The last update has no loss after it that would show a weight which is not finite.
        if (_model.FirstTensorNotFinite() is { } tensor)
            throw new NonFiniteLossException(epoch, _optimiser.Step - 1, _tally.Loss, $"{tensor}, after the update");
        Evaluation test;
        try
        {
            test = WithAverage(() => _evaluator.Run(_data.Test, Preprocessing, _feedOptions, _group, cancel));
        }
        catch (OperationCanceledException)
        {
            return false;
        }

        IsBetweenSteps = false;
        double waited = _checkpoints?.SecondsWaited ?? 0;
        var report = new EpochReport(
            epoch, _optimiser.Step, _optimiser.LearningRate, _tally.Loss, _tally.Top1, test.Loss, test.Top1, test.Top5, _tally.Speed,
            _history.Seconds, _tally.Waiting.Reading, _tally.Waiting.Decoding, _tally.Waiting.Resizing, _tally.Waiting.Uploading, waited - _waitedBefore);
        _waitedBefore = waited;
        _history.Add(report);
        if (_measurements.Includes(Step)) Align(probe);
        if (_observer is { } observer) WithAverage(() => Told(observer, report));
        Note(_tally.Waiting);
        return true;
    }

    private static bool Told(ITrainingObserver observer, EpochReport report)
    {
        observer.OnEpoch(report);
        return true;
    }

    /// <summary>Says once that the feed limits the speed, and which images are damaged.</summary>
    private void Note(in FeedWaiting waiting)
    {
        if (waiting.IsMuch && !_saidThatItWaits)
        {
            _saidThatItWaits = true;
            string threads = _feed.Threads == 1 ? "1 thread prepares them" : $"{_feed.Threads} threads prepare them";
            // As many as there are, or fewer: they share their cores with something else.
            string enough = waiting.EnoughThreads > _feed.Threads ? $"{waiting.EnoughThreads} on as many free cores would be enough" : "which would be enough if their cores did nothing else";
            _observer?.OnNote(FormattableString.Invariant(
                $"training waited {100 * waiting.ForBatches:F0} % of the epoch for images ({waiting.Stage}); {threads}, {enough}"));
        }

        if (_feed.Damaged.Count == _saidDamaged) return;
        _saidDamaged = _feed.Damaged.Count;
        _observer?.OnNote($"{_saidDamaged} images are damaged, and what could be decoded of them is used; the first: {_feed.Damaged.MinBy(d => d.Key).Value}");
    }

    private void RunSteps(int epoch, StepResults results, AlignmentProbe? probe, CancellationToken cancel)
    {
        _model.Resize(_feed.ShapeAt(epoch));
        _tally.StartClock(_feed.Times);
        // A batch that is taken is trained on: the feed's position is that of the model.
        while (!Stops(cancel) && NextBatch(results) is { } batch)
        {
            IsBetweenSteps = false;
            int before = Step;
            TrainOn(batch, results, cancel);
            if (before == 0) StateAgreement.Require(_group, this, _model.Backend);
            // At the end of an epoch, the report comes first.
            if (_measurements.Includes(Step) && Step % StepsPerEpoch != 0) AlignWithinEpoch(epoch, results, probe);
            if (_saveAgreed ?? IsSaveDue())
            {
                Finish(results);
                _checkpoints?.Save(Step);
            }
        }

        Finish(results);
        _tally.StopClock(_feed.Times);
    }

    /// <summary>Checks that the model can take the images of all epochs and of the test.</summary>
    private void RequireSizes()
    {
        if (_data.Train.Shape is not null) return;
        MapShape made = _model.Spec.Input;
        foreach (SizeChange change in _feedOptions.Images.ResizeSchedule)
        {
            if (change.Epoch > _options.Epochs)
                throw new ArgumentOutOfRangeException("resize schedule", change.Epoch, $"the run has {_options.Epochs} epochs");
            _model.RequireSize(made with { H = change.Size, W = change.Size }, backward: true);
        }

        _model.RequireSize(Preprocessing.Input, backward: false);
    }

    private Batch? NextBatch(StepResults results)
    {
        try
        {
            if (_options.Accumulate == 1 || _data.Train.Count - _feed.Position >= _options.Batch) return _feed.Next();
            // What is left is parts, but no whole step.
            _feed.Seek(_feed.Epoch + 1, 0);
            return null;
        }
        catch
        {
            // The steps before are whole, and a run can go on behind them once the image can be read. Results that are not read yet would be
            // summed with those of other processes, which have no error and are not here.
            if (_shared is null || results.Images == 0) Finish(results);
            throw;
        }
    }

    /// <summary>Reads the results of the last step: the state is then that between two steps.</summary>
    private void Finish(StepResults results)
    {
        if (results.Images > 0) ReadDeferred(results);
        IsBetweenSteps = true;
    }

    // Processes stop after the same step: with the results of a step, each says whether it wants to.
    private bool Stops(CancellationToken cancel) => _shared is null ? cancel.IsCancellationRequested : _stopAgreed;

    private bool IsSaveDue() => _checkpoints?.IsDue(Step) == true;

    private void TrainOn(Batch batch, StepResults results, CancellationToken cancel)
    {
        for (int part = 1; ; part++)
        {
            bool last = part == _options.Accumulate;
            if (_shared is null) TrainOnPart(batch, last, results);
            else TrainOnSharedPart(_shared, batch, last, results, cancel);
            if (last) return;
            batch = _feed.Next()!;
        }
    }

    private void TrainOnPart(Batch batch, bool last, StepResults results)
    {
        _feed.Load(batch, _model);
        using StepScope scope = _model.Backend.BeginStep();
        Forward(batch);
        if (!scope.IsDeferred)
        {
            results.Queue(batch);
            Read(results);
        }

        _model.Backward(batch.Count);
        _gradients?.AddPart();
        if (last) Update();
        scope.Complete();
        if (!scope.IsDeferred)
        {
            Report();
            return;
        }

        // This step is queued by now: the device computes it while the host looks at the one before.
        if (results.Images > 0) ReadDeferred(results);
        results.Queue(batch);
    }

    private void Forward(Batch batch)
    {
        _model.Forward(Pass.Train(batch.Count));
        _model.Loss(batch.Count, _options.LabelSmoothing, gradient: true);
    }

    /// <summary>The same with other processes, which compute the rest of the part.</summary>
    private void TrainOnSharedPart(SharedStep shared, Batch batch, bool last, StepResults results, CancellationToken cancel)
    {
        _feed.Load(batch, _model);
        shared.BeginForward(batch.Count, _options.PartBatch);
        using StepScope scope = _model.Backend.BeginStep();
        Forward(batch);
        if (scope.IsDeferred)
        {
            FinishDeferred(shared, batch, last, results, scope, cancel);
            return;
        }

        results.Queue(batch);
        (double loss, int top1, _) = results.Read();
        // Only this process knows where its loss is from, and only now.
        string? bad = double.IsFinite(loss) ? null : FirstBadValue(batch.Count);
        IGradientWatcher? watcher = shared.BeginBackward(loss, batch.Count, top1, cancel.IsCancellationRequested, _options.PartBatch);
        _model.Backward(batch.Count, observer: null, watcher);
        _gradients?.AddPart();
        if (last) shared.Finish();
        SharedResults all = shared.Results();
        _stopAgreed |= all.Stops;
        double mean = all.Loss / all.Images;
        if (!double.IsFinite(mean)) throw NotFinite(mean, WhereOf(bad));
        _tally.Add(mean, all.Images, all.Right);
        if (last) Update();
        scope.Complete();
        Report();
    }

    /// <summary>Queues the rest of a step with other processes, and looks at the step before meanwhile. All processes learn at the same place
    /// whether to stop or to save after this step.</summary>
    private void FinishDeferred(SharedStep shared, Batch batch, bool last, StepResults results, in StepScope scope, CancellationToken cancel)
    {
        _model.Backward(batch.Count, observer: null, shared.Begin(batch.Count, _options.PartBatch));
        _gradients?.AddPart();
        if (last) shared.Finish();
        if (last) Update();
        scope.Complete();
        SharedResults all = ReadShared(shared, results, cancel.IsCancellationRequested, last && IsSaveDue());
        _stopAgreed |= all.Stops;
        if (last) _saveAgreed = all.Saves;
        results.Queue(batch);
    }

    /// <summary>Reads the results of the last step, if they have not been read, and sums them over all processes.</summary>
    private SharedResults ReadShared(SharedStep shared, StepResults results, bool stops, bool saves)
    {
        int images = results.Images;
        (double loss, int top1, _) = images > 0 ? results.Read() : default;
        SharedResults all = shared.Exchange(new SharedResults(loss, images, top1, stops, saves));
        if (all.Images == 0) return all;
        double mean = all.Loss / all.Images;
        if (!double.IsFinite(mean)) throw NotFinite(mean, $"after the update, {WhereOf(double.IsFinite(loss) ? null : FirstBadValue(images))}");
        _tally.Add(mean, all.Images, all.Right);
        Report();
        return all;
    }

    /// <summary>Where the loss of the first process that has a bad one is from.</summary>
    private string WhereOf(string? bad)
    {
        Span<double> has = new double[_group.Size];
        has[_group.Rank] = bad is null ? 0 : 1;
        _group.Sum(has);
        int first = Math.Max(0, has.IndexOf(1));
        return $"{_group.Broadcast(bad ?? "the sum of the losses", first)} in process {first}";
    }

    private void Update()
    {
        int step = Step;
        _optimiser.Update();
        _average?.Update(step);
    }

    private void ReadDeferred(StepResults results)
    {
        if (_shared is not null)
        {
            _ = ReadShared(_shared, results, stops: false, saves: false);
            return;
        }

        Read(results, "after the update, ");
        Report();
    }

    private void Report()
    {
        if (!_tally.IsBetweenSteps) return;
        StepReport report = _tally.Report(StepsPerEpoch);
        _observer?.OnStep(report);
    }

    private void Read(StepResults results, string when = "")
    {
        int images = results.Images;
        (double sum, int top1, _) = results.Read();
        double loss = sum / images;
        if (!double.IsFinite(loss)) throw NotFinite(loss, when + FirstBadValue(images));
        _tally.Add(loss, images, top1);
    }

    private NonFiniteLossException NotFinite(double loss, string where) =>
        new((int)_tally.Epoch, ((int)_tally.Epoch - 1) * StepsPerEpoch + _tally.Steps, loss, where);

    /// <summary>Measures between two steps; the speed of the epoch is that of the steps alone.</summary>
    private void AlignWithinEpoch(int epoch, StepResults results, AlignmentProbe? probe)
    {
        Finish(results);
        long start = Stopwatch.GetTimestamp();
        Align(probe);
        _model.Resize(_feed.ShapeAt(epoch));
        _tally.LeaveOut(Stopwatch.GetElapsedTime(start));
    }

    private void Align(AlignmentProbe? probe)
    {
        if (probe is null) return;
        IReadOnlyList<LayerAlignment> layers = probe.Measure((double)Step / StepsPerEpoch, Step, _observer);
        _history.Add(layers);
        _observer?.OnAlignment(layers);
    }

    private string FirstBadValue(int images)
    {
        foreach (Block block in _model.Blocks)
        {
            foreach (ConvLayer layer in block.Units.Select(u => u.Layer))
            {
                if (HasBadValue(layer.Weight.Value, layer.Weight.Length)) return $"weights of {layer.Name}";
            }

            if (HasBadValue(block.Result, (long)images * block.Output.Length)) return $"output of {block.Name}";
        }

        return "the loss itself";
    }

    private bool HasBadValue(BufferView buffer, long length)
    {
        var values = new float[length];
        _model.Backend.DownloadFloats(buffer, values);
        return values.Any(v => !float.IsFinite(v));
    }
}
