using System.Text.Json;
using FeedbackKernels.Storage;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>The accuracy of a run's model under an attack: an entry of attacks.json.</summary>
/// <param name="Attack">The attack.</param>
/// <param name="Epochs">Epochs that the model had been trained for; a run that has gone on has another model.</param>
/// <param name="CleanTop1">Top-1 accuracy on the images as they are, 0 to 1.</param>
/// <param name="Top1">Top-1 accuracy on the adversarial images.</param>
/// <param name="Top5">Top-5 accuracy on them.</param>
/// <param name="Loss">Loss on them; null if it is not finite.</param>
internal sealed record StoredAttack(Attack Attack, int Epochs, double CleanTop1, double Top1, double Top5, double? Loss)
{
    /// <summary>The entries in a run's folder that are of its model.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="epochs">Epochs that the model has been trained for.</param>
    /// <exception cref="InvalidDataException">The file is damaged; the message names it.</exception>
    public static IReadOnlyList<StoredAttack> ReadAll(string folder, int epochs)
    {
        string path = Path.Combine(folder, RunFiles.Attacks);
        if (!File.Exists(path)) return [];
        try
        {
            StoredAttack?[] all = JsonSerializer.Deserialize(File.ReadAllText(path), RunJson.Default.StoredAttacks) ?? [];
            return [.. all.OfType<StoredAttack>().Where(entry => entry.Epochs == epochs).DistinctBy(entry => entry.Attack)];
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"{path}: not a list of attacks: {e.Message} Delete it to make the attacks again", e);
        }
    }

    /// <summary>Adds the entry to a run's folder.</summary>
    /// <param name="folder">The folder.</param>
    public void AddTo(string folder)
    {
        StoredAttack[] all = [.. ReadAll(folder, Epochs).Where(entry => entry.Attack != Attack), this];
        AtomicFile.WriteAllText(Path.Combine(folder, RunFiles.Attacks), JsonSerializer.Serialize(all, RunJson.Default.StoredAttacks) + "\n");
    }
}
