using FeedbackKernels.Interop;
using FeedbackKernels.Models;

namespace FeedbackKernels.Storage;

/// <summary>
/// A model in a safetensors file: weights [R][S][C][K], biases, batch norms with their running statistics, and what the
/// learning rule keeps: <c>*.feedback</c> [R][S][K][C].
/// </summary>
public static class Checkpoint
{
    /// <summary>Writes a model.</summary>
    public static void Save(Model model, string path)
    {
        ArgumentNullException.ThrowIfNull(model);
        var tensors = model.Tensors().Concat(model.Layers.SelectMany(l => l.Feedback?.State ?? []))
            .Select(t => (t.Name, t.Sizes, model.Backend.Download(t.Buffer))).ToList();
        SafeTensors.Write(path, tensors, new Dictionary<string, string>
        {
            ["format"] = "feedback-kernels",
            ["model"] = model.Spec.Name,
            ["weights"] = "[R][S][C][K]; feedback: [R][S][K][C]",
        });
    }

    /// <summary>Reads the tensors of a model, feedback weights excepted: what evaluation needs.</summary>
    /// <exception cref="InvalidDataException">A tensor is missing or has other sizes; nothing is loaded then.</exception>
    public static void Load(Model model, string path)
    {
        ArgumentNullException.ThrowIfNull(model);
        IReadOnlyDictionary<string, StoredTensor> stored = SafeTensors.Read(path).Tensors;
        var pairs = new List<(DeviceBuffer Buffer, float[] Values)>();
        foreach ((string name, IReadOnlyList<int> sizes, DeviceBuffer buffer) in model.Tensors())
        {
            if (!stored.TryGetValue(name, out StoredTensor? tensor))
                throw new InvalidDataException($"{path}: tensor '{name}' is missing, {model.Spec.Name} has it");
            if (!tensor.Sizes.SequenceEqual(sizes))
                throw new InvalidDataException($"{path}: tensor '{name}' is {string.Join("x", tensor.Sizes)}, {model.Spec.Name} has {string.Join("x", sizes)}");
            pairs.Add((buffer, tensor.Values));
        }

        foreach ((DeviceBuffer buffer, float[] values) in pairs) model.Backend.Upload<float>(values, buffer);
        model.RefreshCopies();
    }
}
