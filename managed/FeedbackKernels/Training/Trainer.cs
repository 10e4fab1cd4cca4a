using System.Diagnostics;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;

namespace FeedbackKernels.Training;

/// <summary>Trains a model on a data set.</summary>
public sealed class Trainer
{
    private readonly Model _model;
    private readonly DataSet _data;
    private readonly TrainingOptions _options;
    private readonly Normalisation _normalisation;
    private readonly Evaluator _evaluator;
    private readonly Sgd _sgd;
    private readonly float[] _losses;
    private readonly List<EpochReport> _epochs = [];
    private readonly List<LayerAlignment> _alignment = [];
    private ITrainingObserver? _observer;

    /// <summary>Checks that everything fits together.</summary>
    /// <param name="model">Planned for training and for the batch of the options.</param>
    /// <param name="data">Images of the model's size and classes.</param>
    /// <param name="options">Settings.</param>
    /// <exception cref="ArgumentException">They do not.</exception>
    public Trainer(Model model, DataSet data, TrainingOptions options)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(data);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        if (data.Train.Shape != model.Spec.Input || data.Train.Classes != model.Spec.Classes)
        {
            throw new ArgumentException(
                $"images of {data.Train.Shape} in {data.Train.Classes} classes, the model takes {model.Spec.Input} in {model.Spec.Classes}", nameof(data));
        }

        if (options.Batch > data.Train.Count)
            throw new ArgumentException($"a batch of {options.Batch} out of {data.Train.Count} training images", nameof(options));
        if (options.Batch > model.MaxBatch)
            throw new ArgumentException($"a batch of {options.Batch}, the model is planned for {model.MaxBatch}", nameof(options));
        (_model, _data, _options) = (model, data, options);
        _normalisation = Normalisation.Of(data.Train, options.Normalisation);
        _evaluator = new Evaluator(model);
        _sgd = new Sgd(model, options);
        _losses = new float[model.MaxBatch];
    }

    /// <summary>
    /// Runs all epochs, or until the token is cancelled: then the step in hand is finished and what there is returned.
    /// </summary>
    /// <param name="observer">Is told how it goes; optional.</param>
    /// <param name="cancel">Stops the run.</param>
    /// <exception cref="NonFiniteLossException">The loss became NaN or infinite.</exception>
    public TrainingResult Run(ITrainingObserver? observer = null, CancellationToken cancel = default)
    {
        _observer = observer;
        long start = Stopwatch.GetTimestamp();
        foreach (ConvLayer layer in _model.Layers) layer.Feedback?.BeforeTraining();
        using AlignmentProbe? probe = _options.AlignEvery > 0
            ? new AlignmentProbe(_model, _data.Test, _normalisation, _options.LabelSmoothing)
            : null;
        Align(probe, 0, 0);
        bool cancelled = false;
        for (int epoch = 1; epoch <= _options.Epochs && !cancelled; epoch++)
            cancelled = !RunEpoch(epoch, start, probe, cancel);
        double speed = _epochs.Count == 0 ? 0 : _epochs.Select(e => e.ImagesPerSecond).Order().ElementAt(_epochs.Count / 2);
        return new TrainingResult(_epochs, _alignment, speed, Stopwatch.GetElapsedTime(start).TotalSeconds, cancelled);
    }

    /// <summary>Whether the epoch came to its end.</summary>
    private bool RunEpoch(int epoch, long start, AlignmentProbe? probe, CancellationToken cancel)
    {
        using BatchLoader loader = BatchLoader.Train(
            _data.Train, _normalisation, _options.Augmentation, _options.Batch, _options.Seed, epoch);
        double lossSum = 0;
        int right = 0, seen = 0, step = (epoch - 1) * loader.Batches, stepsDone = 0;
        float rate = 0;
        long epochStart = Stopwatch.GetTimestamp();
        double speed = 0;
        while (loader.Next() is { } batch)
        {
            if (cancel.IsCancellationRequested) return false;
            rate = _options.Schedule.At(step, loader.Batches, _options.Epochs);
            double loss = Step(batch, epoch, step, rate);
            lossSum += loss * batch.Count;
            seen += batch.Count;
            right += _evaluator.CountRight(batch).Top1;
            step++;
            speed = seen / Stopwatch.GetElapsedTime(epochStart).TotalSeconds;
            _observer?.OnStep(new StepReport(epoch, ++stepsDone, loader.Batches, lossSum / seen, (double)right / seen, speed));
        }

        Evaluation test;
        try
        {
            test = _evaluator.Run(_data.Test, _normalisation, cancel);
        }
        catch (OperationCanceledException)
        {
            return false;
        }

        var report = new EpochReport(
            epoch, step, rate, lossSum / seen, (double)right / seen, test.Loss, test.Top1, test.Top5, speed,
            Stopwatch.GetElapsedTime(start).TotalSeconds);
        _epochs.Add(report);
        if (_options.AlignEvery > 0 && (epoch % _options.AlignEvery == 0 || epoch == _options.Epochs)) Align(probe, epoch, step);
        _observer?.OnEpoch(report);
        return true;
    }

    private double Step(Batch batch, int epoch, int step, float rate)
    {
        Evaluator.LoadBatch(_model, batch);
        using StepScope scope = _model.Backend.BeginStep();
        _model.Forward(Pass.Train(batch.Count));
        _model.Loss(batch.Count, _options.LabelSmoothing, gradient: true);
        // A step that runs as a whole is looked at when it has: to wait for the loss in its midst would leave the device idle.
        double loss = scope.IsDeferred ? 0 : CheckedLoss(batch.Count, epoch, step);
        _model.Backward(batch.Count);
        _sgd.Update(step, rate);
        scope.Complete();
        return scope.IsDeferred ? CheckedLoss(batch.Count, epoch, step, "after the update, ") : loss;
    }

    private double CheckedLoss(int images, int epoch, int step, string when = "")
    {
        _model.ReadLosses(_losses.AsSpan(0, images));
        double loss = 0;
        for (int i = 0; i < images; i++) loss += _losses[i];
        loss /= images;
        return double.IsFinite(loss) ? loss : throw new NonFiniteLossException(epoch, step, loss, when + FirstBadValue(images));
    }

    private void Align(AlignmentProbe? probe, int epoch, int step)
    {
        if (probe is null) return;
        IReadOnlyList<LayerAlignment> layers = probe.Measure(epoch, step);
        _alignment.AddRange(layers);
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
