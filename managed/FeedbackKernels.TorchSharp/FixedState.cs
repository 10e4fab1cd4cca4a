using FeedbackKernels.Rules;
using static TorchSharp.torch;

namespace FeedbackKernels.TorchSharp;

/// <summary>Feedback alignment: B is random and does not move.</summary>
internal sealed class FixedState(FeedbackLayer layer, FeedbackAlignment rule) : RuleState(layer)
{
    public override Tensor InitialWeights() => Draw(rule.Init, rule.Scale);
}
