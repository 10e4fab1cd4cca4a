using System.Buffers.Binary;

namespace FeedbackKernels.Tests.Cli;

/// <summary>A data set in MNIST's format: 64 training and 32 test images of 28x28, where a class is a bright row.</summary>
internal static class SmallDigits
{
    private const int Size = 28, Classes = 10;

    public static void Write(string folder)
    {
        Directory.CreateDirectory(folder);
        foreach ((string prefix, int count) in ((string, int)[])[("train", 64), ("t10k", 32)])
        {
            byte[] labels = [.. Enumerable.Range(0, count).Select(i => (byte)(i % Classes))];
            byte[] pixels = [.. labels.SelectMany((label, i) => Enumerable.Range(0, Size * Size).Select(p => (byte)(p / Size == 2 * label ? 255 : (i * 7 + p * 13) % 64)))];
            WriteIdx(Path.Combine(folder, $"{prefix}-images-idx3-ubyte"), 0x803, [count, Size, Size], pixels);
            WriteIdx(Path.Combine(folder, $"{prefix}-labels-idx1-ubyte"), 0x801, [count], labels);
        }
    }

    private static void WriteIdx(string path, int magic, int[] sizes, byte[] content)
    {
        var header = new byte[4 + 4 * sizes.Length];
        BinaryPrimitives.WriteInt32BigEndian(header, magic);
        for (int i = 0; i < sizes.Length; i++) BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4 + 4 * i), sizes[i]);
        File.WriteAllBytes(path, [.. header, .. content]);
    }
}
