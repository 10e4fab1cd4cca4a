using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Text;
using System.Text.Json;

namespace FeedbackKernels.Data;

/// <summary>What became of an image of the source: its entry and the sums over its pixels, or why it was left out.</summary>
/// <param name="Entry">Its entry; meaningless if it was left out.</param>
/// <param name="Sums">Its sums, as <see cref="PixelSums.Write"/> wrote them; empty if it was left out.</param>
/// <param name="Damage">Why it was left out; null if it was stored.</param>
internal sealed record PackRecord(PackedEntry Entry, byte[] Sums, string? Damage)
{
    [MemberNotNullWhen(true, nameof(Damage))]
    public bool IsDamaged => Damage is not null;
}

/// <summary>
/// The journal of a packed file that is being written: the plan, then a record for each image in the order of the data. Each is length (4
/// bytes), bytes, and an XXH3-64 checksum (8), so a record that was written in part is recognised. The open journal is also the lock of the
/// file.
/// </summary>
internal sealed class PackJournal : IDisposable
{
    private const int Stored = 1, LeftOut = 2, LengthBytes = 4, ChecksumBytes = 8, MostBytes = 256 << 20;

    private readonly FileStream _file;
    private readonly byte[] _plan;

    private PackJournal(FileStream file, byte[] plan) => (_file, _plan) = (file, plan);

    /// <summary>Why the images of an earlier journal cannot be used, in words; null if they can, or if there was no journal.</summary>
    public string? Rejection { get; private set; }

    /// <summary>Opens the journal of a plan; without one, creates it.</summary>
    /// <exception cref="IOException">The file cannot be used, for example because another process packs to the same place.</exception>
    public static PackJournal Open(string path, PackPlan plan)
    {
        FileStream file;
        try
        {
            file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new IOException($"file '{path}' may not be written: {e.Message}", e);
        }
        catch (IOException e) when (File.Exists(path))
        {
            throw new IOException($"file '{path}' cannot be opened; another process may be packing to the same file: {e.Message}", e);
        }

        var journal = new PackJournal(file, JsonSerializer.SerializeToUtf8Bytes(plan, PackedJson.Default.PackPlan));
        try
        {
            journal.Load(plan);
            return journal;
        }
        catch
        {
            journal.Dispose();
            throw;
        }
    }

    /// <summary>Reads the records of the earlier journal, up to the first that was written in part or is not accepted. The journal goes on
    /// from there.</summary>
    /// <param name="accept">Whether a record is right.</param>
    public void Read(Func<PackRecord, bool> accept)
    {
        long end = _file.Position;
        while (ReadRecord() is { } bytes && Parse(bytes) is { } record && accept(record)) end = _file.Position;
        _file.SetLength(end);
        _file.Position = end;
    }

    /// <summary>Drops all records.</summary>
    public void Clear()
    {
        _file.SetLength(0);
        _file.Position = 0;
        WriteRecord(_plan);
        _file.Flush();
    }

    /// <summary>Appends a record. The image's bytes must have been written.</summary>
    public void Append(PackRecord record)
    {
        byte[] bytes;
        if (record.IsDamaged) bytes = [LeftOut, .. Encoding.UTF8.GetBytes(record.Damage)];
        else
        {
            bytes = new byte[1 + PackedFormat.EntryBytes + PixelSums.Bytes];
            bytes[0] = Stored;
            record.Entry.Write(bytes.AsSpan(1));
            record.Sums.CopyTo(bytes, 1 + PackedFormat.EntryBytes);
        }

        WriteRecord(bytes);
        // To the operating system, so that it outlives this process.
        _file.Flush();
    }

    /// <summary>Flushes the journal to the disk.</summary>
    public void FlushToDisk() => _file.Flush(flushToDisk: true);

    /// <summary>Closes the journal.</summary>
    public void Dispose() => _file.Dispose();

    // Leaves the position after the plan.
    private void Load(PackPlan plan)
    {
        if (_file.Length > 0)
        {
            Rejection = ReadPlan(plan);
            if (Rejection is null) return;
        }

        Clear();
    }

    private string? ReadPlan(PackPlan plan)
    {
        const string Damaged = "its journal is damaged";
        if (ReadRecord() is not { } bytes) return Damaged;
        if (bytes.AsSpan().SequenceEqual(_plan)) return null;
        try
        {
            PackPlan? former = JsonSerializer.Deserialize(bytes, PackedJson.Default.PackPlan);
            return former is null ? Damaged : string.Join("; ", plan.DifferencesFrom(former).DefaultIfEmpty("other settings"));
        }
        catch (Exception e) when (e is JsonException or ArgumentException)
        {
            return "it was begun by another version of the program";
        }
    }

    private static PackRecord? Parse(byte[] bytes) => bytes switch
    {
        [Stored, ..] when bytes.Length == 1 + PackedFormat.EntryBytes + PixelSums.Bytes =>
            new PackRecord(PackedEntry.Read(bytes.AsSpan(1)), bytes[(1 + PackedFormat.EntryBytes)..], null),
        [LeftOut, ..] => new PackRecord(default, [], Encoding.UTF8.GetString(bytes.AsSpan(1))),
        _ => null,
    };

    private byte[]? ReadRecord()
    {
        Span<byte> number = stackalloc byte[ChecksumBytes];
        if (_file.ReadAtLeast(number[..LengthBytes], LengthBytes, throwOnEndOfStream: false) < LengthBytes) return null;
        int length = BinaryPrimitives.ReadInt32LittleEndian(number);
        if (length <= 0 || length > Math.Min(MostBytes, _file.Length - _file.Position)) return null;
        var bytes = new byte[length];
        _file.ReadExactly(bytes);
        if (_file.ReadAtLeast(number, ChecksumBytes, throwOnEndOfStream: false) < ChecksumBytes) return null;
        return BinaryPrimitives.ReadUInt64LittleEndian(number) == PackedFormat.Checksum(bytes) ? bytes : null;
    }

    private void WriteRecord(ReadOnlySpan<byte> bytes)
    {
        Span<byte> number = stackalloc byte[ChecksumBytes];
        BinaryPrimitives.WriteInt32LittleEndian(number, bytes.Length);
        _file.Write(number[..LengthBytes]);
        _file.Write(bytes);
        BinaryPrimitives.WriteUInt64LittleEndian(number, PackedFormat.Checksum(bytes));
        _file.Write(number);
    }
}
