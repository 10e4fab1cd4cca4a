using FeedbackKernels.Data;
using FeedbackKernels.Models;

namespace FeedbackKernels.Storage;

/// <summary>A tensor of a model.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Sizes">Sizes of the dimensions.</param>
/// <param name="Load">Gives its elements; called once for each file that is written.</param>
internal sealed record ModelTensor(string Name, IReadOnlyList<int> Sizes, Func<float[]> Load);

/// <summary>
/// What a model's file holds, whatever its format: tensors by the names and in the layouts of <see cref="Model"/>, each loaded when it is
/// asked for, so that one tensor at a time is in memory.
/// </summary>
/// <param name="Spec">The model.</param>
/// <param name="Tensors">Those of <see cref="Needed"/> in that order, and then the weights that the rule keeps.</param>
internal sealed record ModelContent(ModelSpec Spec, IReadOnlyList<ModelTensor> Tensors)
{
    /// <summary>What images go through; null if it is not known.</summary>
    public Preprocessing? Preprocessing { get; init; }

    /// <summary>The settings of the model's run, as the text of a config.json; null if they are not known.</summary>
    public string? Settings { get; init; }

    /// <summary>How many batches each norm has seen, in the order of the layers; empty if it is not known.</summary>
    public IReadOnlyList<long> BatchesTracked { get; init; } = [];

    /// <summary>A tensor by its name.</summary>
    public ModelTensor this[string name] => Tensors.First(tensor => tensor.Name == name);

    /// <summary>The tensors that make a model what it is, in the order of its file: as <see cref="Model.Tensors"/>.</summary>
    public static IEnumerable<(string Name, IReadOnlyList<int> Sizes)> Needed(ModelSpec spec)
    {
        WeightedLayer[] layers = [.. spec.Layers()];
        foreach (WeightedLayer layer in layers)
        {
            yield return (layer.Weight, layer.WeightSizes);
            // The bias, or scale and shift.
            foreach (string name in layer.Channels.Take(2)) yield return (name, [layer.K]);
        }

        foreach (WeightedLayer layer in layers)
        {
            // The running statistics.
            foreach (string name in layer.Channels.Skip(2)) yield return (name, [layer.K]);
        }
    }

    /// <summary>The content of a model in memory.</summary>
    public static ModelContent Of(Model model, Preprocessing? preprocessing) =>
        new(model.Spec, [.. model.TensorsAndFeedback().Select(t => new ModelTensor(t.Name, t.Sizes, () => model.Backend.Download(t.Buffer)))]) { Preprocessing = preprocessing };

    /// <summary>The weights that the rule keeps.</summary>
    public IEnumerable<ModelTensor> Feedback => Tensors.Skip(Needed(Spec).Count());

    /// <summary>The same without the weights that the rule keeps.</summary>
    public ModelContent WithoutFeedback() => this with { Tensors = [.. Tensors.Take(Needed(Spec).Count())] };
}
