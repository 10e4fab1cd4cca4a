using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;

namespace FeedbackKernels.Training;

/// <summary>Which updates get noise.</summary>
public enum NoisyUpdates
{
    /// <summary>Those of all parameters, and of feedback weights that the optimiser moves.</summary>
    All,

    /// <summary>Those of feedback weights that the optimiser moves.</summary>
    Feedback,
}

/// <summary>
/// Normal noise on each update, for studies of robustness (Kunin et al. 2020, section 5; their build_noisy_optimizer): after the update,
/// w += learning rate * deviation * noise. W and B get independent noise. What rules move by themselves gets none.
/// </summary>
internal sealed class UpdateNoise : IDisposable
{
    private readonly ulong _seed;
    private readonly float _deviation;
    private readonly List<Target> _targets = [];

    /// <summary>Allocates memory for the noise.</summary>
    /// <param name="model">Planned for training; stays the caller's.</param>
    /// <param name="options">Settings; the deviation is above 0.</param>
    /// <exception cref="ArgumentException">A rule supposes that updates have no noise.</exception>
    public UpdateNoise(Model model, TrainingOptions options)
    {
        (_seed, _deviation) = (options.Seed, options.UpdateNoise);
        if (model.Layers.FirstOrDefault(layer => layer.Feedback is { SupposesEqualUpdates: true }) is { Feedback: { } exact } layer)
        {
            throw new ArgumentException(
                $"update noise: {layer.Name} learns by {exact.RuleName}, which computes B from W as if both got the same updates; it cannot be combined with noise on updates",
                nameof(options));
        }

        Parameter[] feedback = [.. model.FeedbackWeights?.Parameters.Where(IsMoved) ?? []];
        if (options.UpdateNoiseOn == NoisyUpdates.All) _targets.Add(new Target(model.Weights, model.Weights.Parameters, RandomPurpose.UpdateNoise));
        if (feedback.Length > 0) _targets.Add(new Target(model.FeedbackWeights!, feedback, RandomPurpose.FeedbackUpdateNoise));

        bool IsMoved(Parameter parameter) =>
            model.Layers.Any(l => l.Feedback is { Update: not FeedbackUpdate.ByRule } moved && moved.LearnedWeights == parameter);
    }

    /// <summary>Adds the noise of a step.</summary>
    /// <param name="step">Number of the step, from 0.</param>
    /// <param name="learningRate">Its learning rate.</param>
    public void Add(int step, float learningRate)
    {
        foreach (Target target in _targets) target.Add(_seed, step, learningRate, _deviation);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Target target in _targets) target.Dispose();
    }

    /// <summary>The parameters of a slab that get noise.</summary>
    private sealed class Target : IDisposable
    {
        private readonly Backend _backend;
        private readonly ParameterSlab _slab;
        private readonly RandomPurpose _purpose;
        private readonly DeviceBuffer _noise, _scratch;

        // Made once, so that a step allocates nothing.
        private readonly SlabSegment[] _segments;
        private readonly DeviceBuffer[] _parts;

        public Target(ParameterSlab slab, IReadOnlyList<Parameter> parameters, RandomPurpose purpose)
        {
            _backend = slab.Backend;
            (_slab, _purpose) = (slab, purpose);
            _noise = _backend.Allocate(slab.Length, "noise of updates");
            _scratch = _backend.Allocate(slab.Length, "scratch of the noise of updates");
            _segments = [.. parameters.Select(p => new SlabSegment(p.Offset, p.Length, 0))];
            _parts = [.. parameters.Select(p => _noise.Slice(p.Offset, p.Length, $"noise of {p.Name}"))];
        }

        public void Add(ulong seed, int step, float learningRate, float deviation)
        {
            for (int i = 0; i < _parts.Length; i++)
                _backend.FillGaussian(_parts[i], new RandomKey(seed, _purpose, (uint)i, (uint)step), deviation);
            // w - rate * noise with a negative rate adds.
            _backend.SgdUpdateSlab(_segments, _slab.Values, _noise, _scratch, new SgdStep(-learningRate), _slab.Copies);
        }

        public void Dispose()
        {
            _noise.Dispose();
            _scratch.Dispose();
        }
    }
}
