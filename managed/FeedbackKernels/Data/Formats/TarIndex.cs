using System.Text;

namespace FeedbackKernels.Data;

/// <summary>A member of a tar.</summary>
/// <param name="Name">Its path in the tar.</param>
/// <param name="Type">What it is.</param>
/// <param name="HeaderOffset">Offset of its header, for messages.</param>
/// <param name="DataOffset">Offset of its content.</param>
/// <param name="Length">Bytes of its content.</param>
internal readonly record struct TarMember(string Name, TarMemberType Type, long HeaderOffset, long DataOffset, long Length);

/// <summary>What a member of a tar is.</summary>
internal enum TarMemberType
{
    /// <summary>A file.</summary>
    File,

    /// <summary>A hard or symbolic link.</summary>
    Link,

    /// <summary>A file with holes, whose content is not stored as it is.</summary>
    Sparse,

    /// <summary>A folder, a device and so on.</summary>
    Other,
}

/// <summary>
/// Lists the members of a tar without reading their content: ustar (POSIX.1-1988), pax (POSIX.1-2001) and GNU headers. Unlike
/// System.Formats.Tar it says where a tar is damaged, notices a missing end, and never takes the memory that a damaged header announces.
/// </summary>
internal sealed class TarIndex
{
    private const int Block = 512, WindowBytes = 4096, MostExtraBytes = 1 << 20;
    private const int NameBytes = 100, SizeAt = 124, NumberBytes = 12, ChecksumAt = 148, ChecksumBytes = 8, TypeAt = 156, MagicAt = 257, PrefixAt = 345, PrefixBytes = 155;
    private const long MostPaddingRead = 1 << 20;

    private readonly TarBytes _tar;

    // A member of a few bytes and the header after it come with one read.
    private readonly byte[] _window = new byte[WindowBytes];
    private long _windowStart, _offset;
    private int _windowLength;

    // What extended headers say about the next member.
    private string? _nextName;
    private long? _nextSize;
    private bool _nextIsSparse;

    private TarIndex(TarBytes tar) => (_tar, _offset) = (tar, tar.Start);

    /// <summary>Lists the members, in the order of the tar.</summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="InvalidDataException">It is not a tar, or is damaged or cut; the message names the file and the offset.</exception>
    public static IEnumerable<TarMember> Members(TarBytes tar) => new TarIndex(tar).Walk();

    private IEnumerable<TarMember> Walk()
    {
        RequireTar();
        while (true)
        {
            long at = _offset;
            if (Peek(at, Block) is { Length: < Block } rest)
                throw _tar.Damaged(at + rest.Length, $"the tar ends here, expected {(rest.Length == 0 ? "a header or the two blocks of zeros that end a tar" : "a whole block of 512 bytes")}; it was cut or not written to its end");
            if (Peek(at, Block).IndexOfAnyExcept((byte)0) < 0)
            {
                RequireEnd(at);
                yield break;
            }

            if (ReadHeader(at) is { } member) yield return member;
        }
    }

    private void RequireTar()
    {
        ReadOnlySpan<byte> head = Peek(_tar.Start, Block);
        string wanted = GzipReader.IsGzip(head) ? "a tar that is not compressed, so that images can be read at any offset (unpack it with gunzip)" : "a tar";
        if (head.Length >= MagicAt && head[MagicAt..].StartsWith("ustar"u8)) return;
        if (FoundInstead.Error(_tar.Name, head, wanted) is { } error) throw error;
    }

    /// <summary>Reads the header at an offset and moves to the next one; null if it only describes the next member.</summary>
    private TarMember? ReadHeader(long at)
    {
        ReadOnlySpan<byte> header = Peek(at, Block);
        CheckSum(header, at);
        var type = (char)header[TypeAt];
        string name = NameOf(header);
        long size = Number(header.Slice(SizeAt, NumberBytes), at + SizeAt, name), data = at + Block;
        switch (type)
        {
            case 'L' or 'K' or 'x' or 'g':
                ReadExtra(type, Extra(data, size, name));
                Advance(at, size, name);
                return null;
            case 'M':
                throw _tar.Damaged(at, $"{name} continues in another volume; expected a tar of one volume");
        }

        name = _nextName ?? name;
        TarMemberType what = TypeOf(type, name, _nextIsSparse);
        // Headers of links and folders may state the size of what they stand for.
        size = type is >= '1' and <= '6' ? 0 : _nextSize ?? size;
        (_nextName, _nextSize, _nextIsSparse) = (null, null, false);
        Advance(at, size, name);
        return new TarMember(name, what, at, data, size);
    }

    private static TarMemberType TypeOf(char type, string name, bool isSparse) => type switch
    {
        '0' or '7' => isSparse ? TarMemberType.Sparse : TarMemberType.File,
        // Before ustar a folder was a file with a slash at the end of its name.
        '\0' => name.EndsWith('/') ? TarMemberType.Other : isSparse ? TarMemberType.Sparse : TarMemberType.File,
        '1' or '2' => TarMemberType.Link,
        'S' => TarMemberType.Sparse,
        _ => TarMemberType.Other,
    };

    private void Advance(long at, long size, string name)
    {
        long data = at + Block, left = _tar.End - data;
        if (size > left) throw _tar.Damaged(_tar.End, $"the tar ends within {name} (header at {at}), which has {size} bytes from {data} on; {Math.Max(0, left)} are there");
        _offset = data + (size + Block - 1) / Block * Block;
    }

    private void CheckSum(ReadOnlySpan<byte> header, long at)
    {
        // Old programs summed signed bytes.
        long unsigned = 0, signed = 0;
        for (int i = 0; i < Block; i++)
        {
            byte value = i is >= ChecksumAt and < ChecksumAt + ChecksumBytes ? (byte)' ' : header[i];
            unsigned += value;
            signed += (sbyte)value;
        }

        long? stored = Octal(header.Slice(ChecksumAt, ChecksumBytes));
        if (stored != unsigned && stored != signed)
            throw _tar.Damaged(at, $"found no header of a tar: its checksum is {unsigned}, {(stored is null ? "and the field for it is not an octal number" : $"the field says {stored}")}");
    }

    private static string NameOf(ReadOnlySpan<byte> header)
    {
        string name = Text(header[..NameBytes]);
        // GNU's own format has other fields there.
        bool hasPrefix = header[MagicAt..].StartsWith("ustar\0"u8) && header[PrefixAt] != 0;
        return hasPrefix ? $"{Text(header.Slice(PrefixAt, PrefixBytes))}/{name}" : name;
    }

    private static string Text(ReadOnlySpan<byte> field) => Encoding.UTF8.GetString(field.IndexOf((byte)0) is >= 0 and var end ? field[..end] : field);

    private long Number(ReadOnlySpan<byte> field, long at, string name)
    {
        // GNU's numbers of 2^33 and more: the highest bit of the first byte, then a binary number, the highest byte first.
        if ((field[0] & 0x80) == 0) return Octal(field) ?? throw _tar.Damaged(at, $"the size of {name} is not an octal number");
        Int128 number = field[0] & 0x7F;
        foreach (byte value in field[1..]) number = (number << 8) | value;
        return number <= long.MaxValue - Block && field[0] == 0x80 ? (long)number : throw _tar.Damaged(at, $"the size of {name} is negative or above 2^63");
    }

    /// <summary>An octal number with spaces before it and a space or zero after it; null for anything else. An empty field is 0.</summary>
    private static long? Octal(ReadOnlySpan<byte> field)
    {
        field = field.TrimStart((byte)' ');
        int end = field.IndexOfAny((byte)' ', (byte)0);
        if (end >= 0)
        {
            if (field[end..].IndexOfAnyExcept((byte)' ', (byte)0) >= 0) return null;
            field = field[..end];
        }

        long number = 0;
        foreach (byte digit in field)
        {
            if (digit is < (byte)'0' or > (byte)'7') return null;
            number = number * 8 + digit - '0';
        }

        return number;
    }

    private byte[] Extra(long offset, long size, string name)
    {
        if (size > MostExtraBytes) throw _tar.Damaged(offset - Block, $"an extended header ({name}) of {size} bytes, the limit is {MostExtraBytes}");
        if (size > _tar.End - offset) throw _tar.Damaged(_tar.End, $"the tar ends within an extended header of {size} bytes that begins at {offset}");
        var extra = new byte[size];
        int read = _tar.Read(offset, extra);
        return read == size ? extra : throw _tar.Damaged(offset + read, "the file ends here");
    }

    private void ReadExtra(char type, byte[] extra)
    {
        if (type == 'L') _nextName = Text(extra);
        else if (type != 'K') ReadPax(extra, isGlobal: type == 'g');
    }

    /// <summary>Reads records of the form "LENGTH KEY=VALUE\n", where the length counts all of the record.</summary>
    private void ReadPax(ReadOnlySpan<byte> records, bool isGlobal)
    {
        int at = 0;
        while (at < records.Length && records[at] != 0)
        {
            int space = records[at..].IndexOf((byte)' ');
            if (space is < 1 or > 10 || !int.TryParse(records.Slice(at, space), out int length) || length < space + 3 || length > records.Length - at || records[at + length - 1] != '\n')
                throw _tar.Damaged(_offset + Block + at, "an extended header (pax) has a record of the wrong length");
            ReadOnlySpan<byte> record = records[(at + space + 1)..(at + length - 1)];
            int equals = record.IndexOf((byte)'=');
            if (equals < 1) throw _tar.Damaged(_offset + Block + at, "an extended header (pax) has a record without '='");
            Apply(Encoding.UTF8.GetString(record[..equals]), record[(equals + 1)..], _offset + Block + at, isGlobal);
            at += length;
        }
    }

    private void Apply(string key, ReadOnlySpan<byte> value, long at, bool isGlobal)
    {
        if (isGlobal && key is "path" or "size") throw _tar.Damaged(at, $"a global extended header (pax) sets the {key} of all members");
        if (key == "path") _nextName = Text(value);
        else if (key.StartsWith("GNU.sparse.", StringComparison.Ordinal)) _nextIsSparse = true;
        else if (key == "size")
        {
            _nextSize = long.TryParse(value, out long size) && size is >= 0 and <= long.MaxValue - Block
                ? size
                : throw _tar.Damaged(at, "an extended header (pax) has a size that is not a number");
        }
    }

    private void RequireEnd(long at)
    {
        ReadOnlySpan<byte> second = Peek(at + Block, Block);
        if (second.Length == 0) throw _tar.Damaged(at + Block, "the tar ends here after one block of zeros, expected two; it was cut or not written to its end");
        if (_nextName is not null || _nextSize is not null) throw _tar.Damaged(at, "an extended header has no member after it");
        long end = Math.Min(_tar.End, at + MostPaddingRead);
        for (long offset = at + Block; offset < end; offset += WindowBytes)
        {
            int other = Peek(offset, (int)Math.Min(WindowBytes, end - offset)).IndexOfAnyExcept((byte)0);
            if (other >= 0)
                throw _tar.Damaged(offset + other, $"data follow the end of the tar at {at} (joined tars, or a damaged block); expected zeros");
        }
    }

    /// <summary>Up to <paramref name="count"/> bytes at an offset, fewer at the end of the tar.</summary>
    private ReadOnlySpan<byte> Peek(long offset, int count)
    {
        if (offset < _windowStart || offset + count > _windowStart + _windowLength)
        {
            _windowStart = offset;
            _windowLength = _tar.Read(offset, _window);
        }

        var at = (int)(offset - _windowStart);
        return _window.AsSpan(at, Math.Min(count, _windowLength - at));
    }
}
