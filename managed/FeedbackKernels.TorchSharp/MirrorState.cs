using FeedbackKernels.Interop;
using FeedbackKernels.Rules;
using static TorchSharp.torch;

namespace FeedbackKernels.TorchSharp;

/// <summary>
/// The weight mirror of one layer, as <see cref="WeightMirror"/> describes it: samples of noise are collected until a cycle is complete,
/// then B moves.
/// </summary>
internal sealed class MirrorState(FeedbackLayer layer, WeightMirror rule) : RuleState(layer)
{
    // The batch size before the first forward pass.
    private const int UsualBatch = 64;

    private readonly MirrorNoise _noise = new(rule.Noise, layer.LayerShape.FanIn, rule.NoiseDeviation, layer.Seed, layer.Layer);
    private TensorBackend? _memory;
    private DeviceBuffer? _correlation;
    private long _sample, _moves, _collected, _steps;

    public override Tensor InitialWeights() => Draw(init: null, scale: 1);

    public override void BeforeTraining()
    {
        for (int i = 0; i < (rule.WarmUpSteps ?? WeightMirror.UsualWarmUpSteps) || (rule.WarmUpSteps is null && _moves == 0); i++) Step();
    }

    public void StepAfterUpdate()
    {
        if (++_steps % rule.Every == 0) Step();
    }

    public override void Dispose()
    {
        _correlation?.Dispose();
        base.Dispose();
    }

    private void Step()
    {
        ConvShape shape = Layer.LayerShape;
        int wanted = rule.SamplesFor(shape.WithBatch(Layer.Batch == 0 ? UsualBatch : Layer.Batch));
        long perMove = rule.ReadsInCycles ? _noise.CycleLength : wanted;
        MirrorStep step = default;
        TensorBackend.For(Layer.weight).Read(shape, Layer.weight, (memory, w) =>
        {
            if (memory != _memory) Restart(memory);
            step = new MirrorStep(shape, _noise, _sample, (int)Math.Min(wanted, perMove - _collected), MirrorForm.Patch, rule.ReluResponse);
            memory.Backend.MirrorCorrelate(step, w, _correlation, accumulate: _collected > 0);
        });
        _sample += step.Samples;
        _collected += step.Samples;
        if (_collected == perMove) Move(step with { Samples = (int)_collected });
    }

    private void Move(MirrorStep collected)
    {
        float rate = Math.Max(rule.UsedRate, 1f / (_moves + 1));
        TensorBackend.For(Layer.weight).Update(Layer.LayerShape, Layer.feedback!.weight, (memory, b) => memory.Backend.TransposedCombine(
            Layer.LayerShape, (float)(rate / collected.CorrelationGain), _correlation, 1 - rate, b, b));
        _moves++;
        _collected = 0;
    }

    /// <summary>The layer is on another device now: a cycle that is not complete begins again.</summary>
    private void Restart(TensorBackend memory)
    {
        _correlation?.Dispose();
        _correlation = memory.Backend.Allocate(Layer.LayerShape.WeightLength, "mirror correlation of a TorchSharp layer");
        _memory = memory;
        if (rule.ReadsInCycles) _sample = (_sample + _noise.CycleLength - 1) / _noise.CycleLength * _noise.CycleLength;
        _collected = 0;
    }
}
