using FeedbackKernels.Data;
using FeedbackKernels.Models;

namespace FeedbackKernels.Storage;

/// <summary>
/// A model in a safetensors file: weights [R][S][C][K], biases, batch norms with their running statistics, and what the
/// learning rule keeps: <c>*.feedback</c> [R][S][K][C]. The file's metadata hold the preprocessing, see <see cref="StoredModel"/>.
/// </summary>
public static class Checkpoint
{
    /// <summary>Writes a model. The file appears whole or not at all.</summary>
    /// <param name="model">The model.</param>
    /// <param name="path">The file.</param>
    /// <param name="preprocessing">What the model's images go through; null where that is the caller's own business.</param>
    /// <param name="configuration">What tells this run's configuration from others; optional.</param>
    public static void Save(Model model, string path, Preprocessing? preprocessing = null, string? configuration = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        var tensors = model.State().Select(t => (t.Name, t.Sizes, model.Backend.Download(t.Buffer))).ToList();
        SafeTensors.Write(path, tensors, StoredModel.Metadata(model.Spec, preprocessing, configuration));
    }

    /// <summary>Reads the tensors of a model, feedback weights excepted: what evaluation needs.</summary>
    /// <exception cref="IOException">The file does not exist.</exception>
    /// <exception cref="InvalidDataException">A tensor is missing or has other sizes; nothing is loaded then.</exception>
    public static void Load(Model model, string path)
    {
        using StoredModel stored = StoredModel.Open(path);
        stored.LoadInto(model);
    }
}
