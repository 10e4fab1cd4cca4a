using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.State;

namespace FeedbackKernels.Storage;

/// <summary>
/// The whole state of a training run in a safetensors file, so that a run that goes on from it ends with the same bits as one that
/// was never stopped. Tensors are tensors of the file, numbers and texts are in its metadata. The first string of the metadata is the
/// SHA-256 of the file, computed with zeros in its own place. A file that holds a model to be used, without the state of its training, is
/// a <see cref="StoredModel"/>.
/// </summary>
public static class Checkpoint
{
    internal const string NumberPrefix = "state:", TextPrefix = "text:";

    private const string FormatKey = "format", Format = "feedback-kernels-checkpoint-2", ChecksumKey = "sha256";

    private static readonly string NoChecksum = new('0', 2 * SHA256.HashSizeInBytes);

    // What stands between the length of the header and the checksum.
    private static readonly byte[] Beginning = Encoding.UTF8.GetBytes($$"""{"{{SafeTensorsHeader.MetadataName}}":{"{{ChecksumKey}}":""" + "\"");

    private static int ChecksumOffset => SafeTensorsHeader.LengthBytes + Beginning.Length;

    /// <summary>Writes a state. The file appears whole or not at all.</summary>
    /// <param name="state">What is saved.</param>
    /// <param name="backend">Where its tensors are.</param>
    /// <param name="path">The file.</param>
    /// <param name="notes">Strings that the file carries besides.</param>
    /// <exception cref="ArgumentException">Two tensors or numbers of the state have one name.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Save(IState state, Backend backend, string path, IReadOnlyDictionary<string, string>? notes = null)
    {
        using var snapshot = new Snapshot(state, backend);
        snapshot.Take();
        snapshot.Write(path, notes);
    }

    /// <summary>Replaces a state by what a file holds.</summary>
    /// <param name="state">A state of the same kind: it has the tensors, numbers and texts of the one that was saved, and no others.</param>
    /// <param name="backend">Where its tensors are.</param>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">The file does not exist or cannot be read.</exception>
    /// <exception cref="InvalidDataException">The file is damaged (<see cref="Verify"/>), it is not a checkpoint, or one of another state; the
    /// message names the first tensor or number that differs. Nothing is replaced then.</exception>
    public static void Load(IState state, Backend backend, string path)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(backend);
        Verify(path);
        using SafeTensorsFile file = SafeTensorsFile.Open(path);
        var reader = new Reader();
        state.Walk(reader);
        state.Walk(new Writer(backend, Values(file, path, reader), Scalars(file, path, reader)));
    }

    /// <summary>The strings that a file carries besides its state.</summary>
    /// <inheritdoc cref="Verify"/>
    public static IReadOnlyDictionary<string, string> ReadNotes(string path)
    {
        Verify(path);
        using SafeTensorsFile file = SafeTensorsFile.Open(path);
        return file.Metadata.Where(entry => !IsOfState(entry.Key) && entry.Key is not (FormatKey or ChecksumKey)).ToDictionary();
    }

    /// <summary>Checks a file: its checksum is over all of its bytes.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">The file does not exist or cannot be read.</exception>
    /// <exception cref="InvalidDataException">The file is damaged, incomplete, or not a checkpoint; the message says what was found.</exception>
    public static void Verify(string path)
    {
        using FileStream file = DataFiles.Open(path);
        Span<byte> head = stackalloc byte[ChecksumOffset + NoChecksum.Length];
        int found = file.ReadAtLeast(head, head.Length, throwOnEndOfStream: false);
        if (found < head.Length) throw new InvalidDataException($"{path}: {found} bytes, a checkpoint has more: the file was not written to its end");
        if (!head[SafeTensorsHeader.LengthBytes..ChecksumOffset].SequenceEqual(Beginning))
            throw new InvalidDataException($"{path}: not a {Format}, or damaged at its beginning: no checksum where the header begins");
        string expected = Encoding.ASCII.GetString(head[ChecksumOffset..]);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(head[..ChecksumOffset]);
        hash.AppendData(Encoding.ASCII.GetBytes(NoChecksum));
        var bytes = new byte[1 << 20];
        while (file.Read(bytes) is var count && count > 0) hash.AppendData(bytes, 0, count);
        string actual = Convert.ToHexStringLower(hash.GetCurrentHash());
        if (actual != expected)
            throw new InvalidDataException($"{path}: damaged: the checksum of its {file.Length} bytes is {actual[..16]}..., the file says {Printable(expected[..16])}...");
    }

    /// <summary>Writes a state that has been copied to the host.</summary>
    /// <param name="path">The file.</param>
    /// <param name="tensors">Its tensors.</param>
    /// <param name="values">Its numbers and texts, with the prefixes of their kinds.</param>
    /// <param name="notes">Strings that the file carries besides.</param>
    internal static void Write(
        string path, IReadOnlyList<TensorSource> tensors, IReadOnlyList<KeyValuePair<string, string>> values, IReadOnlyDictionary<string, string> notes)
    {
        KeyValuePair<string, string>[] metadata = [new(ChecksumKey, NoChecksum), new(FormatKey, Format), .. notes, .. values];
        if (metadata.CountBy(entry => entry.Key).FirstOrDefault(entry => entry.Value > 1).Key is { } twice)
            throw new ArgumentException($"the name '{twice}' stands twice", nameof(values));
        AtomicFile.Write(path, file =>
        {
            using var sha = SHA256.Create();
            using (var hashed = new CryptoStream(file, sha, CryptoStreamMode.Write, leaveOpen: true)) SafeTensors.Write(hashed, tensors, metadata);
            file.Position = ChecksumOffset;
            file.Write(Encoding.ASCII.GetBytes(Convert.ToHexStringLower(sha.Hash!)));
        });
    }

    private static bool IsOfState(string key) =>
        key.StartsWith(NumberPrefix, StringComparison.Ordinal) || key.StartsWith(TextPrefix, StringComparison.Ordinal);

    // Damaged bytes may be anything.
    private static string Printable(string text) => string.Concat(text.Select(c => char.IsAsciiLetterOrDigit(c) ? c : '?'));

    private static Dictionary<string, float[]> Values(SafeTensorsFile file, string path, Reader state)
    {
        var values = new Dictionary<string, float[]>();
        foreach ((string name, IReadOnlyList<int> sizes) in state.Tensors)
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

    private static Dictionary<string, string> Scalars(SafeTensorsFile file, string path, Reader state)
    {
        var scalars = new Dictionary<string, string>();
        foreach ((string key, Func<string, bool> isGood) in state.Scalars)
        {
            if (!file.Metadata.TryGetValue(key, out string? text)) throw new InvalidDataException($"{path}: '{key}' is missing");
            if (!isGood(text)) throw new InvalidDataException($"{path}: '{key}' is '{text}', expected a number");
            scalars.Add(key, text);
        }

        string? other = file.Metadata.Keys.FirstOrDefault(key => IsOfState(key) && !scalars.ContainsKey(key));
        return other is null ? scalars : throw new InvalidDataException($"{path}: '{other}' belongs to another state");
    }

    /// <summary>Lists what a state has.</summary>
    private sealed class Reader : IStateWalker
    {
        public List<(string Name, IReadOnlyList<int> Sizes)> Tensors { get; } = [];

        public List<(string Key, Func<string, bool> IsGood)> Scalars { get; } = [];

        public bool Replaces => false;

        public void Tensor(string name, IReadOnlyList<int> sizes, DeviceBuffer buffer) => Tensors.Add((name, sizes));

        public void Scalar(string name, ref long value) => Scalars.Add((NumberPrefix + name, text => long.TryParse(text, CultureInfo.InvariantCulture, out _)));

        public void Scalar(string name, ref double value) => Scalars.Add((NumberPrefix + name, text => double.TryParse(text, CultureInfo.InvariantCulture, out _)));

        public void Text(string name, ref string value) => Scalars.Add((TextPrefix + name, _ => true));
    }

    /// <summary>Puts values in, which have been checked.</summary>
    private sealed class Writer(Backend backend, Dictionary<string, float[]> values, Dictionary<string, string> scalars) : IStateWalker
    {
        public bool Replaces => true;

        public void Tensor(string name, IReadOnlyList<int> sizes, DeviceBuffer buffer) => backend.Upload<float>(values[name], buffer);

        public void Scalar(string name, ref long value) => value = long.Parse(scalars[NumberPrefix + name], CultureInfo.InvariantCulture);

        public void Scalar(string name, ref double value) => value = double.Parse(scalars[NumberPrefix + name], CultureInfo.InvariantCulture);

        public void Text(string name, ref string value) => value = scalars[TextPrefix + name];
    }
}
