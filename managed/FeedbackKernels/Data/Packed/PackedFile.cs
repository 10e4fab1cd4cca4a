using Microsoft.Win32.SafeHandles;

namespace FeedbackKernels.Data;

/// <summary>
/// A packed file: training and test images in one file, as <c>feedback pack</c> writes it. Only the header is read when it is opened; the
/// index is mapped into memory, and images are read from the file on request, each with a check of its checksum. Can be used by several
/// threads at once.
/// </summary>
public sealed class PackedFile : IDisposable
{
    private readonly SafeFileHandle _file;
    private readonly PackedIndex _index;
    private readonly PackedMemory? _memory;

    private PackedFile(string path, SafeFileHandle file, PackedHeader header, PackedIndex index, PackedMemory? memory)
    {
        (Path, _file, Header, _index, _memory) = (path, file, header, index, memory);
        Train = new PackedImages(this, 0, header.TrainCount, header.Description.TrainIsGrouped);
        Test = new PackedImages(this, header.TrainCount, header.TestCount, header.Description.TestIsGrouped);
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>Bytes of the file.</summary>
    public long Length => Header.FileLength;

    /// <summary>Version of the format.</summary>
    public static int Version => PackedFormat.Version;

    /// <summary>The training images.</summary>
    public PackedImages Train { get; }

    /// <summary>The test images.</summary>
    public PackedImages Test { get; }

    /// <summary>One name for each class.</summary>
    public IReadOnlyList<string> ClassNames => Header.Description.ClassNames;

    /// <summary>How the images were resized and encoded.</summary>
    public ImagePreparation Preparation => Header.Description.Preparation;

    /// <summary>Seed of the order of the image data.</summary>
    public ulong Seed => Header.Description.Seed;

    /// <summary>Mean and standard deviation of all pixels of the training images as they are stored.</summary>
    public PixelStatistics Statistics => new(Header.Description.Means, Header.Description.Deviations);

    /// <summary>Whether the images are held in memory.</summary>
    public bool IsInMemory => _memory is not null;

    internal PackedHeader Header { get; }

    /// <summary>Opens a packed file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="inMemory">Whether to read all images into memory now. Their checksums are checked when an image is used.</param>
    /// <exception cref="IOException">The file does not exist or cannot be read.</exception>
    /// <exception cref="InvalidDataException">It is not a packed file, is of another version, or is damaged; the message names the file, the
    /// offset and what was expected.</exception>
    /// <exception cref="OutOfMemoryException">The images do not fit into the available memory.</exception>
    public static PackedFile Open(string path, bool inMemory = false)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        SafeFileHandle file = OpenHandle(path);
        PackedIndex? index = null;
        try
        {
            PackedHeader header = PackedHeader.Read(file, path);
            index = new PackedIndex(path, file, header);
            PackedMemory? memory = inMemory ? PackedMemory.Read(file, path, header.DataOffset, header.DataLength) : null;
            return new PackedFile(path, file, header, index, memory);
        }
        catch
        {
            index?.Dispose();
            file.Dispose();
            throw;
        }
    }

    /// <summary>Frees the file and the memory. A call that another thread has begun ends normally or with
    /// <see cref="ObjectDisposedException"/>.</summary>
    public void Dispose()
    {
        _index.Dispose();
        _memory?.Dispose();
        _file.Dispose();
    }

    /// <summary>What the index says about an image.</summary>
    /// <param name="number">Its number, training images first.</param>
    internal PackedEntry Entry(long number) => _index[number];

    /// <summary>Checks a page of the index.</summary>
    internal void CheckPage(int page) => _index.CheckPage(page);

    /// <summary>File, half and number of an image, for messages.</summary>
    internal string NameOf(long number) => $"{Path}, {_index.NameOf(number)}";

    /// <summary>Reads an image and checks its checksum.</summary>
    /// <param name="number">Its number.</param>
    /// <param name="entry">Its entry.</param>
    /// <param name="destination">As many bytes as it has.</param>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="InvalidDataException">The checksum is wrong.</exception>
    internal void Read(long number, in PackedEntry entry, Span<byte> destination)
    {
        if (_memory is not null) _memory.CopyTo(entry.Offset - Header.DataOffset, destination);
        else PackedRead.Exactly(_file, destination, entry.Offset, () => NameOf(number));
        ulong found = PackedFormat.Checksum(destination);
        if (found != entry.Checksum)
            throw new InvalidDataException($"{NameOf(number)}, offset {entry.Offset}: the checksum of its {entry.Length} bytes is {found:x16}, expected {entry.Checksum:x16}: the file is damaged");
    }

    /// <summary>Asks the operating system to read an image ahead.</summary>
    internal void Prefetch(in PackedEntry entry)
    {
        if (_memory is null) FileAdvice.WillNeed(_file, entry.Offset, entry.Length);
    }

    private static SafeFileHandle OpenHandle(string path)
    {
        if (Directory.Exists(path)) throw new InvalidDataException($"{path}: found a folder, expected a packed file");
        if (!File.Exists(path)) throw new FileNotFoundException($"file '{path}' is not there", path);
        try
        {
            return File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, FileOptions.RandomAccess);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new IOException($"file '{path}' may not be read: {e.Message}", e);
        }
    }
}
