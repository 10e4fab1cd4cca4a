using System.Text.Json.Serialization;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Rules;

/// <summary>Where a layer stands in its model, as far as a rule cares.</summary>
/// <param name="Seed">Seed of the run.</param>
/// <param name="Classes">Number of logits.</param>
/// <param name="Batch">Images of the largest batch.</param>
/// <param name="IsFirst">No error goes to the image.</param>
/// <param name="IsOutput">The layer computes the logits: its output error is the loss's own gradient.</param>
/// <param name="IsShortcut">The layer is a projection shortcut: its output error comes through its block's join.</param>
public readonly record struct LayerPlace(
    ulong Seed, int Classes, int Batch, bool IsFirst = false, bool IsOutput = false, bool IsShortcut = false);

/// <summary>
/// A learning rule with its settings: where the error signal comes from and how B moves. Given to a model, it makes a
/// <see cref="Feedback"/> for each layer. Rules are values: equal settings are equal rules.
/// </summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "rule")]
[JsonDerivedType(typeof(Backprop), Backprop.RuleName)]
[JsonDerivedType(typeof(FeedbackAlignment), FeedbackAlignment.RuleName)]
[JsonDerivedType(typeof(SignSymmetry), SignSymmetry.RuleName)]
[JsonDerivedType(typeof(WeightMirror), WeightMirror.RuleName)]
[JsonDerivedType(typeof(KolenPollack), KolenPollack.RuleName)]
[JsonDerivedType(typeof(DirectFeedbackAlignment), DirectFeedbackAlignment.RuleName)]
public abstract record FeedbackRule
{
    /// <summary>A rule of a name.</summary>
    protected FeedbackRule(string name) => Name = name;

    /// <summary>Name on the command line and in reports.</summary>
    [JsonIgnore]
    public string Name { get; }

    /// <summary>Checks the settings of the rule.</summary>
    /// <exception cref="ArgumentOutOfRangeException">One of them is out of range.</exception>
    public virtual void Validate()
    {
    }

    /// <summary>The state for one layer; null where the rule has nothing to do there. The settings have been checked.</summary>
    public abstract Feedback? Attach(ConvLayer layer, in LayerPlace place);

    /// <summary>Draws B like W: from the layer's own initial distribution, or another, independently of W and times a
    /// factor.</summary>
    internal static void Draw(Parameter feedback, ConvLayer layer, ulong seed, WeightInit? init, float scale)
    {
        ConvShape shape = layer.Shape();
        var values = new float[feedback.Length];
        (init ?? layer.Init).Fill(shape, new RandomKey(seed, RandomPurpose.FeedbackWeights, layer.Index), values);
        for (int i = 0; i < values.Length; i++) values[i] *= scale;
        layer.Backend.Upload<float>(values, feedback.Value);
        feedback.RefreshCopy();
    }

    internal static void RequireDefined<TEnum>(TEnum value, string name) where TEnum : struct, Enum
    {
        if (!Enum.IsDefined(value)) throw new ArgumentOutOfRangeException(name, value, $"wanted one of {string.Join(", ", Enum.GetNames<TEnum>())}");
    }

    internal static void RequirePositive(float value, string name)
    {
        if (!(value > 0) || !float.IsFinite(value)) throw new ArgumentOutOfRangeException(name, value, "wanted a positive finite number");
    }
}
