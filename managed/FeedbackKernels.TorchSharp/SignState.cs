using FeedbackKernels.Interop;
using FeedbackKernels.Rules;
using static TorchSharp.torch;

namespace FeedbackKernels.TorchSharp;

/// <summary>
/// Sign symmetry: B takes the signs of W before each pass whose error goes back. The size of its numbers is that of the initial
/// distribution, or of W when the layer was made.
/// </summary>
internal sealed class SignState(FeedbackLayer layer, SignSymmetry rule) : RuleState(layer)
{
    private float _deviation;
    private uint _step;

    public override Tensor InitialWeights() => zeros(Layer.weight.shape, dtype: ScalarType.Float32, device: Layer.weight.device);

    public override void Initialise()
    {
        _deviation = rule.Scale * Deviation(rule.Init);
        ReadSigns(0);
    }

    public override void BeforeUse() => ReadSigns(rule.Magnitude == SignMagnitude.BatchRandom ? ++_step : 0);

    private void ReadSigns(uint step) => TensorBackend.For(Layer.weight).Update(Layer.LayerShape, Layer.weight, Layer.feedback!.weight, (memory, w, b) =>
    {
        if (rule.Magnitude == SignMagnitude.Uniform)
        {
            memory.Backend.SignTransposed(Layer.LayerShape, w, default, _deviation, b);
            return;
        }

        // The same numbers in each step where they are fixed, without memory for them between the steps.
        BufferView magnitudes = memory.Scratch(Layer.LayerShape.WeightLength);
        memory.Backend.FillGaussian(magnitudes, new RandomKey(Layer.Seed, RandomPurpose.SignMagnitudes, Layer.Layer, step), _deviation);
        memory.Backend.SignTransposed(Layer.LayerShape, w, magnitudes, 1, b);
    });
}
