using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

/// <summary>
/// Encoded images in files of their own, sorted by class and name. An image takes the bytes of its name and 8 more: the end of the
/// name and the length of the file, which is looked up when it is first asked for.
/// </summary>
internal sealed class FolderImages : IImageSource
{
    private readonly (string Folder, CompactNames Names)[] _classes;

    // Number of the first image of each class, and the number of images.
    private readonly int[] _starts;

    // Length of each file plus one; 0 until it is known.
    private readonly int[] _lengths;

    /// <param name="classNames">Names of the classes.</param>
    /// <param name="classes">Folder and sorted names of the images of each class.</param>
    public FolderImages(IReadOnlyList<string> classNames, IReadOnlyList<(string Folder, CompactNames Names)> classes)
    {
        ClassNames = Data.ClassNames.Checked(classNames, classes.Count);
        _classes = [.. classes];
        _starts = new int[classes.Count + 1];
        for (int k = 0; k < classes.Count; k++) _starts[k + 1] = checked(_starts[k] + classes[k].Names.Count);
        _lengths = new int[Count];
    }

    public int Count => _starts[^1];

    public int Channels => 3;

    public MapShape? Shape => null;

    public IReadOnlyList<string> ClassNames { get; }

    public bool IsGrouped => true;

    /// <summary>Number of images of a class.</summary>
    public int CountOf(int label) => _starts[label + 1] - _starts[label];

    public int Label(int index)
    {
        if ((uint)index >= (uint)Count) throw new ArgumentOutOfRangeException(nameof(index), index, $"wanted 0 to {Count - 1}");
        int found = Array.BinarySearch(_starts, index);
        // Classes without images start where the next one does; the last of those that start here has the image.
        if (found < 0) return ~found - 1;
        while (_starts[found + 1] == index) found++;
        return found;
    }

    public string NameOf(int index)
    {
        int label = Label(index);
        return Path.Combine(_classes[label].Folder, _classes[label].Names.NameOf(index - _starts[label]));
    }

    public int Length(int index)
    {
        string path = NameOf(index);
        if (_lengths[index] > 0) return _lengths[index] - 1;
        using var file = ImageFiles.Open(path, out int length);
        _lengths[index] = length + 1;
        return length;
    }

    public void Read(ReadOnlySpan<int> indices, Span<byte> destination)
    {
        foreach (int index in indices) destination = destination[ReadOne(index, destination)..];
    }

    private int ReadOne(int index, Span<byte> destination)
    {
        string path = NameOf(index);
        using var file = ImageFiles.Open(path, out int length);
        int expected = _lengths[index] - 1;
        if (expected < 0) _lengths[index] = length + 1;
        else if (expected != length) throw new InvalidDataException($"{path}: {length} bytes, but {expected} when its length was first asked for; files must not change while they are in use");
        if (destination.Length < length) throw new ArgumentException($"{destination.Length} bytes are left for {path}, wanted {length}", nameof(destination));
        int read = ImageFiles.Fill(file, 0, destination[..length]);
        return read == length ? length : throw new InvalidDataException($"{path}, offset {read}: the file ends here, expected {length} bytes");
    }
}
