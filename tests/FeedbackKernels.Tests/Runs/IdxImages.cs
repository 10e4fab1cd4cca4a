using System.Buffers.Binary;

namespace FeedbackKernels.Tests.Runs;

/// <summary>Small idx sets that a model learns in a few steps: the bright row is the class.</summary>
internal static class IdxImages
{
    public const int Rows = 10, Columns = 8, TrainImages = 256, TestImages = 64;

    /// <summary>Writes the four files of a set.</summary>
    /// <param name="folder">Created if it does not exist.</param>
    /// <param name="brightness">Brightness of the training images, which changes their mean and deviation.</param>
    /// <param name="shift">Added to the labels of the test images, so that a model trained on another set misclassifies them.</param>
    public static void Write(string folder, byte brightness = 200, int shift = 0)
    {
        Directory.CreateDirectory(folder);
        WriteHalf(folder, "train", TrainImages, brightness, 0);
        WriteHalf(folder, "t10k", TestImages, 200, shift);
    }

    public static void WriteHalf(string folder, string prefix, int count, byte brightness, int shift, int rows = Rows, int columns = Columns, int classes = 10)
    {
        var pixels = new byte[count * rows * columns];
        for (int i = 0; i < count; i++)
        {
            for (int j = 0; j < rows * columns; j++)
                pixels[i * rows * columns + j] = (byte)(j / columns == i % classes % rows ? brightness - i % 7 : (i * 31 + j * 17) % 23);
        }

        WriteFile(Path.Combine(folder, $"{prefix}-images-idx3-ubyte"), 0x803, [count, rows, columns], pixels);
        WriteFile(
            Path.Combine(folder, $"{prefix}-labels-idx1-ubyte"), 0x801, [count],
            [.. Enumerable.Range(0, count).Select(i => (byte)((i % classes + shift) % classes))]);
    }

    private static void WriteFile(string path, int magic, int[] sizes, byte[] content)
    {
        var bytes = new byte[4 + 4 * sizes.Length + content.Length];
        BinaryPrimitives.WriteInt32BigEndian(bytes, magic);
        for (int i = 0; i < sizes.Length; i++) BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(4 + 4 * i), sizes[i]);
        content.CopyTo(bytes, 4 + 4 * sizes.Length);
        File.WriteAllBytes(path, bytes);
    }
}
