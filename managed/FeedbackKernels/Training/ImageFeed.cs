using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.State;

namespace FeedbackKernels.Training;

/// <summary>
/// Takes the images of a source to a device, batch after batch: order, shard, augmentation, upload. Background threads prepare the
/// next batches. What a batch holds depends on the seed, the epoch and the position alone, so the number of threads does not matter,
/// and (epoch, position) is the whole state: a feed that is set to a position gives exactly the rest of that epoch.
/// </summary>
/// <remarks>
/// Several processes divide the work by rank: all of them go through the same order in the same global batches, and rank r of w takes
/// the images from r/w to (r+1)/w of each.
/// </remarks>
public sealed class ImageFeed : IState, IDisposable
{
    private const int CropReach = 4;

    private readonly Backend _backend;
    private readonly IImageSource _source;
    private readonly MapShape _shape;
    private readonly Augmentation _augmentation;
    private readonly ulong _seed;
    private readonly int _batch, _rank, _worldSize;
    private readonly int[]? _order;
    private readonly Prefetcher<Batch> _batches;
    private readonly DeviceBuffer _pixels, _numbers, _table;

    private long _epoch, _position;

    // What the prefetcher works on: changed only while its threads stand still.
    private (long Epoch, long Position)? _prepared;
    private long _orderEpoch = -1;
    private int _start;
    private ImageAugmentation _moves;

    private ImageFeed(
        Backend backend, IImageSource source, Normalisation normalisation, Augmentation augmentation, int batch, ulong seed, bool shuffled,
        int rank, int worldSize, int threads)
    {
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(normalisation);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batch);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(threads);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(worldSize);
        if (rank < 0 || rank >= worldSize) throw new ArgumentOutOfRangeException(nameof(rank), rank, $"wanted 0 to {worldSize - 1}");
        if ((augmentation & ~Augmentation.CropFlip) != 0) throw new ArgumentOutOfRangeException(nameof(augmentation), augmentation, "not an augmentation");
        _shape = source.RequireShape();
        if (normalisation.Channels != _shape.C)
            throw new ArgumentException($"a normalisation of {normalisation.Channels} channels for images of {_shape}", nameof(normalisation));
        (_backend, _source, _augmentation, _batch, _seed, _rank, _worldSize) = (backend, source, augmentation, batch, seed, rank, worldSize);
        _order = shuffled ? new int[source.Count] : null;
        int most = (int)(((long)batch + worldSize - 1) / worldSize);
        _batches = new Prefetcher<Batch>(threads, () => new Batch(most, _shape.Length), Fill);
        var buffers = new List<DeviceBuffer>();
        try
        {
            buffers.Add(_pixels = backend.Allocate((long)most * _shape.Length, "pixels", ElementType.UInt8));
            buffers.Add(_numbers = backend.Allocate(most, "image numbers", ElementType.Int32));
            buffers.Add(_table = backend.Allocate(normalisation.Table.Length, "pixel table"));
            backend.Upload(normalisation.Table, _table);
        }
        catch
        {
            foreach (DeviceBuffer buffer in buffers) buffer.Dispose();
            throw;
        }
    }

    /// <summary>A feed for training. Each epoch has its own order and whole batches only: images that are left over are used in
    /// other epochs.</summary>
    /// <param name="backend">Where the images go.</param>
    /// <param name="source">Where they come from.</param>
    /// <param name="normalisation">How bytes become numbers.</param>
    /// <param name="augmentation">How the images are moved and flipped.</param>
    /// <param name="batch">Images in a global batch.</param>
    /// <param name="seed">Seed of the order and of the augmentation.</param>
    /// <param name="rank">Number of this process, from 0.</param>
    /// <param name="worldSize">Number of processes.</param>
    /// <param name="threads">Threads that prepare batches.</param>
    /// <exception cref="NotSupportedException">The images have several sizes.</exception>
    public static ImageFeed Train(
        Backend backend, IImageSource source, Normalisation normalisation, Augmentation augmentation, int batch, ulong seed,
        int rank = 0, int worldSize = 1, int threads = 1) =>
        new(backend, source, normalisation, augmentation, batch, seed, shuffled: true, rank, worldSize, threads) { _epoch = 1 };

    /// <summary>A feed for evaluation: every image once, in order. The last batch holds what is left; a rank's part of it may be
    /// empty.</summary>
    /// <inheritdoc cref="Train"/>
    public static ImageFeed Evaluate(
        Backend backend, IImageSource source, Normalisation normalisation, int batch, int rank = 0, int worldSize = 1, int threads = 1) =>
        new(backend, source, normalisation, Augmentation.None, batch, seed: 0, shuffled: false, rank, worldSize, threads);

    /// <summary>The epoch that the next batch is from. A feed for training begins with epoch 1.</summary>
    public long Epoch => _epoch;

    /// <summary>Images of the epoch before the next batch, counted over all ranks.</summary>
    public long Position => _position;

    /// <summary>Batches in a whole epoch.</summary>
    public int BatchesPerEpoch => BatchesFrom(0);

    /// <summary>The next batch, or null at the end of the epoch; the call after that begins the next epoch. A batch is valid until
    /// the next call.</summary>
    /// <exception cref="IOException">The source could not read a file.</exception>
    /// <exception cref="InvalidDataException">A file of the source is damaged.</exception>
    public Batch? Next()
    {
        if (_prepared != (_epoch, _position)) Prepare();
        if (BatchesFrom(_position) == 0)
        {
            (_epoch, _position) = (_epoch + 1, 0);
            return null;
        }

        Batch batch = _batches.Take();
        _position += Math.Min(_batch, _source.Count - _position);
        _prepared = (_epoch, _position);
        return batch;
    }

    /// <summary>Continues at another place.</summary>
    /// <param name="epoch">The epoch.</param>
    /// <param name="position">Images of the epoch to leave out.</param>
    public void Seek(long epoch, long position)
    {
        if (epoch is < 0 or > uint.MaxValue) throw new ArgumentOutOfRangeException(nameof(epoch), epoch, $"wanted 0 to {uint.MaxValue}");
        if (position < 0 || position > _source.Count) throw new ArgumentOutOfRangeException(nameof(position), position, $"wanted 0 to {_source.Count}");
        (_epoch, _position) = (epoch, position);
    }

    /// <inheritdoc/>
    public void Walk(IStateWalker walker)
    {
        ArgumentNullException.ThrowIfNull(walker);
        long epoch = _epoch, position = _position;
        walker.Scalar("feed.epoch", ref epoch);
        walker.Scalar("feed.position", ref position);
        Seek(epoch, position);
    }

    /// <summary>Uploads a batch: normalised and augmented images to the model's input, classes to its labels.</summary>
    /// <param name="batch">A batch of this feed.</param>
    /// <param name="model">A model on the feed's backend for images of the feed's size.</param>
    public void Load(Batch batch, Model model)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentNullException.ThrowIfNull(model);
        if (model.Spec.Input != _shape) throw new ArgumentException($"the model takes images of {model.Spec.Input}, the feed has {_shape}", nameof(model));
        _backend.Upload<int>(batch.Labels.AsSpan(0, batch.Count), model.Labels);
        LoadImages(batch, model.Input);
    }

    /// <summary>Uploads the images of a batch. The bytes are uploaded, and the device converts them.</summary>
    internal void LoadImages(Batch batch, DeviceBuffer input)
    {
        _backend.Upload<byte>(batch.Pixels.AsSpan(0, batch.Count * _shape.Length), _pixels);
        _backend.Upload<int>(batch.Numbers.AsSpan(0, batch.Count), _numbers);
        _backend.AugmentImages(batch.Augmentation, batch.Count, _pixels, _numbers, _table, input);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _batches.Dispose();
        _pixels.Dispose();
        _numbers.Dispose();
        _table.Dispose();
    }

    private int BatchesFrom(long position)
    {
        long left = _source.Count - position;
        return (int)(_order is null ? (left + _batch - 1) / _batch : left / _batch);
    }

    private void Prepare()
    {
        _batches.Stop();
        if (_order is not null && _orderEpoch != _epoch)
        {
            Shuffle(_order, new RandomKey(_seed, RandomPurpose.SampleOrder, 0, (uint)_epoch));
            _orderEpoch = _epoch;
        }

        _start = (int)_position;
        _moves = new ImageAugmentation(_shape.H, _shape.W, _shape.C);
        if (_order is not null)
        {
            _moves = _moves with
            {
                Reach = _augmentation.HasFlag(Augmentation.Crop) ? CropReach : 0,
                Flip = _augmentation.HasFlag(Augmentation.Flip),
                Key = new RandomKey(_seed, RandomPurpose.Augmentation, (uint)_epoch),
            };
        }

        _batches.Start(BatchesFrom(_position));
        _prepared = (_epoch, _position);
    }

    private void Fill(Batch batch, int number)
    {
        int first = _start + number * _batch, whole = Math.Min(_batch, _source.Count - first);
        int begin = (int)((long)whole * _rank / _worldSize), end = (int)((long)whole * (_rank + 1) / _worldSize);
        batch.Count = end - begin;
        batch.Augmentation = _moves;
        for (int i = 0; i < batch.Count; i++)
        {
            int place = first + begin + i, image = _order is null ? place : _order[place];
            batch.Numbers[i] = image;
            batch.Labels[i] = _source.Label(image);
        }

        _source.Read(batch.Numbers.AsSpan(0, batch.Count), batch.Pixels.AsSpan(0, batch.Count * _shape.Length));
    }

    private static void Shuffle(int[] order, RandomKey key)
    {
        for (int i = 0; i < order.Length; i++) order[i] = i;
        var random = new RandomSequence(key);
        for (int i = order.Length - 1; i > 0; i--)
        {
            int j = random.NextInt(i + 1);
            (order[i], order[j]) = (order[j], order[i]);
        }
    }
}
