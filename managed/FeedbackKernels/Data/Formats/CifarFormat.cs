using System.Text;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

/// <summary>A binary version of CIFAR: files of records of one or more label bytes and the planes of a 32x32 image.</summary>
internal sealed record CifarFormat
{
    private const int Rows = 32, Channels = 3, Plane = Rows * Rows, MostNamesBytes = 64 * 1024;

    private static readonly MapShape Shape = new(Rows, Rows, Channels);

    /// <summary>Name of the data set.</summary>
    public required string Kind { get; init; }

    /// <summary>The archive that the files come in.</summary>
    public required string Archive { get; init; }

    /// <summary>The folder that the archive unpacks to.</summary>
    public required string Folder { get; init; }

    /// <summary>The folder that the archive of the Python version unpacks to.</summary>
    public required string PythonFolder { get; init; }

    /// <summary>Names of the training files.</summary>
    public required IReadOnlyList<string> TrainFiles { get; init; }

    /// <summary>Names of the test files.</summary>
    public required IReadOnlyList<string> TestFiles { get; init; }

    /// <summary>Records in each training file.</summary>
    public required int TrainRecords { get; init; }

    /// <summary>Records in each test file.</summary>
    public required int TestRecords { get; init; }

    /// <summary>Number of classes of each label byte of a record.</summary>
    public required IReadOnlyList<int> LabelClasses { get; init; }

    /// <summary>Number of the label byte that is used.</summary>
    public required int Label { get; init; }

    /// <summary>Optional file with the names of the classes, one a line.</summary>
    public required string NamesFile { get; init; }

    /// <summary>Names of the classes if that file does not exist.</summary>
    public required IReadOnlyList<string> Names { get; init; }

    private int RecordBytes => LabelClasses.Count + Shape.Length;

    /// <summary>Reads both halves.</summary>
    public DataSet Read(string directory)
    {
        string folder = Locate(directory);
        IReadOnlyList<string> names = ReadNames(folder);
        (ImageSet train, SetFingerprint trainPrint) = ReadFiles(folder, TrainFiles, TrainRecords, names);
        (ImageSet test, SetFingerprint testPrint) = ReadFiles(folder, TestFiles, TestRecords, names);
        return new DataSet(Kind, train, test, Augmentation.CropFlip)
        {
            Fingerprint = new DataFingerprint(Kind, trainPrint, testPrint),
        };
    }

    /// <summary>Reads the test half.</summary>
    public TestSet ReadTest(string directory)
    {
        string folder = Locate(directory);
        (ImageSet test, SetFingerprint print) = ReadFiles(folder, TestFiles, TestRecords, ReadNames(folder));
        return new TestSet(Kind, test, new DataFingerprint(Kind, null, print));
    }

    private string Locate(string directory)
    {
        ArgumentNullException.ThrowIfNull(directory);
        string nested = Path.Combine(DataFiles.RequireFolder(directory), Folder);
        return Directory.Exists(nested) ? nested : directory;
    }

    private (ImageSet Images, SetFingerprint Fingerprint) ReadFiles(string folder, IReadOnlyList<string> files, int records, IReadOnlyList<string> classNames)
    {
        string[] paths = [.. files.Select(name => Path.Combine(folder, name))];
        // All lengths are checked before memory is allocated for the images.
        foreach (string path in paths) RequireLength(folder, path, (long)records * RecordBytes);
        var pixels = new byte[paths.Length * records * Shape.Length];
        var labels = new int[paths.Length * records];
        for (int file = 0; file < paths.Length; file++)
        {
            ReadRecords(paths[file], pixels.AsSpan(file * records * Shape.Length, records * Shape.Length), labels.AsSpan(file * records, records));
        }

        var images = new ImageSet(Shape, LabelClasses[Label], pixels, labels) { ClassNames = classNames };
        return (images, SetFingerprint.Of(images, [.. paths.Select(path => DataFiles.Fingerprint(folder, path))]));
    }

    private void RequireLength(string folder, string path, long expected)
    {
        if (!File.Exists(path) && !Directory.Exists(path))
            throw new FileNotFoundException($"file '{path}' is not there{InsteadOf(folder)}", path);
        using FileStream file = DataFiles.Open(path);
        if (file.Length == expected) return;
        var head = new byte[FoundInstead.HeadBytes];
        int read = file.ReadAtLeast(head, head.Length, throwOnEndOfStream: false);
        throw FoundInstead.Error(path, head.AsSpan(0, read), $"a file of the binary version ({Archive}, unpacked)")
            ?? new InvalidDataException(file.Length < expected
                ? $"{path}, offset {file.Length}: the file ends here, expected {expected / RecordBytes} records of {RecordBytes} bytes, {expected} in all"
                : $"{path}, offset {expected}: {file.Length - expected} bytes follow, expected {expected / RecordBytes} records of {RecordBytes} bytes, {expected} in all");
    }

    private string InsteadOf(string folder)
    {
        string python = Path.Combine(folder, PythonFolder);
        if (Directory.Exists(python)) return $"; the folder has {PythonFolder}, the Python version: download the binary version ({Archive}) and unpack it";
        return FoundInstead.InFolder(folder) is { Length: > 0 } found ? $"{found}; wanted is {Archive}, unpacked" : "";
    }

    private void ReadRecords(string path, Span<byte> pixels, Span<int> labels)
    {
        using FileStream file = DataFiles.Open(path);
        var record = new byte[RecordBytes];
        for (int i = 0; i < labels.Length; i++)
        {
            if (file.ReadAtLeast(record, record.Length, throwOnEndOfStream: false) < record.Length)
                throw new InvalidDataException($"{path}, offset {file.Position}: the file ends here, expected {labels.Length} records");
            for (int k = 0; k < LabelClasses.Count; k++)
            {
                if (record[k] >= LabelClasses[k])
                    throw new InvalidDataException($"{path}, offset {(long)i * RecordBytes + k}: label {record[k]}, expected 0 to {LabelClasses[k] - 1}");
            }

            labels[i] = record[Label];
            Interleave(record.AsSpan(LabelClasses.Count), pixels.Slice(i * Shape.Length, Shape.Length));
        }
    }

    private static void Interleave(ReadOnlySpan<byte> planes, Span<byte> image)
    {
        for (int pixel = 0; pixel < Plane; pixel++)
        {
            for (int c = 0; c < Channels; c++) image[pixel * Channels + c] = planes[c * Plane + pixel];
        }
    }

    private IReadOnlyList<string> ReadNames(string folder)
    {
        string path = Path.Combine(folder, NamesFile);
        if (!File.Exists(path)) return Names;
        using FileStream file = DataFiles.Open(path);
        if (file.Length > MostNamesBytes)
            throw new InvalidDataException($"{path}: {file.Length} bytes, expected {Names.Count} names of classes, a line each");
        var bytes = new byte[file.Length];
        int read = file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
        if (FoundInstead.Error(path, bytes.AsSpan(0, read), $"{Names.Count} names of classes, a line each") is { } error) throw error;
        string[] names = Encoding.UTF8.GetString(bytes, 0, read).Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        return names.Length == Names.Count
            ? names
            : throw new InvalidDataException($"{path}: {names.Length} names of classes, expected {Names.Count}, a line each");
    }
}
