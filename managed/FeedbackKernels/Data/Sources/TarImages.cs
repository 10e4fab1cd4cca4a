using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

/// <summary>Images found in one tar.</summary>
internal sealed class TarImageList
{
    private long[] _offsets = [];
    private int[] _lengths = [], _labels = [];

    /// <summary>Number of images.</summary>
    public int Count => Names.Count;

    /// <summary>Names of the members.</summary>
    public CompactNames Names { get; private set; } = new();

    /// <summary>Offset of each image in the file.</summary>
    public ReadOnlySpan<long> Offsets => _offsets.AsSpan(0, Count);

    /// <summary>Bytes of each image.</summary>
    public ReadOnlySpan<int> Lengths => _lengths.AsSpan(0, Count);

    /// <summary>Class of each image.</summary>
    public ReadOnlySpan<int> Labels => _labels.AsSpan(0, Count);

    /// <summary>Adds an image.</summary>
    /// <exception cref="InvalidDataException">Its content is no plain file, or longer than an array can be.</exception>
    public void Add(TarBytes tar, TarMember image, int label)
    {
        RequirePlain(tar, image);
        if (image.Length > Array.MaxLength) throw tar.Damaged(image.HeaderOffset, $"{image.Name} has {image.Length} bytes, the limit for an image is {Array.MaxLength}");
        if (Count == _offsets.Length)
        {
            int capacity = Math.Max(16, 2 * Count);
            Array.Resize(ref _offsets, capacity);
            Array.Resize(ref _lengths, capacity);
            Array.Resize(ref _labels, capacity);
        }

        (_offsets[Count], _lengths[Count], _labels[Count]) = (image.DataOffset, (int)image.Length, label);
        Names.Add(image.Name);
    }

    /// <summary>The images with these numbers, in this order.</summary>
    public TarImageList Reordered(int[] order) => new()
    {
        _offsets = [.. order.Select(i => _offsets[i])],
        _lengths = [.. order.Select(i => _lengths[i])],
        _labels = [.. order.Select(i => _labels[i])],
        Names = Names.Reordered(order),
    };

    /// <summary>The images of several lists, one after another.</summary>
    public static TarImageList Join(IReadOnlyList<TarImageList> lists)
    {
        var joined = new TarImageList
        {
            _offsets = [.. lists.SelectMany(list => list._offsets.Take(list.Count))],
            _lengths = [.. lists.SelectMany(list => list._lengths.Take(list.Count))],
            _labels = [.. lists.SelectMany(list => list._labels.Take(list.Count))],
        };
        foreach (TarImageList list in lists) joined.Names.Add(list.Names);
        return joined;
    }

    /// <summary>Refuses links and files with holes, whose content is not in the tar as it is.</summary>
    public static void RequirePlain(TarBytes tar, TarMember member)
    {
        if (member.Type == TarMemberType.Link)
            throw tar.Damaged(member.HeaderOffset, $"{member.Name} is a link, expected a file (make the tar with tar --dereference --hard-dereference)");
        if (member.Type == TarMemberType.Sparse)
            throw tar.Damaged(member.HeaderOffset, $"{member.Name} is stored as a sparse file, expected a plain one (make the tar without --sparse)");
    }
}

/// <summary>
/// Encoded images in tars that are not compressed, read at their offsets. An image takes 20 bytes and those of its name.
/// </summary>
internal sealed class TarImages : IImageSource
{
    private readonly SharedFiles _files;
    private readonly TarImageList[] _lists;

    // Number of the first image of each list, and the number of images.
    private readonly int[] _starts;

    /// <param name="classNames">Names of the classes.</param>
    /// <param name="tars">Path and length of each tar, and its images.</param>
    public TarImages(IReadOnlyList<string> classNames, IReadOnlyList<(string Path, long Length, TarImageList Images)> tars)
    {
        ClassNames = classNames;
        _files = new SharedFiles([.. tars.Select(tar => (tar.Path, tar.Length))]);
        _lists = [.. tars.Select(tar => tar.Images)];
        _starts = new int[_lists.Length + 1];
        for (int i = 0; i < _lists.Length; i++) _starts[i + 1] = checked(_starts[i] + _lists[i].Count);
        IsGrouped = FollowOneAnother();
    }

    public int Count => _starts[^1];

    public int Channels => 3;

    public MapShape? Shape => null;

    public IReadOnlyList<string> ClassNames { get; }

    public bool IsGrouped { get; }

    public int Label(int index)
    {
        (int tar, int image) = Find(index);
        return _lists[tar].Labels[image];
    }

    public int Length(int index)
    {
        (int tar, int image) = Find(index);
        return _lists[tar].Lengths[image];
    }

    public string NameOf(int index)
    {
        (int tar, int image) = Find(index);
        return $"{_files.PathOf(tar)}, {_lists[tar].Names.NameOf(image)}, offset {_lists[tar].Offsets[image]}";
    }

    public void Read(ReadOnlySpan<int> indices, Span<byte> destination)
    {
        foreach (int index in indices)
        {
            (int tar, int image) = Find(index);
            int length = _lists[tar].Lengths[image];
            if (destination.Length < length) throw new ArgumentException($"{destination.Length} bytes are left for {NameOf(index)}, wanted {length}", nameof(destination));
            int read = _files.Read(tar, _lists[tar].Offsets[image], destination[..length]);
            if (read < length) throw new InvalidDataException($"{NameOf(index)}: the file ends after {read} bytes, expected {length}");
            destination = destination[length..];
        }
    }

    /// <summary>Identifies the tars by their lengths and by what was found in them.</summary>
    public FileFingerprint Fingerprint(string name)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Span<byte> numbers = stackalloc byte[16];
        long bytes = 0;
        for (int tar = 0; tar < _lists.Length; tar++)
        {
            TarImageList list = _lists[tar];
            bytes += _files.LengthOf(tar);
            hash.AppendData(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{Path.GetFileName(_files.PathOf(tar))} {_files.LengthOf(tar)} {list.Count}\n")));
            list.Names.AppendTo(hash, []);
            for (int i = 0; i < list.Count; i++)
            {
                BinaryPrimitives.WriteInt64LittleEndian(numbers, list.Offsets[i]);
                BinaryPrimitives.WriteInt32LittleEndian(numbers[8..], list.Lengths[i]);
                BinaryPrimitives.WriteInt32LittleEndian(numbers[12..], list.Labels[i]);
                hash.AppendData(numbers);
            }
        }

        return new FileFingerprint(name, bytes, Convert.ToHexStringLower(hash.GetHashAndReset()));
    }

    private (int Tar, int Image) Find(int index)
    {
        if ((uint)index >= (uint)Count) throw new ArgumentOutOfRangeException(nameof(index), index, $"wanted 0 to {Count - 1}");
        int found = Array.BinarySearch(_starts, index);
        if (found < 0) found = ~found - 1;
        // Tars without images start where the next one does.
        while (_starts[found + 1] == index) found++;
        return (found, index - _starts[found]);
    }

    private bool FollowOneAnother()
    {
        var seen = new HashSet<int>();
        int last = -1;
        foreach (TarImageList list in _lists)
        {
            foreach (int label in list.Labels)
            {
                if (label != last && !seen.Add(label)) return false;
                last = label;
            }
        }

        return true;
    }
}
