using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.State;

namespace FeedbackKernels.Training;

/// <summary>
/// Stochastic gradient descent with momentum, Nesterov's (Sutskever et al. 2013) or the classical one (Polyak 1964), coupled weight decay
/// (Krogh and Hertz 1992) and clipping by the norm of all gradients (Pascanu, Mikolov and Bengio 2013, algorithm 1):
/// <see cref="SgdStep"/>. One operation updates all parameters.
/// </summary>
public sealed class Sgd : Optimiser
{
    private readonly TrainingOptions _options;
    private readonly DeviceBuffer _velocities;
    private readonly DeviceBuffer? _feedbackVelocities, _clipFactor;
    private readonly BufferView[] _gradients;
    private readonly UpdateNoise? _noise;

    // In the order of their offsets. Of a weight, the layer is there; of others it is null.
    private readonly (Parameter Parameter, ConvLayer? Layer)[] _parameters;
    private readonly ConvLayer[] _layers;

    // Made once, so that a step allocates nothing.
    private readonly SlabSegment[] _segments;
    private readonly CoupledSegment[] _coupled;
    private readonly Moved _moved = new();

    /// <inheritdoc cref="Optimiser(Model, TrainingOptions, int)"/>
    public Sgd(Model model, TrainingOptions options, int stepsPerEpoch = 1) : base(model, options, stepsPerEpoch)
    {
        _options = options;
        ParameterSlab weights = model.Weights;
        _layers = [.. model.Layers];
        _parameters = [.. weights.Parameters.Select(p => (p, _layers.FirstOrDefault(layer => layer.Weight == p)))];
        _gradients = [.. model.Parameters.Select(p => (BufferView)p.Gradient)];
        _segments = new SlabSegment[_parameters.Length];
        _coupled = new CoupledSegment[_layers.Length];
        Backend backend = model.Backend;
        if (options.UpdateNoise > 0) _noise = new UpdateNoise(model, options);
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
        UpdateWeights(plain, step);
        SgdStep unclipped = plain with { GradientFactor = default };
        UpdateFeedback(unclipped, step, clipped: false);
        UpdateFeedback(plain, step, clipped: true);
        _noise?.Add(step, learningRate);
        foreach (ConvLayer layer in _layers)
        {
            if (layer.Feedback is not { } feedback) continue;
            UpdateTerms terms = TermsOf(layer, step);
            _moved.By = unclipped with { WeightDecay = terms.WeightDecay, Shrink = terms.Shrink };
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
        _noise?.Dispose();
    }

    // B where this optimiser moves it.
    private static Parameter? MovingFeedback(ConvLayer layer) =>
        layer.Feedback is { Update: not FeedbackUpdate.ByRule } feedback ? feedback.LearnedWeights : null;

    private UpdateTerms TermsOf(ConvLayer? layer, int step)
    {
        var terms = new UpdateTerms(_options.WeightDecay);
        return layer?.Feedback?.Adjust(terms, step) ?? terms;
    }

    private void UpdateWeights(in SgdStep plain, int step)
    {
        int plainCount = 0, coupledCount = 0;
        foreach ((Parameter parameter, ConvLayer? layer) in _parameters)
        {
            UpdateTerms terms = parameter.Decays ? TermsOf(layer, step) : new UpdateTerms(0);
            if (layer?.Feedback is { Update: FeedbackUpdate.LikeWeights, OwnWeights: { } b })
                _coupled[coupledCount++] = new CoupledSegment(layer.Shape(), parameter.Offset, b.Offset, terms.WeightDecay, terms.Shrink);
            else _segments[plainCount++] = new SlabSegment(parameter.Offset, parameter.Length, terms.WeightDecay, terms.Shrink);
        }

        ParameterSlab weights = Model.Weights;
        if (plainCount > 0)
        {
            Model.Backend.SgdUpdateSlab(
                _segments.AsSpan(0, plainCount), weights.Values, weights.Gradients, _velocities, plain, weights.Copies);
        }

        if (coupledCount == 0) return;
        ParameterSlab feedback = Model.FeedbackWeights!;
        Model.Backend.SgdUpdateCoupledSlab(
            _coupled.AsSpan(0, coupledCount), weights.Values, weights.Gradients, _velocities, feedback.Values, _feedbackVelocities, plain,
            weights.Copies, feedback.Copies);
    }

    private void UpdateFeedback(in SgdStep plain, int step, bool clipped)
    {
        int count = 0;
        foreach ((_, ConvLayer? layer) in _parameters)
        {
            if (layer?.Feedback is not { Update: FeedbackUpdate.ByGradient, LearnedWeights: { } b } feedback || feedback.IsClippedLikeWeights != clipped) continue;
            if (!feedback.LearnsFromActivity) feedback.ComputeGradient(step);
            UpdateTerms terms = feedback.AdjustLearned(new UpdateTerms(_options.WeightDecay), step);
            _segments[count++] = new SlabSegment(b.Offset, b.Length, terms.WeightDecay, terms.Shrink);
        }

        if (count == 0) return;
        ParameterSlab slab = Model.FeedbackWeights!;
        Model.Backend.SgdUpdateSlab(_segments.AsSpan(0, count), slab.Values, slab.Gradients, _feedbackVelocities, plain, slab.Copies);
    }

    private sealed class Moved : WeightUpdate
    {
        public SgdStep By { get; set; }

        public override double ApplyTo(double value, ref double velocity) => By.Apply(value, gradient: 0, ref velocity);
    }
}
