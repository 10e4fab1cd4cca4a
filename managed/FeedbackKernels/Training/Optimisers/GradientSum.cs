using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;

namespace FeedbackKernels.Training;

/// <summary>
/// Gradient accumulation: the mean of the gradients of the parts of a step, also of B where it learns from activity. It takes the place of
/// the gradient of the last part, so the optimiser, and rules that look at gradients, see one step.
/// </summary>
internal sealed class GradientSum : IDisposable
{
    // w - rate * (gradient) with a rate of -1 adds.
    private static readonly SgdStep Sum = new(LearningRate: -1);

    private readonly Backend _backend;
    private readonly int _parts;
    private readonly List<(DeviceBuffer Gradients, DeviceBuffer Sum, DeviceBuffer Scratch)> _slabs = [];
    private int _part;

    /// <summary>Allocates memory for the sum.</summary>
    /// <param name="model">Planned for training; stays the caller's.</param>
    /// <param name="parts">Parts of a step, 2 or more.</param>
    public GradientSum(Model model, int parts)
    {
        (_backend, _parts) = (model.Backend, parts);
        try
        {
            Add(model.Weights, "gradients");
            if (model.Layers.Any(layer => layer.Feedback is { LearnsFromActivity: true })) Add(model.FeedbackWeights!, "gradients of feedback weights");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Adds the gradients of the next part, all of which are as large; after the last part, they are replaced by the mean.</summary>
    public void AddPart()
    {
        _part++;
        foreach ((DeviceBuffer gradients, DeviceBuffer sum, DeviceBuffer scratch) in _slabs)
        {
            if (_part == 1) _backend.Convert(sum.Length, gradients, sum);
            else if (_part < _parts) _backend.SgdUpdateSlab([new SlabSegment(0, sum.Length, 0)], sum, gradients, scratch, Sum);
            else _backend.SgdUpdateSlab([new SlabSegment(0, sum.Length, 0, Shrink: 1f / _parts)], gradients, sum, scratch, Sum);
        }

        if (_part == _parts) _part = 0;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach ((_, DeviceBuffer sum, DeviceBuffer scratch) in _slabs)
        {
            sum.Dispose();
            scratch.Dispose();
        }
    }

    private void Add(ParameterSlab slab, string name)
    {
        DeviceBuffer sum = _backend.Allocate(slab.Length, $"sum of {name}");
        try
        {
            _slabs.Add((slab.Gradients!, sum, _backend.Allocate(slab.Length, $"scratch of the sum of {name}")));
        }
        catch
        {
            sum.Dispose();
            throw;
        }
    }
}
