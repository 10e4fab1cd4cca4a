using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;

namespace FeedbackKernels.Storage;

/// <summary>
/// The state dictionary of a PyTorch module in a safetensors file. Names are those of torchvision's ResNets and, for the other models, those
/// that follow from the same scheme; W of a convolution is OIHW, of a linear layer [out][in], where the inputs are in the order of a
/// flattened NCHW map. Each batch norm has <c>running_mean</c>, <c>running_var</c> and <c>num_batches_tracked</c>. B of a layer is
/// <c>LAYER.feedback.weight</c> in the layout of W.
/// </summary>
public static class TorchFile
{
    private const string FormatKey = "format", Suffix = ".weight", Counter = ".num_batches_tracked";

    // What transformers and others that look at the metadata expect of a file for PyTorch.
    private const string Format = "pt", Layout = "OIHW, [out][in]; feedback: likewise";

    /// <summary>Writes a model. The file appears whole or not at all.</summary>
    /// <param name="model">The model.</param>
    /// <param name="path">The file.</param>
    /// <param name="preprocessing">What the model's images go through, for the metadata; optional.</param>
    /// <param name="feedback">Whether to write B too. <c>load_state_dict</c> refuses names that a module does not have.</param>
    /// <exception cref="NotSupportedException">The rule keeps weights that are not those of a layer's feedback: direct feedback alignment.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Save(Model model, string path, Preprocessing? preprocessing = null, bool feedback = true)
    {
        ArgumentNullException.ThrowIfNull(model);
        var content = ModelContent.Of(model, preprocessing);
        Write(path, feedback ? content : content.WithoutFeedback());
    }

    /// <summary>Loads the tensors of a model, feedback weights excepted, from a file: what evaluation needs.</summary>
    /// <exception cref="IOException">The file does not exist or cannot be read.</exception>
    /// <exception cref="InvalidDataException">The file lacks a tensor, has another one, or one of another shape or type; the message names them.
    /// Nothing is loaded then.</exception>
    public static void Load(Model model, string path)
    {
        ArgumentNullException.ThrowIfNull(model);
        using SafeTensorsFile file = SafeTensorsFile.Open(path);
        ModelContent content = Read(file, path, model.Spec);
        (DeviceBuffer Buffer, float[] Values)[] pairs = [.. model.Tensors().Select(t => (t.Buffer, content[t.Name].Load()))];
        foreach ((DeviceBuffer buffer, float[] values) in pairs) model.Backend.Upload<float>(values, buffer);
        model.RefreshCopies();
    }

    /// <summary>Writes a model.</summary>
    /// <inheritdoc cref="Save"/>
    internal static void Write(string path, ModelContent content)
    {
        WeightedLayer[] layers = [.. content.Spec.Layers()];
        // Counters first: their 8 bytes must not begin in the midst of others.
        TensorSource[] tensors = [.. Counters(content, layers), .. layers.SelectMany(layer => TensorsOf(layer, content)), .. Feedback(content, layers)];
        var metadata = new Dictionary<string, string> { [FormatKey] = Format, [ModelMetadata.Model] = content.Spec.Name, [ModelMetadata.Layout] = Layout };
        ModelMetadata.Add(metadata, content);
        AtomicFile.Write(path, file => SafeTensors.Write(file, tensors, metadata));
    }

    /// <summary>Reads a model. Names, shapes and types are checked at once, elements are read when they are asked for.</summary>
    /// <param name="file">The file; stays open as long as tensors are loaded.</param>
    /// <param name="path">Its path.</param>
    /// <param name="spec">The model.</param>
    /// <exception cref="InvalidDataException">The file lacks a tensor, has another one, or one of another shape or type.</exception>
    internal static ModelContent Read(SafeTensorsFile file, string path, ModelSpec spec)
    {
        WeightedLayer[] layers = [.. spec.Layers()];
        var check = new TensorCheck(file, path);
        foreach (WeightedLayer layer in layers)
        {
            check.Need(layer.Weight, SizesOf(layer));
            foreach (string name in layer.Channels) check.Need(name, [layer.K]);
        }

        string[] counters = [.. layers.Where(layer => layer.Norm is not null).Select(layer => layer.Norm + Counter)];
        string[] counted = [.. counters.Where(check.TakeInteger)];
        WeightedLayer[] withFeedback = [.. layers.Where(layer => check.Take(layer.Feedback + Suffix, SizesOf(layer)))];
        check.Complete(spec);
        Dictionary<string, WeightedLayer> weights = layers.ToDictionary(layer => layer.Weight);
        ModelTensor[] tensors =
        [
            .. ModelContent.Needed(spec).Select(t => new ModelTensor(
                t.Name, t.Sizes, () => weights.TryGetValue(t.Name, out WeightedLayer? layer) ? WeightsFrom(layer, file.LoadFloats(t.Name)) : file.LoadFloats(t.Name))),
            .. withFeedback.Select(layer => new ModelTensor(layer.Feedback, layer.FeedbackSizes, () => FeedbackFrom(layer, file.LoadFloats(layer.Feedback + Suffix)))),
        ];
        return new ModelContent(spec, tensors)
        {
            BatchesTracked = Counts([.. counters.Select(name => counted.Contains(name) ? file.LoadInteger(name) : 0)]),
        };
    }

    /// <summary>Sizes of W, and of B, in this layout.</summary>
    internal static IReadOnlyList<int> SizesOf(WeightedLayer layer) => layer.IsLinear ? [layer.K, layer.C * layer.R * layer.S] : [layer.K, layer.C, layer.R, layer.S];

    /// <summary>W in this layout.</summary>
    internal static float[] WeightsTo(WeightedLayer layer, float[] forward)
    {
        var weights = new float[forward.Length];
        TensorLayouts.ForwardToOihw(forward, weights, layer.K, layer.C, layer.R, layer.S);
        return weights;
    }

    private static float[] WeightsFrom(WeightedLayer layer, float[] weights)
    {
        var forward = new float[weights.Length];
        TensorLayouts.OihwToForward(weights, forward, layer.K, layer.C, layer.R, layer.S);
        return forward;
    }

    // B of a linear layer is [K] rows, each a map.
    private static float[] FeedbackTo(WeightedLayer layer, float[] feedback)
    {
        var weights = new float[feedback.Length];
        if (layer.IsLinear) TensorLayouts.NhwcToNchw(feedback, weights, layer.K, layer.C, layer.R, layer.S);
        else TensorLayouts.FeedbackToOihw(feedback, weights, layer.K, layer.C, layer.R, layer.S);
        return weights;
    }

    private static float[] FeedbackFrom(WeightedLayer layer, float[] weights)
    {
        var feedback = new float[weights.Length];
        if (layer.IsLinear) TensorLayouts.NchwToNhwc(weights, feedback, layer.K, layer.C, layer.R, layer.S);
        else TensorLayouts.OihwToFeedback(weights, feedback, layer.K, layer.C, layer.R, layer.S);
        return feedback;
    }

    private static IEnumerable<TensorSource> TensorsOf(WeightedLayer layer, ModelContent content)
    {
        yield return new TensorSource(layer.Weight, SizesOf(layer), () => WeightsTo(layer, content[layer.Weight].Load()));
        foreach (string name in layer.Channels) yield return new TensorSource(name, [layer.K], () => content[name].Load());
    }

    private static IEnumerable<TensorSource> Counters(ModelContent content, WeightedLayer[] layers) =>
        layers.Where(layer => layer.Norm is not null).Select((layer, i) => TensorSource.Of(layer.Norm + Counter, content.BatchesTracked.ElementAtOrDefault(i)));

    // Zeros are written for counters that are not known.
    private static long[] Counts(long[] counters) => Array.TrueForAll(counters, count => count == 0) ? [] : counters;

    private static TensorSource[] Feedback(ModelContent content, WeightedLayer[] layers)
    {
        Dictionary<string, WeightedLayer> owners = layers.ToDictionary(layer => layer.Feedback);
        return [.. content.Feedback.Select(tensor => owners.TryGetValue(tensor.Name, out WeightedLayer? layer)
            ? new TensorSource(layer.Feedback + Suffix, SizesOf(layer), () => FeedbackTo(layer, tensor.Load()))
            : throw new NotSupportedException($"'{tensor.Name}' connects the classes with a layer and has no counterpart in PyTorch; leave the feedback weights out, or keep them in the format safetensors"))];
    }
}
