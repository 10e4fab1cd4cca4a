using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;
using FeedbackKernels.Runs.TensorBoard;
using Google.Protobuf;

namespace FeedbackKernels.Runs;

/// <summary>
/// A file of TensorFlow events, which can be read while it grows. An event is a record: the length of its data (8 bytes, little
/// endian), the masked CRC-32C of these bytes, the data, and the masked CRC-32C of the data. The format is described in
/// https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details.
/// </summary>
internal sealed class EventFile : IDisposable
{
    private const int LengthBytes = 8, ChecksumBytes = 4;

    private readonly TimeProvider _clock;
    private readonly FileStream _file;

    /// <summary>Creates a file whose name sorts behind those of the event files in the folder: TensorBoard reads them in that
    /// order.</summary>
    /// <param name="folder">The folder; it exists.</param>
    /// <param name="firstStep">First step of the events that will follow. TensorBoard discards the events at this step and later ones
    /// that are in earlier files: a run that was killed has gone on after its last checkpoint.</param>
    /// <param name="clock">The times of the events.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public EventFile(string folder, long firstStep, TimeProvider clock)
    {
        _clock = clock;
        long seconds = Math.Max(clock.GetUtcNow().ToUnixTimeSeconds(), NewestIn(folder) + 1);
        string name = string.Create(CultureInfo.InvariantCulture, $"{RunFiles.EventPrefix}{seconds:D10}.{Environment.MachineName}.{Environment.ProcessId}");
        _file = new FileStream(System.IO.Path.Combine(folder, name), FileMode.CreateNew, FileAccess.Write, FileShare.Read);
        try
        {
            Write(new Event { FileVersion = "brain.Event:2" });
            // The first START of a run discards nothing; without it, that of the second file would count as the first.
            Write(new Event { Step = firstStep, SessionLog = new SessionLog { Status = SessionLog.Types.SessionStatus.Start } });
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The file.</summary>
    public string Path => _file.Name;

    /// <summary>Adds an event at the current time.</summary>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void Write(Event added)
    {
        added.WallTime = (_clock.GetUtcNow() - DateTimeOffset.UnixEpoch).TotalSeconds;
        int length = added.CalculateSize();
        // One call for a record: a reader seldom finds a part of it.
        var record = new byte[LengthBytes + ChecksumBytes + length + ChecksumBytes];
        Span<byte> size = record.AsSpan(0, LengthBytes), data = record.AsSpan(LengthBytes + ChecksumBytes, length);
        BinaryPrimitives.WriteInt64LittleEndian(size, length);
        added.WriteTo(data);
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(LengthBytes), MaskedChecksum(size));
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(record.Length - ChecksumBytes), MaskedChecksum(data));
        _file.Write(record);
        _file.Flush();
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    /// <summary>CRC-32C (RFC 3720, appendix B.4), rotated and shifted so that the checksum of data with checksums in them is as good as
    /// any.</summary>
    private static uint MaskedChecksum(ReadOnlySpan<byte> data)
    {
        uint sum = uint.MaxValue;
        for (; data.Length >= sizeof(ulong); data = data[sizeof(ulong)..]) sum = BitOperations.Crc32C(sum, BinaryPrimitives.ReadUInt64LittleEndian(data));
        foreach (byte value in data) sum = BitOperations.Crc32C(sum, value);
        return BitOperations.RotateRight(~sum, 15) + 0xA282EAD8;
    }

    /// <summary>Largest time in the names of the folder's event files; 0 if there is none.</summary>
    private static long NewestIn(string folder)
    {
        long newest = 0;
        foreach (string file in Directory.EnumerateFiles(folder, $"{RunFiles.EventPrefix}*"))
        {
            string time = System.IO.Path.GetFileName(file)[RunFiles.EventPrefix.Length..].Split('.')[0];
            if (long.TryParse(time, NumberStyles.None, CultureInfo.InvariantCulture, out long seconds)) newest = Math.Max(newest, seconds);
        }

        return newest;
    }
}
