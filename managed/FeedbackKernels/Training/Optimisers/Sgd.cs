using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.State;

namespace FeedbackKernels.Training;

/// <summary>
/// Stochastic gradient descent with momentum, Nesterov's or the classical one, coupled weight decay and clipping by the norm of all
/// gradients: <see cref="SgdStep"/>. One operation updates all parameters.
/// </summary>
public sealed class Sgd : Optimiser
{
    private readonly TrainingOptions _options;
    private readonly DeviceBuffer _velocities;
    private readonly DeviceBuffer? _feedbackVelocities, _clipFactor;
    private readonly BufferView[] _gradients;

    // In the order of their offsets. Of a weight, the layer is there; of others it is null.
    private readonly (Parameter Parameter, ConvLayer? Layer)[] _parameters;
    private readonly ConvLayer[] _layers;

    // What an update collects before each call of the backend: made once, so that a step allocates nothing.
    private readonly SlabSegment[] _segments;
    private readonly CoupledSegment[] _coupled;
    private readonly SgdStep[] _steps = new SgdStep[Backend.MostSgdSteps];
    private readonly Moved _moved = new();
    private int _segmentCount, _coupledCount, _stepCount;

    /// <inheritdoc cref="Optimiser(Model, TrainingOptions, int)"/>
    public Sgd(Model model, TrainingOptions options, int stepsPerEpoch = 1) : base(model, options, stepsPerEpoch)
    {
        _options = options;
        ParameterSlab weights = model.Weights;
        _layers = [.. model.Layers];
        _parameters = [.. weights.Parameters.Select(p => (p, _layers.FirstOrDefault(layer => layer.Weight == p)))];
        _gradients = [.. model.Parameters.Select(p => (BufferView)p.Gradient)];
        _segments = new SlabSegment[_parameters.Length + _layers.Length];
        _coupled = new CoupledSegment[_layers.Length];
        Backend backend = model.Backend;
        _velocities = backend.Allocate(weights.Length, "velocities");
        if (options.ClipNorm > 0) _clipFactor = backend.Allocate(1, "clip factor");
        long moving = _layers.Select(MovingFeedback).OfType<Parameter>().Select(p => p.Offset + p.Length).DefaultIfEmpty(0).Max();
        if (moving > 0) _feedbackVelocities = backend.Allocate(moving, "velocities of feedback weights");
    }

    /// <inheritdoc/>
    public override void Update(int step, float learningRate)
    {
        if (_clipFactor is not null) Model.Backend.ClipFactor(_gradients, _options.ClipNorm, _clipFactor);
        var plain = new SgdStep(learningRate, _options.Momentum, 0, _options.Nesterov, GradientFactor: _clipFactor);
        foreach ((Parameter parameter, ConvLayer? layer) in _parameters)
        {
            UpdateTerms terms = layer is null ? new UpdateTerms(0) : TermsOf(layer, step);
            if (_stepCount == _steps.Length) Launch();
            int number = NumberOf(plain with { WeightDecay = terms.WeightDecay, Shrink = terms.Shrink });
            if (layer?.Feedback is { Update: FeedbackUpdate.LikeWeights, OwnWeights: { } b })
                _coupled[_coupledCount++] = new CoupledSegment(layer.Shape(), parameter.Offset, b.Offset, number);
            else _segments[_segmentCount++] = new SlabSegment(parameter.Offset, parameter.Length, number);
        }

        Launch();
        UpdateFeedback(step, plain with { GradientFactor = default });
        foreach (ConvLayer layer in _layers)
        {
            if (layer.Feedback is not { } feedback) continue;
            UpdateTerms terms = TermsOf(layer, step);
            _moved.By = plain with { WeightDecay = terms.WeightDecay, Shrink = terms.Shrink };
            feedback.AfterUpdate(_moved, step);
        }
    }

    /// <inheritdoc/>
    public override void Walk(IStateWalker walker)
    {
        base.Walk(walker);
        foreach ((Parameter parameter, _) in _parameters)
            walker.Tensor($"{parameter.Name}.velocity", parameter.Sizes, _velocities.Slice(parameter.Offset, parameter.Length, parameter.Name));
        foreach (Parameter b in _layers.Select(MovingFeedback).OfType<Parameter>())
            walker.Tensor($"{b.Name}.velocity", b.Sizes, _feedbackVelocities!.Slice(b.Offset, b.Length, b.Name));
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        _velocities.Dispose();
        _feedbackVelocities?.Dispose();
        _clipFactor?.Dispose();
    }

    // B where this optimiser moves it.
    private static Parameter? MovingFeedback(ConvLayer layer) =>
        layer.Feedback is { Update: not FeedbackUpdate.ByRule } feedback ? feedback.OwnWeights : null;

    private UpdateTerms TermsOf(ConvLayer layer, int step)
    {
        var terms = new UpdateTerms(_options.WeightDecay);
        return layer.Feedback?.Adjust(terms, step) ?? terms;
    }

    /// <summary>The place of a step among those collected, where it is put if it is not there yet.</summary>
    private int NumberOf(in SgdStep step)
    {
        for (int i = 0; i < _stepCount; i++)
        {
            if (_steps[i].WeightDecay == step.WeightDecay && _steps[i].Shrink == step.Shrink) return i;
        }

        _steps[_stepCount] = step;
        return _stepCount++;
    }

    private void Launch()
    {
        Backend backend = Model.Backend;
        ParameterSlab weights = Model.Weights;
        ReadOnlySpan<SgdStep> steps = _steps.AsSpan(0, _stepCount);
        if (_segmentCount > 0)
            backend.SgdUpdateSlab(_segments.AsSpan(0, _segmentCount), steps, weights.Values, weights.Gradients, _velocities, weights.Copies);
        if (_coupledCount > 0)
        {
            ParameterSlab feedback = Model.FeedbackWeights!;
            backend.SgdUpdateCoupledSlab(
                _coupled.AsSpan(0, _coupledCount), steps, weights.Values, weights.Gradients, _velocities, feedback.Values, _feedbackVelocities,
                weights.Copies, feedback.Copies);
        }

        (_segmentCount, _coupledCount, _stepCount) = (0, 0, 0);
    }

    private void UpdateFeedback(int step, in SgdStep plain)
    {
        foreach (ConvLayer layer in _layers)
        {
            if (layer.Feedback is not { Update: FeedbackUpdate.ByGradient, OwnWeights: { } b } feedback) continue;
            feedback.ComputeGradient(step);
            _segments[_segmentCount++] = new SlabSegment(b.Offset, b.Length, 0);
        }

        if (_segmentCount == 0) return;
        // Layers come in the order of the forward pass, and lie in that of the backward pass.
        _segments.AsSpan(0, _segmentCount).Sort((a, b) => a.Offset.CompareTo(b.Offset));
        ParameterSlab slab = Model.FeedbackWeights!;
        Model.Backend.SgdUpdateSlab(_segments.AsSpan(0, _segmentCount), [plain], slab.Values, slab.Gradients, _feedbackVelocities, slab.Copies);
        _segmentCount = 0;
    }

    private sealed class Moved : WeightUpdate
    {
        public SgdStep By { get; set; }

        public override double ApplyTo(double value, ref double velocity)
        {
            double gradient = By.WeightDecay * value;
            velocity = By.Momentum * velocity + gradient;
            double move = By.Nesterov ? gradient + By.Momentum * velocity : velocity;
            return By.Shrink * (value - By.LearningRate * move);
        }
    }
}
