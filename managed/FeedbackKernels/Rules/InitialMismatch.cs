using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.State;

namespace FeedbackKernels.Rules;

/// <summary>
/// A B that is computed instead of learned: B and a tensor get the same updates, so that their difference sees no gradient and is its
/// initial value times a scalar r. <c>B_t = T_tᵀ + r_t (B_0 - T_0ᵀ)</c>, where T is W under Kolen-Pollack.
/// </summary>
/// <param name="layer">The layer.</param>
/// <param name="b">Its B.</param>
internal sealed class InitialMismatch(ConvLayer layer, Parameter b) : IDisposable
{
    private readonly DeviceBuffer _difference = layer.Backend.Allocate(b.Length, $"{layer.Name} initial mismatch");
    private double _factor = 1, _velocity;

    /// <summary>Keeps the difference of the present B and the tensor.</summary>
    /// <param name="tensor">T, in W's layout.</param>
    public void Start(BufferView tensor)
    {
        layer.Backend.TransposedCombine(layer.Shape(), -1, tensor, 1, b.Value, _difference);
        (_factor, _velocity) = (1, 0);
    }

    /// <summary>Computes B after an update.</summary>
    /// <param name="update">The update that W got.</param>
    /// <param name="tensor">T after it.</param>
    public void Follow(WeightUpdate update, BufferView tensor)
    {
        _factor = update.ApplyTo(_factor, ref _velocity);
        layer.Backend.TransposedCombine(layer.Shape(), 1, tensor, (float)_factor, _difference, b.Value, b.Copy);
    }

    /// <summary>Names the state for checkpoints.</summary>
    public void Walk(IStateWalker walker)
    {
        walker.Tensor($"{b.Name}.initial_mismatch", b.Sizes, _difference);
        walker.Scalar($"{b.Name}.mismatch_factor", ref _factor);
        walker.Scalar($"{b.Name}.mismatch_velocity", ref _velocity);
    }

    /// <inheritdoc/>
    public void Dispose() => _difference.Dispose();
}
