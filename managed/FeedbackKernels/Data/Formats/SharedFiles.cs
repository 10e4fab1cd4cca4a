using Microsoft.Win32.SafeHandles;

namespace FeedbackKernels.Data;

/// <summary>Files that several threads read at offsets. A limited number of them is open; the one that was used longest ago is closed.</summary>
/// <param name="files">Paths, and the length that each had when its content was indexed.</param>
/// <param name="mostOpen">Number of files that are kept open; more are open only while more are read at the same time.</param>
internal sealed class SharedFiles(IReadOnlyList<(string Path, long Length)> files, int mostOpen = 128)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<int, OpenFile> _open = [];
    private long _uses;

    /// <summary>Path of a file.</summary>
    public string PathOf(int file) => files[file].Path;

    /// <summary>Length of a file when its content was indexed.</summary>
    public long LengthOf(int file) => files[file].Length;

    /// <summary>Number of files that are open.</summary>
    public int OpenCount
    {
        get { lock (_lock) return _open.Count; }
    }

    /// <summary>Fills a buffer from an offset of a file on.</summary>
    /// <returns>The number of bytes; fewer than the buffer has only at the end of the file.</returns>
    /// <exception cref="IOException">The file cannot be opened or read.</exception>
    /// <exception cref="InvalidDataException">Its length has changed since it was indexed.</exception>
    public int Read(int file, long offset, Span<byte> buffer)
    {
        OpenFile open = Rent(file);
        try
        {
            return ImageFiles.Fill(open.Handle, offset, buffer);
        }
        finally
        {
            lock (_lock) open.Readers--;
        }
    }

    private OpenFile Rent(int file)
    {
        lock (_lock)
        {
            if (!_open.TryGetValue(file, out OpenFile? open))
            {
                open = new OpenFile(OpenUnchanged(file));
                CloseOldest();
                _open.Add(file, open);
            }

            open.Readers++;
            open.LastUse = ++_uses;
            return open;
        }
    }

    private SafeFileHandle OpenUnchanged(int file)
    {
        (string path, long length) = files[file];
        SafeFileHandle handle = ImageFiles.Open(path);
        long now = RandomAccess.GetLength(handle);
        if (now == length) return handle;
        handle.Dispose();
        throw new InvalidDataException($"{path}: {now} bytes, but {length} when it was indexed; files must not change while they are in use");
    }

    private void CloseOldest()
    {
        if (_open.Count < mostOpen) return;
        (int file, OpenFile oldest) = _open.Where(pair => pair.Value.Readers == 0).OrderBy(pair => pair.Value.LastUse).FirstOrDefault();
        if (oldest is null) return;
        _open.Remove(file);
        oldest.Handle.Dispose();
    }

    private sealed class OpenFile(SafeFileHandle handle)
    {
        public SafeFileHandle Handle { get; } = handle;

        public int Readers { get; set; }

        public long LastUse { get; set; }
    }
}
