using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Bench;

/// <summary>One layer under the weight mirror, outside of a model, with random W.</summary>
internal sealed class LayerMirror : IDisposable
{
    private const ulong Seed = 1;

    // Any layer except the first of a model, which has no feedback.
    private const uint Index = 1;

    private readonly ConvLayer _layer;
    private readonly Feedback _feedback;
    private readonly DeviceBuffer _noise, _velocity;
    private int _steps;

    /// <summary>The convolutions of a model that have a mirror and a name with some text in it. The first one sends no error to its input and
    /// has no B.</summary>
    /// <param name="model">Name of the model.</param>
    /// <param name="batch">Images.</param>
    /// <param name="text">The text; empty for all.</param>
    public static IEnumerable<LayerShape> LayersOf(string model, int batch, string text) =>
        LayerShapes.Of(model, batch).Skip(1).Where(layer => layer.Name.Contains(text, StringComparison.Ordinal));

    /// <summary>Draws W and B.</summary>
    /// <param name="backend">Where they are allocated; not disposed with this object.</param>
    /// <param name="shape">Sizes of the layer.</param>
    /// <param name="rule">The rule; its warm-up is skipped.</param>
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

    /// <summary>Does what the rule does after an update of W.</summary>
    public void Step() => _feedback.AfterUpdate(new Unmoved(), _steps++);

    /// <summary>Moves W in a random direction without changing its norm: a random walk, like that of W in training while the
    /// gradients are mostly noise.</summary>
    /// <param name="rate">Length of the move relative to the norm of W, 0 to below 1.</param>
    public void Drift(float rate)
    {
        Backend backend = _layer.Backend;
        Parameter w = _layer.Weight;
        // shrink * (W - size / shrink * noise) keeps the variance if shrink² + (size / deviation)² = 1.
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

    /// <summary>No update. The mirror does not use it.</summary>
    private sealed class Unmoved : WeightUpdate
    {
        public override double ApplyTo(double value, ref double velocity) => value;
    }
}
