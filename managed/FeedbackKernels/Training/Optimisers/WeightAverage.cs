using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.State;

namespace FeedbackKernels.Training;

/// <summary>
/// Exponential moving average of weights, biases and batch norms with their running statistics, as torchvision averages parameters and
/// buffers: average = decay * average + (1 - decay) * weights, after each step. The decay of step t, from 0, is at most
/// (1 + t) / (10 + t), as TensorFlow's ExponentialMovingAverage has it, so that an average is not held by the initial weights; the first
/// step copies. B is not averaged: it is not used in evaluation.
/// </summary>
internal sealed class WeightAverage : IState, IDisposable
{
    private readonly Model _model;
    private readonly float _decay;
    private readonly DeviceBuffer _weights, _scratch;
    private readonly (string Name, DeviceBuffer Value, DeviceBuffer Average)[] _statistics;

    /// <summary>Allocates memory for the average.</summary>
    /// <param name="model">Planned for training; stays the caller's.</param>
    /// <param name="decay">Above 0, below 1.</param>
    public WeightAverage(Model model, float decay)
    {
        (_model, _decay) = (model, decay);
        Backend backend = model.Backend;
        _weights = backend.Allocate(model.Weights.Length, "average of weights");
        _scratch = backend.Allocate(model.Norms.Select(norm => (long)norm.Channels).Append(1).Max(), "scratch of the average");
        _statistics =
        [
            .. model.Norms.SelectMany(norm => ((string, DeviceBuffer, DeviceBuffer)[])
            [
                ($"{norm.Name}.running_mean", norm.RunningMean, backend.Allocate(norm.Channels, $"average of {norm.Name}.running_mean")),
                ($"{norm.Name}.running_var", norm.RunningVariance, backend.Allocate(norm.Channels, $"average of {norm.Name}.running_var")),
            ]),
        ];
    }

    /// <summary>Brings the weights of a step into the average. Overwrites the gradients, which the step no longer needs.</summary>
    /// <param name="step">Number of the step, from 0.</param>
    public void Update(int step)
    {
        float decay = DecayAt(step);
        Blend(_model.Weights.Values, _weights, _model.Weights.Gradients!, decay);
        foreach ((_, DeviceBuffer value, DeviceBuffer average) in _statistics) Blend(value, average, _scratch, decay);
    }

    /// <summary>Exchanges average and weights. A second call puts the weights back, with the same bits. Overwrites the gradients.</summary>
    public void Exchange()
    {
        Exchange(_model.Weights.Values, _weights, _model.Weights.Gradients!);
        foreach ((_, DeviceBuffer value, DeviceBuffer average) in _statistics) Exchange(value, average, _scratch);
        _model.RefreshCopies();
    }

    /// <inheritdoc/>
    public void Walk(IStateWalker walker)
    {
        ArgumentNullException.ThrowIfNull(walker);
        foreach (Parameter parameter in _model.Weights.Parameters)
            walker.Tensor($"{parameter.Name}.average", parameter.Sizes, _weights.Slice(parameter.Offset, parameter.Length, parameter.Name));
        foreach ((string name, _, DeviceBuffer average) in _statistics) walker.Tensor($"{name}.average", [checked((int)average.Length)], average);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _weights.Dispose();
        _scratch.Dispose();
        foreach ((_, _, DeviceBuffer average) in _statistics) average.Dispose();
    }

    private float DecayAt(int step) => step == 0 ? 0 : Math.Min(_decay, (1f + step) / (10 + step));

    private void Blend(DeviceBuffer value, DeviceBuffer average, DeviceBuffer scratch, float decay)
    {
        if (decay == 0)
        {
            _model.Backend.Convert(value.Length, value, average);
            return;
        }

        // SGD towards the weights: average - (1 - decay) * (average - weights).
        var towards = new SgdStep(1 - decay, WeightDecay: 1, GradientScale: -1);
        _model.Backend.SgdUpdate(value.Length, average, value, scratch, towards);
    }

    private void Exchange(DeviceBuffer a, DeviceBuffer b, DeviceBuffer scratch)
    {
        Backend backend = _model.Backend;
        backend.Convert(a.Length, a, scratch);
        backend.Convert(a.Length, b, a);
        backend.Convert(a.Length, scratch, b);
    }
}
