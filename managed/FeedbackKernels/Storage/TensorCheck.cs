using FeedbackKernels.Models;

namespace FeedbackKernels.Storage;

/// <summary>Compares the tensors of a file with those that a model needs, and says all differences in one error.</summary>
/// <param name="file">The file.</param>
/// <param name="path">Its path.</param>
internal sealed class TensorCheck(SafeTensorsFile file, string path)
{
    private const int MostNamed = 4;

    private readonly HashSet<string> _known = [];
    private readonly List<string> _missing = [], _shapes = [], _types = [];

    /// <summary>Notes a tensor of floats that the model needs.</summary>
    public void Need(string name, IReadOnlyList<int> sizes)
    {
        if (!Take(name, sizes)) _missing.Add($"'{name}'");
    }

    /// <summary>Notes a tensor of floats that the file may have; returns whether it has it.</summary>
    public bool Take(string name, IReadOnlyList<int> sizes)
    {
        _known.Add(name);
        if (!file.Tensors.TryGetValue(name, out TensorEntry? found)) return false;
        if (!found.Sizes.SequenceEqual(sizes.Select(size => (long)size))) _shapes.Add($"'{name}' is {Text(found.Sizes)}, wanted {string.Join('x', sizes)}");
        if (!SafeTensorsFile.IsFloat(found.Type)) _types.Add($"'{name}' is {found.Type}, wanted F32, F16 or BF16");
        return true;
    }

    /// <summary>Notes a scalar of the type I64 that the file may have; returns whether it has it.</summary>
    public bool TakeInteger(string name)
    {
        _known.Add(name);
        if (!file.Tensors.TryGetValue(name, out TensorEntry? found)) return false;
        if (found.Type != TensorTypes.Int64) _types.Add($"'{name}' is {found.Type}, wanted I64");
        else if (found.Sizes.Count > 0) _shapes.Add($"'{name}' is {Text(found.Sizes)}, wanted a scalar");
        return true;
    }

    /// <summary>Ends the check.</summary>
    /// <exception cref="InvalidDataException">The file lacks a tensor, has another one, or one of another shape or type.</exception>
    public void Complete(ModelSpec spec)
    {
        string[] unexpected = [.. file.Tensors.Keys.Where(name => !_known.Contains(name)).Select(name => $"'{name}'")];
        string[] parts = [.. Part("missing", _missing), .. Part("unexpected", unexpected), .. Part("of another shape", _shapes), .. Part("of another type", _types)];
        if (parts.Length > 0)
            throw new InvalidDataException($"{path}: not the weights of {spec.Name} for images of {spec.Input} in {spec.Classes} classes: {string.Join("; ", parts)}");
    }

    private static IEnumerable<string> Part(string what, IReadOnlyList<string> names)
    {
        if (names.Count == 0) yield break;
        string more = names.Count > MostNamed ? $" and {names.Count - MostNamed} more" : "";
        yield return $"{what}: {string.Join(", ", names.Take(MostNamed))}{more}";
    }

    private static string Text(IReadOnlyList<long> sizes) => sizes.Count == 0 ? "a scalar" : string.Join('x', sizes);
}
