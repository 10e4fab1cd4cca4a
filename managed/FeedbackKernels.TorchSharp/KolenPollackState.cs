using FeedbackKernels.Interop;
using FeedbackKernels.Rules;
using static TorchSharp.torch;

namespace FeedbackKernels.TorchSharp;

/// <summary>Kolen-Pollack: <see cref="KolenPollackOptimizer"/> moves B with W. Here is what happens before.</summary>
internal sealed class KolenPollackState(FeedbackLayer layer, KolenPollack rule) : RuleState(layer)
{
    public override Tensor InitialWeights() => Draw(rule.Init, rule.Scale);

    /// <summary>The early decay: W and B shrink and get the same noise, so that W keeps its variance and their difference dies out.</summary>
    public override void BeforeTraining()
    {
        if (rule.EarlyShrink == 1) return;
        float shrink = rule.ShrinkPerStep, size = rule.NoisePerStep(Deviation(init: null));
        using IDisposable scope = NewDisposeScope(), noGradients = no_grad();
        Tensor noise = empty(Layer.weight.shape, dtype: ScalarType.Float32, device: Layer.weight.device);
        for (int i = 0; i < rule.StepsOfDecay; i++)
        {
            TensorBackend.For(noise).FillGaussian(noise, new RandomKey(Layer.Seed, RandomPurpose.KolenPollackNoise, Layer.Layer, (uint)i), size);
            Layer.weight.mul_(shrink).sub_(noise);
            Layer.feedback!.weight.mul_(shrink).sub_(noise);
        }
    }
}
