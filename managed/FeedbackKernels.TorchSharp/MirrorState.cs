using FeedbackKernels.Interop;
using FeedbackKernels.Rules;
using static TorchSharp.torch;

namespace FeedbackKernels.TorchSharp;

/// <summary>The weight mirror of one layer: <see cref="WeightMirror"/>, on the layer's tensors.</summary>
internal sealed class MirrorState(FeedbackLayer layer, WeightMirror rule) : RuleState(layer)
{
    // The batch size before the first forward pass.
    private const int UsualBatch = 64;

    private readonly MirrorCycle _cycle = new(rule, new MirrorNoise(rule.Noise, layer.LayerShape.FanIn, rule.NoiseDeviation, layer.Seed, layer.Layer));
    private TensorBackend? _memory;
    private DeviceBuffer? _correlation;
    private long _steps;

    public override Tensor InitialWeights() => Draw(init: null, scale: 1);

    public override void BeforeTraining()
    {
        for (int i = 0; _cycle.NeedsWarmUp(i); i++) Step(measures: rule.WarmUpSteps is null);
        if (_cycle.Corrects(Samples)) Release();
    }

    public void StepAfterUpdate()
    {
        if (++_steps % rule.Every == 0) Step();
    }

    public override void Dispose()
    {
        Release();
        base.Dispose();
    }

    private int Samples => rule.SamplesFor(Layer.Forwarded ?? Layer.LayerShape.WithBatch(UsualBatch));

    private void Step(bool measures = false)
    {
        ConvShape shape = Layer.LayerShape;
        int samples = Samples;
        TensorBackend tensors = TensorBackend.For(Layer.weight);
        if (_cycle.Corrects(samples) && !measures)
        {
            tensors.Update(shape, Layer.weight, Layer.feedback!.weight, (memory, w, b) => _cycle.Correct(memory.Backend, shape, samples, w, b));
            return;
        }

        bool complete = false;
        tensors.Read(shape, Layer.weight, (memory, w) =>
        {
            if (memory != _memory) Restart(memory);
            complete = _cycle.Collect(memory.Backend, shape, samples, w, _correlation);
        });
        if (complete) tensors.Update(shape, Layer.feedback!.weight, (memory, b) => _cycle.Move(memory.Backend, shape, _correlation, b));
    }

    /// <summary>The layer is on another device now: a cycle that is not complete begins again.</summary>
    private void Restart(TensorBackend memory)
    {
        Release();
        _correlation = memory.Backend.Allocate(Layer.LayerShape.WeightLength, "mirror correlation of a TorchSharp layer");
        _memory = memory;
    }

    private void Release()
    {
        _correlation?.Dispose();
        _correlation = null;
        _memory = null;
        _cycle.Restart();
    }
}
