using System.Buffers.Binary;
using System.IO.Compression;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Data;

/// <summary>MNIST (LeCun et al. 1998), and anything else in its idx format: as it is, or compressed by gzip.</summary>
public static class Mnist
{
    private const int Classes = 10, ImageMagic = 0x803, LabelMagic = 0x801;

    /// <summary>Reads the four idx files of a directory; each may have .gz at the end of its name.</summary>
    /// <exception cref="IOException">A file is not there.</exception>
    /// <exception cref="InvalidDataException">A header or a length is wrong, or a label is above 9.</exception>
    public static DataSet Read(string directory) => new(
        "mnist", ReadSet(directory, "train"), ReadSet(directory, "t10k"), Augmentation.None);

    private static ImageSet ReadSet(string directory, string prefix)
    {
        (byte[] images, string imageFile) = ReadFile(directory, $"{prefix}-images-idx3-ubyte");
        (byte[] labels, string labelFile) = ReadFile(directory, $"{prefix}-labels-idx1-ubyte");
        int[] sizes = ReadHeader(images, imageFile, ImageMagic, dimensions: 3);
        int count = ReadHeader(labels, labelFile, LabelMagic, dimensions: 1)[0];
        if (sizes[0] != count)
            throw new InvalidDataException($"{labelFile}, offset 4: {count} labels, expected {sizes[0]}, one for each image of {imageFile}");
        int labelStart = HeaderBytes(1), imageStart = HeaderBytes(3);
        int wrong = labels.AsSpan(labelStart).IndexOfAnyExceptInRange((byte)0, (byte)(Classes - 1));
        if (wrong >= 0)
            throw new InvalidDataException($"{labelFile}, offset {labelStart + wrong}: label {labels[labelStart + wrong]}, expected 0 to {Classes - 1}");
        return new ImageSet(
            new MapShape(sizes[1], sizes[2], 1), Classes, images[imageStart..], [.. labels[labelStart..].Select(b => (int)b)]);
    }

    private static (byte[] Bytes, string Path) ReadFile(string directory, string name)
    {
        string path = Path.Combine(directory, name), compressed = path + ".gz";
        if (File.Exists(path) || !File.Exists(compressed)) return (DataFiles.ReadAll(path), path);
        using var bytes = new MemoryStream();
        try
        {
            using var gzip = new GZipStream(File.OpenRead(compressed), CompressionMode.Decompress);
            gzip.CopyTo(bytes);
        }
        catch (InvalidDataException e)
        {
            throw new InvalidDataException($"{compressed}: not a whole gzip file ({e.Message})", e);
        }

        return (bytes.ToArray(), compressed);
    }

    private static int HeaderBytes(int dimensions) => 4 + 4 * dimensions;

    private static int[] ReadHeader(byte[] bytes, string path, int magic, int dimensions)
    {
        if (bytes.Length < HeaderBytes(dimensions))
            throw new InvalidDataException($"{path}, offset {bytes.Length}: the file ends here, expected a header of {HeaderBytes(dimensions)} bytes");
        int found = BinaryPrimitives.ReadInt32BigEndian(bytes);
        if (found != magic)
            throw new InvalidDataException($"{path}, offset 0: magic number 0x{found:X8}, expected 0x{magic:X8}");
        var sizes = new int[dimensions];
        long expected = HeaderBytes(dimensions), product = 1;
        for (int i = 0; i < dimensions; i++)
        {
            int offset = 4 + 4 * i;
            sizes[i] = BinaryPrimitives.ReadInt32BigEndian(bytes.AsSpan(offset));
            if (sizes[i] <= 0) throw new InvalidDataException($"{path}, offset {offset}: size {sizes[i]}, expected a positive number");
            product = product > int.MaxValue ? product : product * sizes[i];
        }

        expected += product;
        if (bytes.Length != expected)
            throw new InvalidDataException($"{path}, offset {bytes.Length}: the file ends here, expected {expected} bytes ({string.Join(" x ", sizes)} after the header)");
        return sizes;
    }
}
