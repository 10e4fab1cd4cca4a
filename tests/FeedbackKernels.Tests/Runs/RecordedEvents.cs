using System.Buffers.Binary;
using System.Text;

namespace FeedbackKernels.Tests.Runs;

/// <summary>A histogram of an event file.</summary>
internal sealed record RecordedHistogram(double Min, double Max, double Num, double Sum, double SumSquares, double[] Limits, double[] Counts);

/// <summary>A value of an event: a scalar or a histogram.</summary>
internal sealed record RecordedValue(string Tag, float? Scalar, RecordedHistogram? Histogram);

/// <summary>An event of an event file.</summary>
internal sealed record RecordedEvent(double Time, long Step, string? Version, bool Starts, RecordedValue[] Values);

/// <summary>Reads event files byte by byte, by the descriptions of the format and of protobuf's encoding. Shares no code with the
/// writer.</summary>
internal static class RecordedEvents
{
    /// <summary>The event files of a folder, in the order in which TensorBoard reads them.</summary>
    public static string[] FilesIn(string folder) => [.. Directory.GetFiles(folder, "events.out.tfevents.*").Order(StringComparer.Ordinal)];

    /// <summary>All events of the only event file in a folder.</summary>
    public static RecordedEvent[] ReadFolder(string folder) => Read(Assert.Single(FilesIn(folder)));

    /// <summary>All events of a file.</summary>
    public static RecordedEvent[] Read(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var bytes = new byte[file.Length];
        file.ReadExactly(bytes);
        return [.. Parse(bytes)];
    }

    /// <summary>The scalars of a tag by step; a step that occurs twice fails.</summary>
    public static Dictionary<long, float> Scalars(this IEnumerable<RecordedEvent> events, string tag) =>
        events.SelectMany(e => e.Values.Where(v => v.Tag == tag).Select(v => (e.Step, v.Scalar!.Value))).ToDictionary(p => p.Step, p => p.Value);

    /// <summary>Bit by bit, from the polynomial 0x11EDC6F41.</summary>
    public static uint Crc32C(ReadOnlySpan<byte> data)
    {
        uint sum = 0xFFFFFFFF;
        foreach (byte value in data)
        {
            sum ^= value;
            for (int bit = 0; bit < 8; bit++) sum = (sum & 1) != 0 ? (sum >> 1) ^ 0x82F63B78 : sum >> 1;
        }

        return ~sum;
    }

    public static IEnumerable<RecordedEvent> Parse(byte[] file)
    {
        for (int at = 0; at < file.Length;)
        {
            long length = BinaryPrimitives.ReadInt64LittleEndian(file.AsSpan(at));
            Assert.InRange(length, 1, file.Length - at - 16);
            RequireChecksum(file.AsSpan(at, 8), file.AsSpan(at + 8, 4));
            RequireChecksum(file.AsSpan(at + 12, (int)length), file.AsSpan(at + 12 + (int)length, 4));
            yield return ParseEvent(file.AsMemory(at + 12, (int)length));
            at += (int)length + 16;
        }
    }

    private static void RequireChecksum(ReadOnlySpan<byte> data, ReadOnlySpan<byte> found)
    {
        ulong sum = Crc32C(data);
        ulong rotated = (sum >> 15 | sum << 17) & 0xFFFFFFFF;
        Assert.Equal((uint)((rotated + 0xA282EAD8) & 0xFFFFFFFF), BinaryPrimitives.ReadUInt32LittleEndian(found));
    }

    private static RecordedEvent ParseEvent(ReadOnlyMemory<byte> data)
    {
        double time = 0;
        long step = 0;
        string? version = null;
        bool starts = false;
        RecordedValue[] values = [];
        foreach ((int field, ulong number, ReadOnlyMemory<byte> content) in Fields(data))
        {
            switch (field)
            {
                case 1: time = BitConverter.UInt64BitsToDouble(number); break;
                case 2: step = (long)number; break;
                case 3: version = Text(content); break;
                case 5: values = [.. Fields(content).Select(value => value.Field == 1 ? ParseValue(value.Content) : throw Unknown("Summary", value.Field))]; break;
                case 7: starts = Fields(content).Single() is (1, 1, _); break;
                default: throw Unknown("Event", field);
            }
        }

        return new RecordedEvent(time, step, version, starts, values);
    }

    private static RecordedValue ParseValue(ReadOnlyMemory<byte> data)
    {
        string tag = "";
        float? scalar = null;
        RecordedHistogram? histogram = null;
        foreach ((int field, ulong number, ReadOnlyMemory<byte> content) in Fields(data))
        {
            switch (field)
            {
                case 1: tag = Text(content); break;
                case 2: scalar = BitConverter.UInt32BitsToSingle((uint)number); break;
                case 5: histogram = ParseHistogram(content); break;
                default: throw Unknown("Value", field);
            }
        }

        return new RecordedValue(tag, scalar, histogram);
    }

    private static RecordedHistogram ParseHistogram(ReadOnlyMemory<byte> data)
    {
        var single = new double[6];
        double[][] packed = [[], []];
        foreach ((int field, ulong number, ReadOnlyMemory<byte> content) in Fields(data))
        {
            if (field is >= 1 and <= 5) single[field] = BitConverter.UInt64BitsToDouble(number);
            else if (field is 6 or 7) packed[field - 6] = Doubles(content.Span);
            else throw Unknown("HistogramProto", field);
        }

        return new RecordedHistogram(single[1], single[2], single[3], single[4], single[5], packed[0], packed[1]);
    }

    /// <summary>Fields of a message: a number (varint, 64 or 32 bits), or bytes.</summary>
    private static IEnumerable<(int Field, ulong Number, ReadOnlyMemory<byte> Content)> Fields(ReadOnlyMemory<byte> data)
    {
        int at = 0;
        while (at < data.Length)
        {
            ulong key = Varint(data.Span, ref at), number = 0;
            ReadOnlyMemory<byte> content = default;
            switch (key & 7)
            {
                case 0: number = Varint(data.Span, ref at); break;
                case 1: number = BinaryPrimitives.ReadUInt64LittleEndian(data.Span[at..]); at += 8; break;
                case 2:
                    int length = (int)Varint(data.Span, ref at);
                    content = data.Slice(at, length);
                    at += length;
                    break;
                case 5: number = BinaryPrimitives.ReadUInt32LittleEndian(data.Span[at..]); at += 4; break;
                default: throw new InvalidDataException($"wire type {key & 7}");
            }

            yield return ((int)(key >> 3), number, content);
        }
    }

    private static ulong Varint(ReadOnlySpan<byte> data, ref int at)
    {
        ulong value = 0;
        for (int shift = 0; ; shift += 7)
        {
            byte next = data[at++];
            value |= (ulong)(next & 0x7F) << shift;
            if (next < 0x80) return value;
        }
    }

    private static double[] Doubles(ReadOnlySpan<byte> packed)
    {
        var values = new double[packed.Length / 8];
        for (int i = 0; i < values.Length; i++) values[i] = BinaryPrimitives.ReadDoubleLittleEndian(packed[(8 * i)..]);
        return values;
    }

    private static string Text(ReadOnlyMemory<byte> content) => Encoding.UTF8.GetString(content.Span);

    private static InvalidDataException Unknown(string message, int field) => new($"{message} has no field {field}");
}
