using System.Globalization;
using FeedbackKernels.Interop;
using FeedbackKernels.State;

namespace FeedbackKernels.Storage;

/// <summary>
/// The whole state of a training run in a safetensors file, so that a run that goes on from it ends with the same bits as one that
/// was never stopped. Tensors are tensors of the file, numbers are in its metadata. A file that holds a model to be used,
/// without the state of its training, is a <see cref="StoredModel"/>.
/// </summary>
public static class Checkpoint
{
    private const string FormatKey = "format", Format = "feedback-kernels-checkpoint-1", NumberPrefix = "state:";

    /// <summary>Writes a state. The file appears whole or not at all.</summary>
    /// <param name="state">What is saved.</param>
    /// <param name="backend">Where its tensors are.</param>
    /// <param name="path">The file.</param>
    /// <exception cref="ArgumentException">Two tensors or numbers of the state have one name.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Save(IState state, Backend backend, string path)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(backend);
        var reader = new Reader();
        state.Walk(reader);
        var metadata = new Dictionary<string, string> { [FormatKey] = Format };
        foreach ((string name, string text, _) in reader.Numbers) metadata.Add(NumberPrefix + name, text);
        SafeTensors.Write(path, [.. reader.Tensors.Select(t => (t.Name, t.Sizes, backend.Download(t.Buffer)))], metadata);
    }

    /// <summary>Replaces a state by what a file holds.</summary>
    /// <param name="state">A state of the same kind: it has the tensors and numbers of the one that was saved, and no others.</param>
    /// <param name="backend">Where its tensors are.</param>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">The file does not exist or cannot be read.</exception>
    /// <exception cref="InvalidDataException">It is not a checkpoint, or one of another state; the message names the first tensor or number
    /// that differs. Nothing is replaced then.</exception>
    public static void Load(IState state, Backend backend, string path)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(backend);
        using SafeTensorsFile file = SafeTensorsFile.Open(path);
        if (!file.Metadata.TryGetValue(FormatKey, out string? format) || format != Format)
            throw new InvalidDataException($"{path}: the metadata say format '{format}', expected '{Format}'");
        var reader = new Reader();
        state.Walk(reader);
        state.Walk(new Writer(backend, Values(file, path, reader), Numbers(file, path, reader)));
    }

    private static Dictionary<string, float[]> Values(SafeTensorsFile file, string path, Reader state)
    {
        var values = new Dictionary<string, float[]>();
        foreach ((string name, IReadOnlyList<int> sizes, _) in state.Tensors)
        {
            StoredTensor tensor = file.Load(name);
            if (!tensor.Sizes.SequenceEqual(sizes))
                throw new InvalidDataException($"{path}: tensor '{name}' is {string.Join("x", tensor.Sizes)}, expected {string.Join("x", sizes)}");
            values.Add(name, tensor.Values);
        }

        return file.Tensors.Keys.FirstOrDefault(name => !values.ContainsKey(name)) is { } other
            ? throw new InvalidDataException($"{path}: tensor '{other}' belongs to another state")
            : values;
    }

    private static Dictionary<string, string> Numbers(SafeTensorsFile file, string path, Reader state)
    {
        var numbers = new Dictionary<string, string>();
        foreach ((string name, _, bool integer) in state.Numbers)
        {
            if (!file.Metadata.TryGetValue(NumberPrefix + name, out string? text)) throw new InvalidDataException($"{path}: number '{name}' is missing");
            bool good = integer ? long.TryParse(text, CultureInfo.InvariantCulture, out _) : double.TryParse(text, CultureInfo.InvariantCulture, out _);
            if (!good) throw new InvalidDataException($"{path}: number '{name}' is '{text}', expected a number");
            numbers.Add(name, text);
        }

        string? other = file.Metadata.Keys.FirstOrDefault(key => key.StartsWith(NumberPrefix, StringComparison.Ordinal) && !numbers.ContainsKey(key[NumberPrefix.Length..]));
        return other is null ? numbers : throw new InvalidDataException($"{path}: number '{other[NumberPrefix.Length..]}' belongs to another state");
    }

    /// <summary>Lists what a state has.</summary>
    private sealed class Reader : IStateWalker
    {
        public List<(string Name, IReadOnlyList<int> Sizes, DeviceBuffer Buffer)> Tensors { get; } = [];

        public List<(string Name, string Text, bool Integer)> Numbers { get; } = [];

        public bool Replaces => false;

        public void Tensor(string name, IReadOnlyList<int> sizes, DeviceBuffer buffer) => Tensors.Add((name, sizes, buffer));

        public void Scalar(string name, ref long value) => Numbers.Add((name, value.ToString(CultureInfo.InvariantCulture), true));

        // The shortest text that reads as the same number.
        public void Scalar(string name, ref double value) => Numbers.Add((name, value.ToString("R", CultureInfo.InvariantCulture), false));
    }

    /// <summary>Puts values in, which have been checked.</summary>
    private sealed class Writer(Backend backend, Dictionary<string, float[]> values, Dictionary<string, string> numbers) : IStateWalker
    {
        public bool Replaces => true;

        public void Tensor(string name, IReadOnlyList<int> sizes, DeviceBuffer buffer) => backend.Upload<float>(values[name], buffer);

        public void Scalar(string name, ref long value) => value = long.Parse(numbers[name], CultureInfo.InvariantCulture);

        public void Scalar(string name, ref double value) => value = double.Parse(numbers[name], CultureInfo.InvariantCulture);
    }
}
