using System.Collections.Concurrent;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

/// <summary>Packed images, and what makes a model's input of them: <see cref="Backend.AugmentImages"/>.</summary>
public sealed class Batch(int capacity, Normalisation normalisation, ImageAugmentation augmentation)
{
    /// <summary>Images in the batch.</summary>
    public int Count { get; internal set; }

    /// <summary>Pixels as they are in their set, NHWC; the first Count images count.</summary>
    public byte[] Pixels { get; } = new byte[RequireRoom(capacity, augmentation.ImageLength)];

    /// <summary>Each image's number in its set, which names its random numbers.</summary>
    public int[] Numbers { get; } = new int[capacity];

    /// <summary>What bytes stand for.</summary>
    public Normalisation Normalisation { get; } = normalisation;

    /// <summary>How the images are moved and turned.</summary>
    public ImageAugmentation Augmentation { get; } = augmentation;

    /// <summary>Classes.</summary>
    public int[] Labels { get; } = new int[capacity];

    private static int RequireRoom(int images, long length) => images * length <= Array.MaxLength
        ? (int)(images * length)
        : throw new ArgumentOutOfRangeException(nameof(images), images, $"a batch of images of {length} bytes holds at most {Array.MaxLength / length}");
}

/// <summary>
/// Batches of a data set, prepared ahead on background threads. What a batch holds depends on seed, epoch and position
/// alone, not on the number of threads.
/// </summary>
public sealed class BatchLoader : IDisposable
{
    private const int CropReach = 4, BatchesAhead = 2;

    private readonly ImageSet _images;
    private readonly int _batch;
    private readonly int[] _order;
    private readonly BlockingCollection<Batch>[] _ready;
    private readonly BlockingCollection<Batch>[] _free;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task[] _workers;
    private Batch? _current;
    private int _next;

    private BatchLoader(
        ImageSet images, Normalisation normalisation, ImageAugmentation augmentation, int batch, int[] order, int batches, int threads)
    {
        ArgumentNullException.ThrowIfNull(normalisation);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(threads);
        if (normalisation.Channels != images.Shape.C)
            throw new ArgumentException($"a normalisation of {normalisation.Channels} channels for images of {images.Shape}", nameof(normalisation));
        (_images, _batch, _order, Batches) = (images, batch, order, batches);
        _ready = [.. Enumerable.Range(0, threads).Select(_ => new BlockingCollection<Batch>())];
        _free = [.. Enumerable.Range(0, threads).Select(_ => new BlockingCollection<Batch>())];
        foreach (BlockingCollection<Batch> free in _free)
        {
            for (int i = 0; i <= BatchesAhead; i++) free.Add(new Batch(batch, normalisation, augmentation));
        }

        _workers = [.. Enumerable.Range(0, threads).Select(t => Task.Factory.StartNew(() => Prepare(t), TaskCreationOptions.LongRunning))];
    }

    /// <summary>Batches in the epoch.</summary>
    public int Batches { get; }

    /// <summary>An epoch of training: images in random order, augmented, whole batches only.</summary>
    public static BatchLoader Train(
        ImageSet images, Normalisation normalisation, Augmentation augmentation, int batch, ulong seed, int epoch, int threads = 1)
    {
        ArgumentNullException.ThrowIfNull(images);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batch);
        ArgumentOutOfRangeException.ThrowIfNegative(epoch);
        if ((augmentation & ~Augmentation.CropFlip) != 0) throw new ArgumentOutOfRangeException(nameof(augmentation), augmentation, "not an augmentation");
        int[] order = Shuffle(images.Count, new RandomKey(seed, RandomPurpose.SampleOrder, 0, (uint)epoch));
        ImageAugmentation moved = Unmoved(images) with
        {
            Reach = augmentation.HasFlag(Augmentation.Crop) ? CropReach : 0,
            Flip = augmentation.HasFlag(Augmentation.Flip),
            Key = new RandomKey(seed, RandomPurpose.Augmentation, (uint)epoch),
        };
        return new BatchLoader(images, normalisation, moved, batch, order, images.Count / batch, threads);
    }

    /// <summary>Every image once, in order, the last batch as small as it is.</summary>
    public static BatchLoader Evaluate(ImageSet images, Normalisation normalisation, int batch, int threads = 1)
    {
        ArgumentNullException.ThrowIfNull(images);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batch);
        int batches = (int)(((long)images.Count + batch - 1) / batch);
        return new BatchLoader(images, normalisation, Unmoved(images), batch, [.. Enumerable.Range(0, images.Count)], batches, threads);
    }

    /// <summary>The next batch, or null after the last. It is valid until the next call.</summary>
    public Batch? Next()
    {
        if (_current is not null) _free[(_next - 1) % _ready.Length].Add(_current);
        _current = null;
        if (_next == Batches) return null;
        int worker = _next++ % _ready.Length;
        try
        {
            _current = _ready[worker].Take();
        }
        catch (InvalidOperationException)
        {
            // The worker ended early: what stopped it is what the caller has to hear.
            _workers[worker].GetAwaiter().GetResult();
            throw;
        }

        return _current;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stop.Cancel();
        try
        {
            Task.WaitAll(_workers);
        }
        catch (AggregateException e) when (e.Flatten().InnerExceptions.All(inner => inner is OperationCanceledException))
        {
            // Workers that were waiting to go on preparing: that is what was cancelled.
        }

        foreach (BlockingCollection<Batch> queue in _ready.Concat(_free)) queue.Dispose();
        _stop.Dispose();
    }

    private void Prepare(int worker)
    {
        try
        {
            for (int index = worker; index < Batches; index += _ready.Length)
            {
                Batch batch = _free[worker].Take(_stop.Token);
                Fill(batch, index);
                _ready[worker].Add(batch);
            }
        }
        finally
        {
            _ready[worker].CompleteAdding();
        }
    }

    private void Fill(Batch batch, int index)
    {
        int first = index * _batch, length = _images.Shape.Length;
        batch.Count = Math.Min(_batch, _images.Count - first);
        for (int i = 0; i < batch.Count; i++)
        {
            int image = _order[first + i];
            batch.Labels[i] = _images.Labels[image];
            batch.Numbers[i] = image;
            _images.Image(image).CopyTo(batch.Pixels.AsSpan(i * length, length));
        }
    }

    private static ImageAugmentation Unmoved(ImageSet images) => new(images.Shape.H, images.Shape.W, images.Shape.C);

    private static int[] Shuffle(int count, RandomKey key)
    {
        int[] order = [.. Enumerable.Range(0, count)];
        var random = new RandomSequence(key);
        for (int i = count - 1; i > 0; i--)
        {
            int j = random.NextInt(i + 1);
            (order[i], order[j]) = (order[j], order[i]);
        }

        return order;
    }
}
