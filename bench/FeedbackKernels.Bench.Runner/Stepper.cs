using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Training;

namespace FeedbackKernels.Bench;

/// <summary>Trains a model under one rule on one random batch.</summary>
internal sealed class Stepper : IDisposable
{
    private readonly Model _model;
    private readonly Sgd _sgd;
    private readonly int _images;
    private int _steps;

    /// <param name="backend">Where it trains.</param>
    /// <param name="spec">The model.</param>
    /// <param name="rule">The rule.</param>
    /// <param name="images">Images of the batch.</param>
    /// <param name="load">Whether there are images: none are needed where nothing is computed.</param>
    public Stepper(Backend backend, ModelSpec spec, FeedbackRule rule, int images, bool load = true)
    {
        _model = new Model(backend, spec, RuleSet.Of(rule), images, seed: 1);
        _sgd = new Sgd(_model, new TrainingOptions { Batch = images });
        _images = images;
        if (!load) return;
        var pixels = new float[checked(images * spec.Input.Length)];
        new RandomKey(1, RandomPurpose.User).FillGaussian(pixels, 1);
        _model.Load(pixels, [.. Enumerable.Range(0, images).Select(i => i % spec.Classes)]);
    }

    /// <summary>Runs a step without waiting: on a backend that queues its work, the step is then queued.</summary>
    public void Step()
    {
        using StepScope scope = _model.Backend.BeginStep();
        _model.Forward(Pass.Train(_images));
        _model.Loss(_images, 0, gradient: true);
        _model.Backward(_images);
        _sgd.Update(_steps++, 1e-3f);
        scope.Complete();
    }

    public void Dispose() => _model.Dispose();
}
