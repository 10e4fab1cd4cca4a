using System.Buffers;
using System.IO.MemoryMappedFiles;
using Microsoft.Win32.SafeHandles;

namespace FeedbackKernels.Data;

/// <summary>
/// The index of a packed file. It is mapped into memory, and only the pages that are used are read. The checksum of a page is checked at
/// its first use, with the page read from the file, so that an error of the disk or a shorter file is an exception. Can be used by several
/// threads at once.
/// </summary>
internal sealed class PackedIndex : IDisposable
{
    private readonly string _path;
    private readonly SafeFileHandle _file;
    private readonly PackedHeader _header;
    private readonly MemoryMappedFile _map;
    private readonly MemoryMappedViewAccessor _view;

    // Pages whose checksum has been checked. Two threads may check a page twice; both find the same.
    private readonly bool[] _checked;

    /// <param name="path">Name of the file, for messages.</param>
    /// <param name="file">The file, which the caller closes.</param>
    /// <param name="header">Its header.</param>
    public PackedIndex(string path, SafeFileHandle file, PackedHeader header)
    {
        (_path, _file, _header) = (path, file, header);
        _checked = new bool[header.PageChecksums.Count];
        _map = MemoryMappedFile.CreateFromFile(file, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
        try
        {
            _view = _map.CreateViewAccessor(header.IndexOffset, header.IndexLength, MemoryMappedFileAccess.Read);
        }
        catch
        {
            _map.Dispose();
            throw;
        }
    }

    /// <summary>The entry of an image.</summary>
    /// <param name="number">Its number, training images first.</param>
    /// <exception cref="IOException">The page cannot be read.</exception>
    /// <exception cref="InvalidDataException">The page or the entry is damaged.</exception>
    public PackedEntry this[long number]
    {
        get
        {
            RequireLength(number);
            long page = number / PackedFormat.EntriesOnPage;
            if (!Volatile.Read(ref _checked[page])) CheckPage((int)page);
            Span<byte> bytes = stackalloc byte[PackedFormat.EntryBytes];
            // Unlike a pointer, this is safe if another thread disposes of the file.
            _view.SafeMemoryMappedViewHandle.ReadSpan((ulong)(_view.PointerOffset + number * PackedFormat.EntryBytes), bytes);
            PackedEntry entry = PackedEntry.Read(bytes);
            return entry.Fault(_header.DataOffset, _header.IndexOffset, _header.Description.ClassNames.Count) is { } fault
                ? throw new InvalidDataException($"{_path}, {NameOf(number)}, offset {OffsetOf(number)} in the index: {fault}")
                : entry;
        }
    }

    /// <summary>Reads a page from the file and checks it.</summary>
    /// <exception cref="IOException">It cannot be read.</exception>
    /// <exception cref="InvalidDataException">Its checksum is wrong.</exception>
    public void CheckPage(int page)
    {
        long start = _header.IndexOffset + (long)page * PackedFormat.PageBytes;
        var length = (int)Math.Min(PackedFormat.PageBytes, _header.FileLength - start);
        byte[] rented = ArrayPool<byte>.Shared.Rent(PackedFormat.PageBytes);
        try
        {
            Span<byte> bytes = rented.AsSpan(0, length);
            PackedRead.Exactly(_file, bytes, start, () => $"{_path}, {Describe(page)}");
            ulong found = PackedFormat.Checksum(bytes), expected = _header.PageChecksums[page];
            if (found != expected)
                throw new InvalidDataException($"{_path}, {Describe(page)}, offset {start}: the checksum of its {length} bytes is {found:x16}, expected {expected:x16}: the file is damaged");
            Volatile.Write(ref _checked[page], true);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(rented);
        }
    }

    /// <summary>What an image is called in messages.</summary>
    public string NameOf(long number) => number < _header.TrainCount ? $"training image {number}" : $"test image {number - _header.TrainCount}";

    /// <summary>Frees the map.</summary>
    public void Dispose()
    {
        _view.Dispose();
        _map.Dispose();
    }

    // A page of the map that is no longer in the file would end the process (SIGBUS).
    private void RequireLength(long number)
    {
        long length = RandomAccess.GetLength(_file);
        if (length < _header.FileLength)
            throw new EndOfStreamException($"{_path}, {NameOf(number)}, offset {length}: the file ends here, expected {_header.FileLength} bytes: it became shorter while it was open");
    }

    private long OffsetOf(long number) => _header.IndexOffset + number * PackedFormat.EntryBytes;

    private string Describe(int page)
    {
        long first = (long)page * PackedFormat.EntriesOnPage, last = Math.Min(first + PackedFormat.EntriesOnPage, _header.Count) - 1;
        return $"page {page} of the index ({NameOf(first)} to {NameOf(last)})";
    }
}
