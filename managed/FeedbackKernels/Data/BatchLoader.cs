using System.Collections.Concurrent;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

/// <summary>Images as a model takes them.</summary>
public sealed class Batch(int capacity, int imageLength)
{
    /// <summary>Images in the batch.</summary>
    public int Count { get; internal set; }

    /// <summary>Normalised pixels, NHWC; the first Count images count.</summary>
    public float[] Images { get; } = new float[checked(capacity * imageLength)];

    /// <summary>Classes.</summary>
    public int[] Labels { get; } = new int[capacity];
}

/// <summary>
/// Batches of a data set, prepared ahead on background threads. What a batch holds depends on seed, epoch and position
/// alone, not on the number of threads.
/// </summary>
public sealed class BatchLoader : IDisposable
{
    private const int CropReach = 4, BatchesAhead = 2;

    private readonly ImageSet _images;
    private readonly Normalisation _normalisation;
    private readonly Augmentation _augmentation;
    private readonly int _batch;
    private readonly int[] _order;
    private readonly uint _epoch;
    private readonly ulong _seed;
    private readonly BlockingCollection<Batch>[] _ready;
    private readonly BlockingCollection<Batch>[] _free;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task[] _workers;
    private Batch? _current;
    private int _next;

    private BatchLoader(
        ImageSet images, Normalisation normalisation, Augmentation augmentation, int batch, int[] order, int batches, ulong seed, uint epoch, int threads)
    {
        (_images, _normalisation, _augmentation, _batch, _order) = (images, normalisation, augmentation, batch, order);
        (_seed, _epoch, Batches) = (seed, epoch, batches);
        _ready = [.. Enumerable.Range(0, threads).Select(_ => new BlockingCollection<Batch>())];
        _free = [.. Enumerable.Range(0, threads).Select(_ => new BlockingCollection<Batch>())];
        foreach (BlockingCollection<Batch> free in _free)
        {
            for (int i = 0; i <= BatchesAhead; i++) free.Add(new Batch(batch, images.Shape.Length));
        }

        _workers = [.. Enumerable.Range(0, threads).Select(t => Task.Factory.StartNew(() => Prepare(t), TaskCreationOptions.LongRunning))];
    }

    /// <summary>Batches in the epoch.</summary>
    public int Batches { get; }

    /// <summary>An epoch of training: images in random order, augmented, whole batches only.</summary>
    public static BatchLoader Train(
        ImageSet images, Normalisation normalisation, Augmentation augmentation, int batch, ulong seed, int epoch, int threads = 1)
    {
        int[] order = Shuffle(images.Count, new RandomKey(seed, RandomPurpose.SampleOrder, 0, (uint)epoch));
        return new BatchLoader(images, normalisation, augmentation, batch, order, images.Count / batch, seed, (uint)epoch, threads);
    }

    /// <summary>Every image once, in order, the last batch as small as it is.</summary>
    public static BatchLoader Evaluate(ImageSet images, Normalisation normalisation, int batch, int threads = 1) => new(
        images, normalisation, Augmentation.None, batch, [.. Enumerable.Range(0, images.Count)], (images.Count + batch - 1) / batch, 0, 0, threads);

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
            Span<float> values = batch.Images.AsSpan(i * length, length);
            if (_augmentation == Augmentation.None) _normalisation.Apply(_images.Image(image), values);
            else Augment(image, values);
        }
    }

    private void Augment(int image, Span<float> values)
    {
        var random = new RandomSequence(new RandomKey(_seed, RandomPurpose.Augmentation, _epoch, (uint)image));
        int down = random.NextInt(2 * CropReach + 1) - CropReach, right = random.NextInt(2 * CropReach + 1) - CropReach;
        bool flip = random.NextInt(2) == 1 && _augmentation.HasFlag(Augmentation.Flip);
        if (!_augmentation.HasFlag(Augmentation.Crop)) down = right = 0;
        (int rows, int columns, int channels) = _images.Shape;
        ReadOnlySpan<byte> bytes = _images.Image(image);
        for (int h = 0; h < rows; h++)
        {
            for (int w = 0; w < columns; w++)
            {
                int fromRow = h + down, fromColumn = (flip ? columns - 1 - w : w) + right;
                Span<float> pixel = values.Slice((h * columns + w) * channels, channels);
                // Zero is the mean colour once pixels are normalised.
                if (fromRow < 0 || fromRow >= rows || fromColumn < 0 || fromColumn >= columns) pixel.Clear();
                else _normalisation.Apply(bytes.Slice((fromRow * columns + fromColumn) * channels, channels), pixel);
            }
        }
    }

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
