using Microsoft.Win32.SafeHandles;

namespace FeedbackKernels.Data;

/// <summary>The bytes of a tar: a file, a part of a file (a tar within a tar), or memory.</summary>
internal sealed class TarBytes
{
    private readonly SafeFileHandle? _file;
    private readonly ReadOnlyMemory<byte> _memory;

    private TarBytes(string name, SafeFileHandle? file, ReadOnlyMemory<byte> memory, long start, long end) =>
        (Name, _file, _memory, Start, End) = (name, file, memory, start, end);

    /// <summary>Name for messages.</summary>
    public string Name { get; }

    /// <summary>Offset of the first byte in the file.</summary>
    public long Start { get; }

    /// <summary>Offset after the last byte.</summary>
    public long End { get; }

    /// <summary>A whole file, which stays open for as long as this is used.</summary>
    public static TarBytes Of(string path, SafeFileHandle file) => new(path, file, default, 0, RandomAccess.GetLength(file));

    /// <summary>Bytes in memory.</summary>
    public static TarBytes Of(string name, ReadOnlyMemory<byte> bytes) => new(name, null, bytes, 0, bytes.Length);

    /// <summary>A part, which is a tar itself. Its offsets count from the beginning of the file.</summary>
    public TarBytes Part(TarMember member) => new($"{Name}, {member.Name}", _file, _memory, member.DataOffset, member.DataOffset + member.Length);

    /// <summary>Reads from an offset on, up to the end.</summary>
    /// <returns>The number of bytes.</returns>
    public int Read(long offset, Span<byte> buffer)
    {
        int count = (int)Math.Min(buffer.Length, End - offset);
        if (count <= 0) return 0;
        if (_file is not null) return ImageFiles.Fill(_file, offset, buffer[..count]);
        _memory.Span.Slice((int)offset, count).CopyTo(buffer);
        return count;
    }

    /// <summary>The content of a member.</summary>
    /// <exception cref="InvalidDataException">It is longer than a limit, or the file has become shorter.</exception>
    public byte[] Content(TarMember member, int most)
    {
        if (member.Length > most) throw Damaged(member.DataOffset, $"{member.Name} has {member.Length} bytes, the limit is {most}");
        var content = new byte[member.Length];
        int read = Read(member.DataOffset, content);
        return read == content.Length ? content : throw Damaged(member.DataOffset + read, "the file ends here");
    }

    /// <summary>An error at an offset.</summary>
    public InvalidDataException Damaged(long offset, string what) => new($"{Name}, offset {offset}: {what}");
}
