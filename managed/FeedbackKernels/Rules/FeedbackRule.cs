using System.Text.Json.Serialization;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Rules;

/// <summary>Position of a layer in its model, as far as a rule needs it.</summary>
/// <param name="Seed">Seed of the run.</param>
/// <param name="Classes">Number of logits.</param>
/// <param name="Batch">Images of the largest batch, of all processes that train together.</param>
/// <param name="IsFirst">The layer reads the image, to which no error goes.</param>
/// <param name="IsOutput">The layer computes the logits: its output error is the loss's own gradient.</param>
/// <param name="IsShortcut">The layer is a projection shortcut: its output error comes through its block's join.</param>
/// <param name="Divides">Processes that divide the samples of the rule between them; null where each process takes all samples.</param>
public readonly record struct LayerPlace(
    ulong Seed, int Classes, int Batch, bool IsFirst = false, bool IsOutput = false, bool IsShortcut = false, Communicator? Divides = null);

/// <summary>
/// A learning rule with its settings: where the error signal comes from and how B moves. A model asks it for a
/// <see cref="Feedback"/> for each layer. Rules are values: equal settings are equal rules. The program knows the rules of
/// <see cref="RuleCatalog"/>.
/// </summary>
public abstract record FeedbackRule
{
    /// <summary>Creates a rule.</summary>
    /// <param name="name">Name on the command line and in reports.</param>
    protected FeedbackRule(string name) => Name = name;

    /// <summary>Name on the command line and in reports.</summary>
    [JsonIgnore]
    public string Name { get; }

    /// <summary>Whether the optimiser moves feedback weights of the rule: <see cref="Feedback.Update"/> is other than
    /// <see cref="FeedbackUpdate.ByRule"/>.</summary>
    [JsonIgnore]
    public virtual bool OptimiserMovesFeedback => false;

    /// <summary>Checks the settings: those in the catalogue against their ranges.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A setting is out of range.</exception>
    public virtual void Validate() => RuleCatalog.EntryOf(this)?.Check(this);

    /// <summary>Creates the rule's part for one layer; null where it has none. The settings have been checked.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="place">Its position in the model.</param>
    public abstract Feedback? Attach(ConvLayer layer, in LayerPlace place);

    /// <summary>Share of a sample in a mean over images, and over the pixels of the output unless they are summed.</summary>
    /// <param name="shape">The layer, with the number of images.</param>
    /// <param name="sumsPixels">Whether pixels are summed.</param>
    internal static float ShareOfSample(in ConvShape shape, bool sumsPixels) => 1f / (sumsPixels ? shape.N : (float)shape.N * shape.P * shape.Q);

    /// <summary>Draws the initial B, independently of W.</summary>
    /// <param name="feedback">B, overwritten.</param>
    /// <param name="layer">Its layer.</param>
    /// <param name="seed">Seed of the run.</param>
    /// <param name="init">Distribution; null for that of the layer's W.</param>
    /// <param name="scale">Factor.</param>
    internal static void Draw(Parameter feedback, ConvLayer layer, ulong seed, WeightInit? init, float scale)
    {
        ConvShape shape = layer.Shape();
        var values = new float[feedback.Length];
        (init ?? layer.Init).Fill(shape, new RandomKey(seed, RandomPurpose.FeedbackWeights, layer.Index), values);
        for (int i = 0; i < values.Length; i++) values[i] *= scale;
        layer.Backend.Upload<float>(values, feedback.Value);
        feedback.RefreshCopy();
    }
}
