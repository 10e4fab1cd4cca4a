using FeedbackKernels.Interop;
using FeedbackKernels.Rules;
using static TorchSharp.torch;

namespace FeedbackKernels.TorchSharp;

/// <summary>Feedback weights for whole models.</summary>
public static class FeedbackModules
{
    /// <summary>Names of the rules that TorchSharp layers can have.</summary>
    public static IReadOnlyList<string> RuleNames { get; } =
        [Backprop.RuleName, FeedbackAlignment.RuleName, SignSymmetry.RuleName, WeightMirror.RuleName, KolenPollack.RuleName];

    /// <summary>
    /// Converts the Conv2d and Linear layers of a model in place: each is replaced by a <see cref="FeedbackConv2d"/> or
    /// <see cref="FeedbackLinear"/> with the same parameters, so an optimiser that has them keeps working. Layers of other types keep
    /// backprop.
    /// </summary>
    /// <remarks>
    /// The replacement goes to wherever the parent holds the layer: fields (private and readonly ones too), lists, arrays, dictionaries,
    /// Sequential, ModuleList, ModuleDict. A field has to be of a type that can hold the new layer:
    /// <c>Module&lt;Tensor, Tensor&gt;</c>, not <c>Conv2d</c>. Code that captured a layer in a local variable keeps the old one.
    /// </remarks>
    /// <param name="model">The model.</param>
    /// <param name="rule">The learning rule.</param>
    /// <param name="seed">Seed of the random numbers of all B; null for one from torch's generator.</param>
    /// <param name="except">Names of layers that stay as they are, as in the state dictionary: <c>"conv1"</c>, or <c>"layer1"</c> for all in
    /// it. The first layer needs no B: no error goes to the image.</param>
    /// <returns>The model.</returns>
    /// <exception cref="NotSupportedException">A layer cannot be converted, or the rule is not available. The message names each such layer
    /// and the reason. Nothing has been changed.</exception>
    /// <exception cref="ArgumentException">There is no layer to convert, or a name of <paramref name="except"/> is none of the
    /// model's.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A setting of the rule is out of range.</exception>
    public static T WithFeedback<T>(this T model, FeedbackRule rule, ulong? seed = null, params string[] except) where T : nn.Module
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(except);
        RuleState.Require(rule);
        new Conversion(model, except).Apply(rule, seed ?? RuleState.DrawSeed());
        return model;
    }

    /// <summary>The same with the name of a rule, which then has its standard settings.</summary>
    /// <param name="model">The model.</param>
    /// <param name="rule">A name of <see cref="RuleNames"/>, or its abbreviation: bp, fa, ss, wm, kp.</param>
    /// <param name="seed">Seed of the random numbers of all B; null for one from torch's generator.</param>
    /// <param name="except">Names of layers that stay as they are.</param>
    /// <inheritdoc cref="WithFeedback{T}(T, FeedbackRule, ulong?, string[])"/>
    public static T WithFeedback<T>(this T model, string rule, ulong? seed = null, params string[] except) where T : nn.Module
    {
        ArgumentNullException.ThrowIfNull(rule);
        RuleEntry entry = RuleCatalog.Find(rule)
            ?? throw new ArgumentException($"there is no rule '{rule}'; available: {string.Join(", ", RuleNames)}", nameof(rule));
        return model.WithFeedback(entry.Create(), seed, except);
    }

    /// <summary>The feedback layers of a model with their names in its state dictionary, each once.</summary>
    public static IEnumerable<(string Name, FeedbackLayer Layer)> FeedbackLayers(this nn.Module model)
    {
        ArgumentNullException.ThrowIfNull(model);
        if (model is FeedbackLayer self) return [("", self)];
        return model.named_modules().Where(named => named.module is FeedbackLayer).Select(named => (named.name, (FeedbackLayer)named.module)).DistinctBy(named => named.Item2);
    }

    /// <summary>The rules' work before training in all layers; see <see cref="FeedbackLayer.BeforeTraining"/>.</summary>
    public static void BeforeTraining(this nn.Module model)
    {
        foreach ((_, FeedbackLayer layer) in model.FeedbackLayers()) layer.BeforeTraining();
    }

    /// <summary>A mirror step in each layer whose rule is the weight mirror; other layers are left alone. See
    /// <see cref="FeedbackLayer.MirrorStep"/>.</summary>
    /// <exception cref="InvalidOperationException">No layer of the model has that rule.</exception>
    public static void MirrorStep(this nn.Module model)
    {
        bool any = false;
        foreach ((_, FeedbackLayer layer) in model.FeedbackLayers().Where(named => named.Layer.Rule is WeightMirror))
        {
            layer.MirrorStep();
            any = true;
        }

        if (!any) throw new InvalidOperationException($"no layer of the model has the rule {WeightMirror.RuleName}");
    }

    /// <summary>How W and B of each layer with a B agree; see <see cref="FeedbackLayer.Align"/>.</summary>
    public static IReadOnlyList<(string Name, WeightAlignment Alignment)> Align(this nn.Module model) =>
        [.. model.FeedbackLayers().Where(named => named.Layer.feedback is not null).Select(named => (named.Name, named.Layer.Align()))];
}
