using FeedbackKernels.Interop;
using FeedbackKernels.Models;

namespace FeedbackKernels.Training;

/// <summary>
/// Gradient accumulation: the mean of the gradients of the parts of a step. It takes the place of the gradient of the last part, so the
/// optimiser, and rules that look at gradients, see one step.
/// </summary>
internal sealed class GradientSum : IDisposable
{
    // w - rate * (gradient) with a rate of -1 adds.
    private static readonly SgdStep Add = new(LearningRate: -1);

    private readonly Model _model;
    private readonly int _parts;
    private readonly DeviceBuffer _sum, _scratch;
    private int _part;

    /// <summary>Allocates memory for the sum.</summary>
    /// <param name="model">Planned for training; stays the caller's.</param>
    /// <param name="parts">Parts of a step, 2 or more.</param>
    public GradientSum(Model model, int parts)
    {
        (_model, _parts) = (model, parts);
        _sum = model.Backend.Allocate(model.Weights.Length, "sum of gradients");
        try
        {
            _scratch = model.Backend.Allocate(model.Weights.Length, "scratch of the sum of gradients");
        }
        catch
        {
            _sum.Dispose();
            throw;
        }
    }

    /// <summary>Adds the gradients of the next part, all of which are as large; after the last part, they are replaced by the mean.</summary>
    public void AddPart()
    {
        Backend backend = _model.Backend;
        DeviceBuffer gradients = _model.Weights.Gradients!;
        _part++;
        if (_part == 1) backend.Convert(_sum.Length, gradients, _sum);
        else if (_part < _parts) backend.SgdUpdateSlab([new SlabSegment(0, _sum.Length, 0)], _sum, gradients, _scratch, Add);
        else backend.SgdUpdateSlab([new SlabSegment(0, _sum.Length, 0, Shrink: 1f / _parts)], gradients, _sum, _scratch, Add);
        if (_part == _parts) _part = 0;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _sum.Dispose();
        _scratch.Dispose();
    }
}
