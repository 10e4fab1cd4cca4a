using FeedbackKernels.Layers;

namespace FeedbackKernels.Data;

/// <summary>
/// CIFAR-10 in its official binary form (Krizhevsky 2009): files of 10,000 records of one label byte and 32x32 pixels,
/// all red, then all green, then all blue.
/// </summary>
public static class Cifar10
{
    private const int Rows = 32, Channels = 3, Classes = 10, RecordsPerFile = 10_000;
    private const int Plane = Rows * Rows, RecordBytes = 1 + Channels * Plane;

    /// <summary>Reads data_batch_1.bin to data_batch_5.bin and test_batch.bin of a directory, or of its
    /// cifar-10-batches-bin.</summary>
    /// <exception cref="IOException">A file is not there.</exception>
    /// <exception cref="InvalidDataException">A file has the wrong length or a label above 9.</exception>
    public static DataSet Read(string directory)
    {
        string nested = Path.Combine(directory, "cifar-10-batches-bin");
        if (Directory.Exists(nested)) directory = nested;
        string[] training = [.. Enumerable.Range(1, 5).Select(i => Path.Combine(directory, $"data_batch_{i}.bin"))];
        return new DataSet("cifar10", ReadFiles(training), ReadFiles([Path.Combine(directory, "test_batch.bin")]), Augmentation.CropFlip);
    }

    private static ImageSet ReadFiles(string[] files)
    {
        var shape = new MapShape(Rows, Rows, Channels);
        var pixels = new byte[files.Length * RecordsPerFile * shape.Length];
        var labels = new int[files.Length * RecordsPerFile];
        for (int file = 0; file < files.Length; file++)
        {
            byte[] bytes = ReadFile(files[file]);
            for (int record = 0; record < RecordsPerFile; record++)
            {
                int offset = record * RecordBytes, image = file * RecordsPerFile + record;
                labels[image] = bytes[offset] < Classes
                    ? bytes[offset]
                    : throw new InvalidDataException($"{files[file]}, offset {offset}: label {bytes[offset]}, expected 0 to {Classes - 1}");
                Interleave(bytes.AsSpan(offset + 1, RecordBytes - 1), pixels.AsSpan(image * shape.Length, shape.Length));
            }
        }

        return new ImageSet(shape, Classes, pixels, labels);
    }

    private static byte[] ReadFile(string path)
    {
        byte[] bytes = DataFiles.ReadAll(path);
        return bytes.Length == RecordsPerFile * RecordBytes
            ? bytes
            : throw new InvalidDataException(
                $"{path}, offset {bytes.Length}: the file ends here, expected {RecordsPerFile} records of {RecordBytes} bytes, {RecordsPerFile * RecordBytes} in all");
    }

    private static void Interleave(ReadOnlySpan<byte> planes, Span<byte> image)
    {
        for (int pixel = 0; pixel < Plane; pixel++)
        {
            for (int c = 0; c < Channels; c++) image[pixel * Channels + c] = planes[c * Plane + pixel];
        }
    }
}
