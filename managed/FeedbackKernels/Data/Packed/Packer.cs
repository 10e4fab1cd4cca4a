using System.Globalization;
using System.Runtime.ExceptionServices;
using System.Threading.Tasks.Dataflow;
using Microsoft.Win32.SafeHandles;

namespace FeedbackKernels.Data;

/// <summary>What happens if an image cannot be decoded.</summary>
public enum OnDamage
{
    /// <summary>Packing ends with an error.</summary>
    Fail,

    /// <summary>The image is left out and listed.</summary>
    Skip,
}

/// <summary>How a packed file is made.</summary>
public sealed record PackOptions
{
    /// <summary>How the images are resized and encoded.</summary>
    public ImagePreparation Preparation { get; init; } = new();

    /// <summary>Seed of the order of the image data and of the choice of raw images.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>What happens if an image cannot be decoded.</summary>
    public OnDamage OnDamage { get; init; }

    /// <summary>Number of threads; 0 for one per processor. The file does not depend on it.</summary>
    public int Threads { get; init; }

    /// <summary>Whether a former file may be replaced.</summary>
    public bool Overwrite { get; init; }
}

/// <summary>A part of the work of packing.</summary>
public enum PackStage
{
    /// <summary>Reading again what an interrupted call has packed.</summary>
    Check,

    /// <summary>Reading, preparing and writing images.</summary>
    Pack,

    /// <summary>Reading the whole file back.</summary>
    Verify,
}

/// <summary>Is told how packing proceeds. The calls come from one thread at a time.</summary>
public interface IPackObserver
{
    /// <summary>Something the user should know, one sentence without a full stop.</summary>
    /// <param name="note">The sentence.</param>
    void OnNote(string note);

    /// <summary>A number of images has been dealt with in a stage.</summary>
    /// <param name="stage">What is being done.</param>
    /// <param name="done">Images dealt with so far.</param>
    /// <param name="total">Images of the stage.</param>
    void OnProgress(PackStage stage, long done, long total);
}

/// <summary>An image that was left out of a packed file, or because of which packing failed.</summary>
/// <param name="Name">What the source calls it.</param>
/// <param name="ClassName">Its class.</param>
/// <param name="Reason">What is wrong with it.</param>
public sealed record DamagedImage(string Name, string ClassName, string Reason);

/// <summary>A file that was packed.</summary>
/// <param name="TrainCount">Training images.</param>
/// <param name="TestCount">Test images.</param>
/// <param name="Length">Bytes of the file.</param>
/// <param name="Statistics">Mean and standard deviation of the pixels of the training images.</param>
/// <param name="Damaged">Images that were left out.</param>
public sealed record PackResult(int TrainCount, int TestCount, long Length, PixelStatistics Statistics, IReadOnlyList<DamagedImage> Damaged);

/// <summary>
/// Writes packed files. While a file is written it has the name DEST.partial, and DEST.partial.journal lists the images in it. If the process
/// ends, the next call with the same settings goes on after the last image whose bytes are in the file. The file gets its name after every
/// checksum has been read back from the disk.
/// </summary>
public sealed class Packer
{
    private const string PartialSuffix = ".partial", JournalSuffix = ".partial.journal", DamagedSuffix = ".damaged.csv";
    private const int AheadOfThread = 8, PrefetchAtOnce = 64;

    private readonly DataSet _data;
    private readonly string _path;
    private readonly PackOptions _options;
    private readonly IPackObserver _observer;
    private readonly PackPlan _plan;
    private readonly int[] _order;

    // The index in the order of the source. An entry of length 0 belongs to an image that was left out.
    private readonly PackedEntry[] _entries;
    private readonly List<DamagedImage> _damaged = [];
    private readonly PixelSums _sums = new();
    private readonly int _headerLength;
    private long _end;
    private int _done;

    private Packer(DataSet data, string path, PackOptions options, IPackObserver observer)
    {
        (_data, _path, _options, _observer) = (data, path, options, observer);
        _plan = new PackPlan
        {
            Source = data.Fingerprint,
            ClassNames = data.ClassNames,
            TrainCount = data.Train.Count,
            TestCount = data.Test.Count,
            Preparation = options.Preparation,
            Seed = options.Seed,
        };
        long count = (long)data.Train.Count + data.Test.Count;
        if (count > Array.MaxLength) throw new ArgumentException($"{count} images, at most {Array.MaxLength} are possible", nameof(data));
        _order = PackOrder.Of(data.Train.Count, data.Test.Count, options.Seed);
        _entries = new PackedEntry[count];
        _headerLength = PackedHeader.LengthFor(Describe(new PixelStatistics([0, 0, 0], [1, 1, 1])), count);
        _end = _headerLength;
    }

    /// <summary>The list of damaged images that belongs to a packed file.</summary>
    /// <param name="path">The packed file.</param>
    public static string DamagedListOf(string path) => path + DamagedSuffix;

    /// <summary>Packs a data set into a file.</summary>
    /// <param name="data">Encoded images.</param>
    /// <param name="path">The file.</param>
    /// <param name="options">How it is made.</param>
    /// <param name="observer">Is told how it proceeds.</param>
    /// <param name="cancel">Stops after the images at hand; the next call goes on from there.</param>
    /// <exception cref="ArgumentException">An option is out of range, or the images of the source are not encoded.</exception>
    /// <exception cref="IOException">A file exists already, or cannot be read or written.</exception>
    /// <exception cref="InvalidDataException">An image is damaged and may not be skipped, or the file was not written as it should be.</exception>
    /// <exception cref="OperationCanceledException">Packing was stopped.</exception>
    public static PackResult Pack(DataSet data, string path, PackOptions options, IPackObserver observer, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(data);
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(observer);
        ArgumentOutOfRangeException.ThrowIfNegative(options.Threads);
        options.Preparation.Validate();
        if (data.Train.Shape is not null)
            throw new ArgumentException($"{data.Name} has images of one size without encoding; sources that can be packed: {SourceCatalog.EncodedForms}", nameof(data));
        RequirePlace(path, options.Overwrite);
        return new Packer(data, path, options, observer).Run(cancel);
    }

    /// <summary>Checks whether a file can be written to a place. Writes nothing.</summary>
    /// <param name="path">The file to write.</param>
    /// <param name="overwrite">Whether it may exist.</param>
    /// <exception cref="IOException">It cannot.</exception>
    public static void RequirePlace(string path, bool overwrite)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (Directory.Exists(path)) throw new IOException($"'{path}' is a folder, wanted the name of a file");
        if (File.Exists(path) && !overwrite) throw new IOException($"file '{path}' exists; give another name, or --overwrite to replace it");
        string folder = Path.GetDirectoryName(Path.GetFullPath(path)) ?? path;
        if (!Directory.Exists(folder)) throw new DirectoryNotFoundException($"directory '{folder}' is not there");
    }

    private string Partial => _path + PartialSuffix;

    private PackResult Run(CancellationToken cancel)
    {
        string journalPath = _path + JournalSuffix;
        PackResult result;
        using (PackJournal journal = PackJournal.Open(journalPath, _plan))
        {
            using (SafeFileHandle file = OpenPartial())
            {
                Continue(journal, file, cancel);
                PackAll(journal, file, cancel);
                result = Finish(file);
            }

            Verify(result, cancel);
            File.Move(Partial, _path, overwrite: true);
        }

        // If the process ends here, the journal is left over; the next call finds no file that belongs to it and discards it.
        File.Delete(journalPath);
        return result;
    }

    private SafeFileHandle OpenPartial()
    {
        try
        {
            return File.OpenHandle(Partial, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new IOException($"file '{Partial}' may not be written: {e.Message}", e);
        }
    }

    /// <summary>Takes over what an interrupted call has written, after a check of each image.</summary>
    private void Continue(PackJournal journal, SafeFileHandle file, CancellationToken cancel)
    {
        long length = RandomAccess.GetLength(file);
        if (journal.Rejection is { } reason) _observer.OnNote($"an interrupted pack is discarded and begun anew: {reason}");
        var buffer = Array.Empty<byte>();
        journal.Read(record =>
        {
            cancel.ThrowIfCancellationRequested();
            if (_done >= _order.Length || !IsWritten(record, file, length, ref buffer)) return false;
            Take(record);
            _observer.OnProgress(PackStage.Check, _done, _order.Length);
            return true;
        });
        if (_done > 0) _observer.OnNote($"an interrupted pack goes on after {_done} of {_order.Length} images");
        RandomAccess.SetLength(file, _end);
        if (_options.OnDamage == OnDamage.Fail && _damaged.Count > 0) throw Failure(_damaged[0]);
    }

    private bool IsWritten(PackRecord record, SafeFileHandle file, long length, ref byte[] buffer)
    {
        if (record.IsDamaged) return true;
        PackedEntry entry = record.Entry;
        if (entry.Offset != _end || entry.Fault(_headerLength, length, _plan.ClassNames.Count) is not null) return false;
        if (buffer.Length < entry.Length) buffer = new byte[entry.Length];
        Span<byte> bytes = buffer.AsSpan(0, entry.Length);
        PackedRead.Exactly(file, bytes, entry.Offset, () => Partial);
        return PackedFormat.Checksum(bytes) == entry.Checksum;
    }

    private void PackAll(PackJournal journal, SafeFileHandle file, CancellationToken cancel)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        using var encoders = new EncoderPool(_plan.Preparation, _plan.Seed);
        int threads = _options.Threads == 0 ? Environment.ProcessorCount : _options.Threads;
        // The results come in order, whichever thread is first; the number of images in memory is bounded.
        var work = new TransformBlock<int, Prepared>(position => Prepare(position, encoders), new ExecutionDataflowBlockOptions
        {
            MaxDegreeOfParallelism = threads,
            BoundedCapacity = threads * AheadOfThread,
            EnsureOrdered = true,
            SingleProducerConstrained = true,
            CancellationToken = stop.Token,
        });
        Task feeding = Feed(work, _done, stop);
        try
        {
            while (_done < _order.Length) Write(work.Receive(stop.Token), journal, file);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            // The feeding task stopped the work; its own error says why.
            feeding.GetAwaiter().GetResult();
            throw;
        }
        finally
        {
            stop.Cancel();
            // No thread may use the encoders after this.
            Task.WhenAll(feeding, work.Completion).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing).GetAwaiter().GetResult();
        }

        RandomAccess.FlushToDisk(file);
    }

    private async Task Feed(TransformBlock<int, Prepared> work, int first, CancellationTokenSource stop)
    {
        try
        {
            for (int position = first; position < _order.Length; position++)
            {
                if ((position - first) % PrefetchAtOnce == 0) Prefetch(position);
                await work.SendAsync(position, stop.Token).ConfigureAwait(false);
            }
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            // Otherwise the results would be waited for.
            await stop.CancelAsync().ConfigureAwait(false);
            throw;
        }
    }

    // Training and test images are sources of their own.
    private void Prefetch(int first)
    {
        ReadOnlySpan<int> next = _order.AsSpan(first, Math.Min(PrefetchAtOnce, _order.Length - first));
        int train = _data.Train.Count;
        int[] ofTrain = [.. next.ToArray().Where(n => n < train)], ofTest = [.. next.ToArray().Where(n => n >= train).Select(n => n - train)];
        if (ofTrain.Length > 0) _data.Train.Prefetch(ofTrain);
        if (ofTest.Length > 0) _data.Test.Prefetch(ofTest);
    }

    /// <summary>The work on one image, on any thread.</summary>
    private Prepared Prepare(int position, EncoderPool encoders)
    {
        int number = _order[position];
        try
        {
            (IImageSource source, int index) = SourceOf(number);
            var bytes = new byte[source.Length(index)];
            source.Read([index], bytes);
            return new Prepared(number, encoders.Encode(bytes, number), null, null);
        }
        catch (InvalidDataException e)
        {
            return new Prepared(number, null, e.Message, null);
        }
        catch (Exception e)
        {
            // Thrown again where the results are taken in order, so that the error does not depend on the threads.
            return new Prepared(number, null, null, ExceptionDispatchInfo.Capture(e));
        }
    }

    private void Write(Prepared image, PackJournal journal, SafeFileHandle file)
    {
        image.Error?.Throw();
        PackRecord record;
        if (image.Image is { } encoded)
        {
            (IImageSource source, int index) = SourceOf(image.Number);
            var sums = new byte[PixelSums.Bytes];
            encoded.Sums.Write(sums);
            var entry = new PackedEntry(
                _end, PackedFormat.Checksum(encoded.Bytes), encoded.Bytes.Length, source.Label(index), encoded.Header.Rows, encoded.Header.Columns, encoded.Header.Format);
            if (entry.Fault(_headerLength, long.MaxValue, _plan.ClassNames.Count) is { } fault) throw new InvalidDataException($"{source.NameOf(index)}: {fault}");
            record = new PackRecord(entry, sums, null);
            RandomAccess.Write(file, encoded.Bytes, _end);
        }
        else
        {
            record = new PackRecord(default, [], image.Damage);
            if (_options.OnDamage == OnDamage.Fail)
            {
                Take(record);
                throw Failure(_damaged[^1]);
            }
        }

        journal.Append(record);
        Take(record);
        _observer.OnProgress(PackStage.Pack, _done, _order.Length);
    }

    /// <summary>Takes the next image into the index and the sums.</summary>
    private void Take(PackRecord record)
    {
        int number = _order[_done++];
        (IImageSource source, int index) = SourceOf(number);
        if (record.IsDamaged)
        {
            var damaged = new DamagedImage(source.NameOf(index), _plan.ClassNames[source.Label(index)], record.Damage);
            _damaged.Add(damaged);
            if (_options.OnDamage == OnDamage.Skip) _observer.OnNote($"{damaged.Name} is left out: {damaged.Reason}");
            return;
        }

        _entries[number] = record.Entry;
        _end = record.Entry.End;
        if (number < _data.Train.Count) _sums.AddWritten(record.Sums);
    }

    private InvalidDataException Failure(DamagedImage damaged)
    {
        WriteDamaged();
        return new InvalidDataException(string.Create(
            CultureInfo.InvariantCulture,
            $"{damaged.Name} cannot be packed: {damaged.Reason}. With --on-damage skip, such images are left out; {_done - 1} of {_order.Length} images are packed and are kept for that"));
    }

    /// <summary>Writes index and header, and flushes all to the disk.</summary>
    private PackResult Finish(SafeFileHandle file)
    {
        WriteDamaged();
        PackedEntry[] train = Kept(0, _data.Train.Count), test = Kept(_data.Train.Count, _data.Test.Count);
        if (train.Length == 0 || test.Length == 0)
            throw new InvalidDataException($"{_data.Name}: {train.Length} training and {test.Length} test images are left, wanted at least one of each");
        ulong[] checksums = WriteIndex(file, [.. train, .. test]);
        PixelStatistics statistics = _sums.ToStatistics();
        var header = new PackedHeader(Describe(statistics), _headerLength, train.Length, test.Length, _end - _headerLength, checksums);
        RandomAccess.SetLength(file, header.FileLength);
        RandomAccess.Write(file, header.ToBytes(), 0);
        RandomAccess.FlushToDisk(file);
        // So that the check reads what is on the disk.
        FileAdvice.DontNeed(file, 0, header.FileLength);
        return new PackResult(train.Length, test.Length, header.FileLength, statistics, _damaged);
    }

    private PackedEntry[] Kept(int first, int count) => [.. _entries.AsSpan(first, count).ToArray().Where(entry => entry.Length > 0)];

    private ulong[] WriteIndex(SafeFileHandle file, PackedEntry[] entries)
    {
        var checksums = new ulong[PackedFormat.PagesOf(entries.Length)];
        var page = new byte[PackedFormat.PageBytes];
        for (int i = 0; i < checksums.Length; i++)
        {
            int first = i * PackedFormat.EntriesOnPage, count = Math.Min(PackedFormat.EntriesOnPage, entries.Length - first);
            for (int e = 0; e < count; e++) entries[first + e].Write(page.AsSpan(e * PackedFormat.EntryBytes, PackedFormat.EntryBytes));
            Span<byte> used = page.AsSpan(0, count * PackedFormat.EntryBytes);
            checksums[i] = PackedFormat.Checksum(used);
            RandomAccess.Write(file, used, _end + (long)i * PackedFormat.PageBytes);
        }

        return checksums;
    }

    private void Verify(PackResult result, CancellationToken cancel)
    {
        using PackedFile file = PackedFile.Open(Partial);
        long total = (long)result.TrainCount + result.TestCount;
        IReadOnlyList<string> faults = PackedVerification.Verify(file, _options.Threads, done => _observer.OnProgress(PackStage.Verify, done, total), cancel);
        if (faults.Count > 0)
            throw new InvalidDataException($"the file was not written as it should be, {faults.Count} faults; the first: {faults[0]}");
    }

    private void WriteDamaged() => DamagedList.Write(DamagedListOf(_path), _damaged);

    private (IImageSource Source, int Index) SourceOf(int number) =>
        number < _data.Train.Count ? (_data.Train, number) : (_data.Test, number - _data.Train.Count);

    private PackedDescription Describe(PixelStatistics statistics) => new()
    {
        ClassNames = _plan.ClassNames,
        Means = statistics.Means,
        Deviations = statistics.Deviations,
        Preparation = DescribedPreparation,
        Seed = _plan.Seed,
        TrainIsGrouped = _data.Train.IsGrouped,
        TestIsGrouped = _data.Test.IsGrouped,
    };

    // Images that are only copied from a packed file are as that file describes them.
    private ImagePreparation DescribedPreparation =>
        _plan.Preparation is { Encode: PackEncoding.Keep, RawShare: 0 } && _data.Train is PackedImages packed ? packed.File.Preparation : _plan.Preparation;

    /// <summary>An image after the work of a thread: the image, what is wrong with it, or an error that ends packing.</summary>
    private readonly record struct Prepared(int Number, EncodedImage? Image, string? Damage, ExceptionDispatchInfo? Error);
}
