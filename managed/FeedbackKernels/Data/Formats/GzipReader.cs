using System.Buffers.Binary;
using System.IO.Compression;

namespace FeedbackKernels.Data;

/// <summary>
/// Decompresses a gzip file (RFC 1952) of one or more members, and checks all of it: header, checksum and length of each
/// member, and that nothing follows. <see cref="GZipStream"/> accepts truncated files and trailing bytes.
/// </summary>
internal sealed class GzipReader : ForwardReader
{
    private const int HeaderBytes = 10, TrailerBytes = 8, FineBytes = 64, MiddlePiece = 128, DrainBytes = 16 * 1024;
    private const byte Deflate = 8;

    private readonly FileStream _file;
    private readonly string _path;
    private DeflateStream? _member;
    private Feed? _feed;
    private long _start;
    private uint _checksum, _length;

    /// <param name="file">The file, at its beginning. It is not closed.</param>
    /// <param name="path">Its name, for error messages.</param>
    public GzipReader(FileStream file, string path) => (_file, _path) = (file, path);

    public static bool IsGzip(ReadOnlySpan<byte> head) => head is [0x1F, 0x8B, ..];

    /// <summary>Reads decompressed bytes; returns 0 only after the whole file has been checked.</summary>
    /// <exception cref="InvalidDataException">The file is damaged; the message says where and how.</exception>
    public override int Read(Span<byte> buffer)
    {
        if (buffer.IsEmpty) return 0;
        while (_member is not null || StartMember())
        {
            int count = Inflate(_member!, buffer);
            if (count > 0)
            {
                _checksum = Crc32.Append(_checksum, buffer[..count]);
                _length += (uint)count;
                return count;
            }

            FinishMember();
        }

        return 0;
    }

    /// <summary>Reads a member's header; false at the end of the file.</summary>
    private bool StartMember()
    {
        long first = _file.Position, left = _file.Length - first;
        if (first > 0 && left == 0) return false;
        uint checksum = 0;
        Span<byte> header = stackalloc byte[HeaderBytes];
        for (int i = 0; i < HeaderBytes; i++)
        {
            header[i] = NextHeaderByte(ref checksum);
            if (left == 1 || i == 1 && !IsGzip(header)) throw Damaged(first, $"{left} bytes follow the compressed data");
        }

        if (header[2] != Deflate) throw Damaged(first + 2, $"compression method {header[2]}, expected {Deflate} (deflate)");
        SkipOptions((HeaderFlags)header[3], first + 3, ref checksum);
        (_start, _checksum, _length) = (_file.Position, 0, 0);
        (_member, _feed) = Inflater(_file.Length - FineBytes, piece: 1);
        return true;
    }

    private void SkipOptions(HeaderFlags flags, long offset, ref uint checksum)
    {
        if (flags > HeaderFlags.All) throw Damaged(offset, $"header flags 0x{(int)flags:X2}, expected 0x00 to 0x{(int)HeaderFlags.All:X2}");
        if (flags.HasFlag(HeaderFlags.Extra))
        {
            int length = NextHeaderByte(ref checksum) | NextHeaderByte(ref checksum) << 8;
            for (int i = 0; i < length; i++) NextHeaderByte(ref checksum);
        }

        if (flags.HasFlag(HeaderFlags.Name)) while (NextHeaderByte(ref checksum) != 0) { }
        if (flags.HasFlag(HeaderFlags.Comment)) while (NextHeaderByte(ref checksum) != 0) { }
        if (!flags.HasFlag(HeaderFlags.HeaderChecksum)) return;
        var expected = (ushort)checksum;
        long at = _file.Position;
        int stored = NextHeaderByte(ref checksum) | NextHeaderByte(ref checksum) << 8;
        if (stored != expected) throw Damaged(at, $"the header's checksum is 0x{expected:X4}, the file says 0x{stored:X4}");
    }

    private byte NextHeaderByte(ref uint checksum)
    {
        int value = _file.ReadByte();
        if (value < 0) throw Damaged(_file.Length, "the file ends within the header");
        var next = (byte)value;
        checksum = Crc32.Append(checksum, [next]);
        return next;
    }

    private int Inflate(DeflateStream member, Span<byte> buffer)
    {
        try
        {
            return member.Read(buffer);
        }
        catch (InvalidDataException e)
        {
            // The library's message ("unsupported compression method") would be misleading.
            throw Damaged(_feed!.LastStart, "the compressed data is not valid from about here on", e);
        }
    }

    private void FinishMember()
    {
        if (_feed!.Ended) throw Damaged(_file.Length, "the file ends within the compressed data");
        _file.Position = _feed.EndsExactly ? _file.Position : FindEnd(_feed.LastStart);
        _member!.Dispose();
        (_member, _feed) = (null, null);
        long at = _file.Position;
        Span<byte> trailer = stackalloc byte[TrailerBytes];
        if (_file.ReadAtLeast(trailer, TrailerBytes, throwOnEndOfStream: false) < TrailerBytes)
            throw Damaged(_file.Length, "the file ends within the checksum and length");
        uint checksum = BinaryPrimitives.ReadUInt32LittleEndian(trailer), length = BinaryPrimitives.ReadUInt32LittleEndian(trailer[4..]);
        if (checksum != _checksum)
            throw Damaged(at, $"the checksum (CRC-32) of the decompressed data is 0x{_checksum:X8}, the file says 0x{checksum:X8}");
        if (length != _length) throw Damaged(at + 4, $"the decompressed data has {_length} bytes, the file says {length}");
    }

    /// <summary>Finds the end of a member. The inflater reads whole buffers and does not tell how much of the last one it used, so the
    /// last buffer is read again in small pieces, and the last piece byte by byte.</summary>
    private long FindEnd(long from)
    {
        var ignored = new byte[DrainBytes];
        foreach (int piece in (ReadOnlySpan<int>)[MiddlePiece, 1])
        {
            _file.Position = _start;
            (DeflateStream member, Feed feed) = Inflater(from, piece);
            using (member)
            {
                while (member.Read(ignored) > 0) { }
            }

            from = feed.LastStart;
        }

        return _file.Position;
    }

    private (DeflateStream Member, Feed Feed) Inflater(long fineFrom, int piece)
    {
        var feed = new Feed(_file, fineFrom, piece);
        return (new DeflateStream(feed, CompressionMode.Decompress, leaveOpen: true), feed);
    }

    private InvalidDataException Damaged(long offset, string what, Exception? inner = null) =>
        new($"{_path}, offset {offset}: the gzip file is damaged: {what}; download it again", inner);

    protected override void Dispose(bool disposing)
    {
        _member?.Dispose();
        base.Dispose(disposing);
    }

    [Flags]
    private enum HeaderFlags : byte
    {
        Text = 1,
        HeaderChecksum = 2,
        Extra = 4,
        Name = 8,
        Comment = 16,
        All = 31,
    }

    /// <summary>The input of the inflater: whole buffers up to an offset, small pieces after it.</summary>
    private sealed class Feed(FileStream file, long fineFrom, int piece) : ForwardReader
    {
        /// <summary>Whether the inflater tried to read beyond the end of the file.</summary>
        public bool Ended { get; private set; }

        /// <summary>Offset of the last read.</summary>
        public long LastStart { get; private set; }

        /// <summary>Whether the last read was of a single byte, so that the position of the file is the end of the member.</summary>
        public bool EndsExactly => piece == 1 && LastStart >= fineFrom;

        public override int Read(Span<byte> buffer)
        {
            LastStart = file.Position;
            int count = LastStart < fineFrom ? (int)Math.Min(buffer.Length, fineFrom - LastStart) : piece;
            int read = file.Read(buffer[..count]);
            Ended |= read == 0;
            return read;
        }
    }
}
