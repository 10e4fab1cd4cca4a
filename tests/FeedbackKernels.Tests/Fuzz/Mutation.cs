using System.Buffers.Binary;
using CsCheck;

namespace FeedbackKernels.Tests.Fuzz;

/// <summary>A change to the bytes of a file.</summary>
/// <param name="Kind">Kind of change.</param>
/// <param name="At">Position, modulo the length. Half of the positions are near the beginning, where headers are.</param>
/// <param name="Size">Number of bytes.</param>
/// <param name="Value">New value.</param>
internal sealed record Mutation(int Kind, uint At, uint Size, ulong Value)
{
    private const int Kinds = 12, HeadBytes = 64;

    private static readonly ulong[] Numbers =
    [
        0, 1, 2, 255, 256, int.MaxValue, 0x80000000, uint.MaxValue, 0x100000000, long.MaxValue, 0x8000000000000000, ulong.MaxValue, 100_000_000, 100_000_001, 60_000,
    ];

    /// <summary>Any mutation.</summary>
    public static Gen<Mutation> Any { get; } =
        Gen.Select(Gen.Int[0, Kinds - 1], Gen.UInt, Gen.UInt, Gen.ULong).Select((kind, at, size, value) => new Mutation(kind, at, size, value));

    /// <summary>The changed file.</summary>
    /// <param name="file">The file.</param>
    /// <param name="other">Another file of the same format, for splices.</param>
    public byte[] Apply(byte[] file, byte[] other)
    {
        int at = Place(file), end = at + (int)(Size % (uint)(Math.Min(file.Length - at, 4096) + 1));
        return Kind switch
        {
            0 => Change(file, at, [(byte)(file.Length == 0 ? 0 : file[Math.Min(at, file.Length - 1)] ^ 1 << (int)(Value % 8))]),
            1 => file[..at],
            2 => [.. file[..at], .. Filling(), .. file[at..]],
            3 => [.. file[..end], .. file[at..end], .. file[end..]],
            4 => [.. file[..at], .. other[Math.Min(at, other.Length)..]],
            5 => [.. file[..at], .. other[(int)(Size % (uint)(other.Length + 1))..]],
            6 => Change(file, at & ~3, BigEndian(Numbers[Value % (ulong)Numbers.Length])),
            7 => Change(file, at < 8 ? 0 : at & ~7, BitConverter.GetBytes(Numbers[Value % (ulong)Numbers.Length])),
            8 => [.. file[..at], .. file[end..]],
            9 => [.. file, .. Filling()],
            10 => Change(file, at, [(byte)Value]),
            _ => Change(file, at & ~3, BigEndian((ulong)(int)(Value % 64) - 16)),
        };
    }

    private int Place(byte[] file)
    {
        long most = (Value >> 32) % 2 == 0 ? Math.Min(file.Length, HeadBytes) : file.Length;
        return (int)(At % (most + 1));
    }

    private byte[] Filling()
    {
        var bytes = new byte[Size % 300];
        for (int i = 0; i < bytes.Length; i++) bytes[i] = (byte)(Value >> i % 8 * 8);
        return bytes;
    }

    private static byte[] BigEndian(ulong number)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, (uint)number);
        return bytes;
    }

    private static byte[] Change(byte[] file, int at, byte[] bytes)
    {
        byte[] changed = [.. file];
        int count = Math.Min(bytes.Length, Math.Max(0, file.Length - at));
        bytes.AsSpan(0, count).CopyTo(changed.AsSpan(Math.Min(at, file.Length)));
        return changed;
    }
}
