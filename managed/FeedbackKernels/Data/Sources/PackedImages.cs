using System.Buffers;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

/// <summary>One half of a packed file. The images have the numbers that they had in the source that was packed.</summary>
public sealed class PackedImages : IImageSource
{
    private readonly PackedFile _file;
    private readonly long _first;

    internal PackedImages(PackedFile file, long first, int count, bool isGrouped) => (_file, _first, Count, IsGrouped) = (file, first, count, isGrouped);

    /// <summary>The catalogue's entry.</summary>
    public static SourceKind Kind { get; } = new("packed", "a file that `feedback pack` wrote")
    {
        Place = "FILE",
        HasSeveralSizes = true,
        CanHoldInMemory = true,
        Open = request => Read(request.Place, request.InMemory),
        OpenTest = request => ReadTest(request.Place),
    };

    /// <inheritdoc/>
    public int Count { get; }

    /// <inheritdoc/>
    public int Channels => 3;

    /// <summary>Null: the sizes vary.</summary>
    public MapShape? Shape => null;

    /// <inheritdoc/>
    public IReadOnlyList<string> ClassNames => _file.ClassNames;

    /// <inheritdoc/>
    public bool IsGrouped { get; }

    /// <inheritdoc/>
    public PixelStatistics? Statistics => _file.Statistics;

    /// <summary>The file.</summary>
    public PackedFile File => _file;

    /// <summary>Opens both halves of a packed file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="inMemory">Whether to read all images into memory now.</param>
    /// <exception cref="IOException">The file does not exist or cannot be read.</exception>
    /// <exception cref="InvalidDataException">It is not a packed file, or is damaged.</exception>
    /// <exception cref="OutOfMemoryException">The images do not fit into the available memory.</exception>
    public static DataSet Read(string path, bool inMemory = false)
    {
        PackedFile file = PackedFile.Open(path, inMemory);
        return new DataSet(Kind.Name, file.Train, file.Test, Augmentation.CropFlip)
        {
            Fingerprint = new DataFingerprint(Kind.Name, Fingerprint(file, file.Train), Fingerprint(file, file.Test)),
            Notes = inMemory ? [$"{path}: {file.Header.DataLength >> 20} MiB of images are in memory"] : [],
        };
    }

    /// <summary>Opens the test half of a packed file.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">The file does not exist or cannot be read.</exception>
    /// <exception cref="InvalidDataException">It is not a packed file, or is damaged.</exception>
    public static TestSet ReadTest(string path)
    {
        PackedFile file = PackedFile.Open(path);
        return new TestSet(Kind.Name, file.Test, new DataFingerprint(Kind.Name, null, Fingerprint(file, file.Test)));
    }

    /// <inheritdoc/>
    public int Label(int index) => Entry(index).Label;

    /// <inheritdoc/>
    public int Length(int index) => Entry(index).Length;

    /// <summary>File, half, number and offset of an image.</summary>
    /// <param name="index">Number of the image, from 0.</param>
    public string NameOf(int index) => $"{_file.NameOf(Number(index))}, offset {Entry(index).Offset}";

    /// <summary>Rows and columns of an upright image, without decoding it.</summary>
    /// <param name="index">Number of the image, from 0.</param>
    public (int Rows, int Columns) SizeOf(int index) => Entry(index) is var entry ? (entry.Rows, entry.Columns) : default;

    /// <summary>Encoding of an image, without reading it.</summary>
    /// <param name="index">Number of the image, from 0.</param>
    public ImageFormat FormatOf(int index) => Entry(index).Format;

    /// <inheritdoc/>
    public void Prefetch(ReadOnlySpan<int> indices)
    {
        foreach (int index in indices) _file.Prefetch(Entry(index));
    }

    /// <inheritdoc/>
    public void Read(ReadOnlySpan<int> indices, Span<byte> destination)
    {
        PackedEntry[] entries = ArrayPool<PackedEntry>.Shared.Rent(indices.Length);
        try
        {
            long bytes = 0;
            for (int i = 0; i < indices.Length; i++) bytes += (entries[i] = Entry(indices[i])).Length;
            if (bytes > destination.Length)
                throw new ArgumentException($"{destination.Length} bytes for {indices.Length} images, wanted at least {bytes}", nameof(destination));
            for (int i = 0; i < indices.Length; i++)
            {
                _file.Read(Number(indices[i]), entries[i], destination[..entries[i].Length]);
                destination = destination[entries[i].Length..];
            }
        }
        finally
        {
            ArrayPool<PackedEntry>.Shared.Return(entries);
        }
    }

    // The header has the checksums of the index's pages, and these those of the images: its hash identifies the whole content.
    private static SetFingerprint Fingerprint(PackedFile file, PackedImages half) =>
        SetFingerprint.Of(half, [new FileFingerprint(Path.GetFileName(file.Path), file.Length, file.Header.Sha256)]);

    private PackedEntry Entry(int index) => _file.Entry(Number(index));

    private long Number(int index) => (uint)index < (uint)Count
        ? _first + index
        : throw new ArgumentOutOfRangeException(nameof(index), index, $"wanted 0 to {Count - 1}");
}
