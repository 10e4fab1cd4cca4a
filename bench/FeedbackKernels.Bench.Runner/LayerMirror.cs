using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Bench;

/// <summary>One layer under the weight mirror, outside any model: W with random weights and the rule's own feedback.</summary>
internal sealed class LayerMirror : IDisposable
{
    private const ulong Seed = 1;

    // Any layer but a model's first, which has no feedback.
    private const uint Index = 1;

    private readonly ConvLayer _layer;
    private readonly Feedback _feedback;
    private readonly DeviceBuffer _noise, _velocity;
    private int _steps;

    /// <summary>Draws W and B.</summary>
    /// <param name="backend">Where they live; stays the caller's.</param>
    /// <param name="shape">Sizes.</param>
    /// <param name="rule">The mirror; its warm-up is left out.</param>
    public LayerMirror(Backend backend, in ConvShape shape, WeightMirror rule)
    {
        _layer = new ConvLayer(backend, "layer", Index, shape, bias: false, WeightInit.He);
        _noise = backend.Allocate(shape.WeightLength, "noise");
        _velocity = backend.Allocate(shape.WeightLength, "velocity");
        _feedback = rule.Attach(_layer, new LayerPlace(Seed, Classes: 10, shape.N))!;
        _layer.Initialise(Seed);
        _feedback.Initialise();
    }

    /// <summary>Angle between W and Bᵀ in degrees.</summary>
    public double AngleDegrees =>
        _layer.Backend.Align(_layer.Shape(), _layer.Weight.Value, _feedback.OwnWeights!.Value).AngleDegrees;

    /// <summary>What the rule does after an update.</summary>
    public void Step() => _feedback.AfterUpdate(new Unmoved(), _steps++);

    /// <summary>Moves W by a share of its norm in a random direction, keeping the norm: a random walk, as of a W in training
    /// whose gradients are mostly noise.</summary>
    /// <param name="rate">The share, 0 to below 1.</param>
    public void Drift(float rate)
    {
        Backend backend = _layer.Backend;
        Parameter w = _layer.Weight;
        // shrink * (W - size / shrink * noise) keeps the variance where shrink² + (size / deviation)² = 1.
        float shrink = MathF.Sqrt(1 - rate * rate), size = rate * _layer.Init.StandardDeviation(_layer.Shape());
        backend.FillGaussian(_noise, new RandomKey(Seed, RandomPurpose.User, Index, (uint)_steps), 1);
        backend.SgdUpdate(w.Length, w.Value, _noise, _velocity, new SgdStep(size / shrink, Shrink: shrink), w.Copy);
    }

    public void Dispose()
    {
        _feedback.Dispose();
        _layer.Feedback = null;
        _layer.Dispose();
        _noise.Dispose();
        _velocity.Dispose();
    }

    /// <summary>No update: the mirror does not look at it.</summary>
    private sealed class Unmoved : WeightUpdate
    {
        public override double ApplyTo(double value, ref double velocity) => value;
    }
}
