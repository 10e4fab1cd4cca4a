using System.Collections.Concurrent;
using System.Diagnostics;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.State;

namespace FeedbackKernels.Training;

/// <summary>
/// Takes the images of a source to a device, batch after batch: order, shard, decoding, augmentation, upload. Background threads prepare
/// the next batches. What a batch holds depends on the seed, the epoch and the position alone, so the number of threads does not matter,
/// and (epoch, position) is the whole state: a feed that is set to a position gives exactly the rest of that epoch.
/// </summary>
/// <remarks>
/// Several processes divide the work by rank: all of them go through the same order in the same global batches, and rank r of w takes
/// the images from r/w to (r+1)/w of each. Images of one size are augmented on the device; encoded images of several sizes are cropped,
/// resized and flipped where they are decoded.
/// </remarks>
public sealed class ImageFeed : IState, IDisposable
{
    private const int CropReach = 4;

    private readonly Backend _backend;
    private readonly IImageSource _source;
    private readonly Augmentation _augmentation;
    private readonly FeedOptions _options;
    private readonly ulong _seed;
    private readonly int _batch;
    private readonly int[]? _order;
    private readonly Prefetcher<Batch> _batches;
    private readonly ImageWorker[] _workers;
    private readonly ConcurrentDictionary<int, string> _damaged = new(), _unreadable = new();
    private readonly DeviceBuffer _pixels, _numbers, _table;
    private long _uploadTicks;

    private long _epoch, _position;

    // What the prefetcher works on: changed only while its threads stand still.
    private (long Epoch, long Position)? _prepared;
    private long _orderEpoch = -1;
    private int _start;
    private MapShape _shape;
    private ImageAugmentation _moves;
    private ICropChoice? _crop;

    private ImageFeed(
        Backend backend, IImageSource source, Normalisation normalisation, Augmentation augmentation, int batch, ulong seed, bool shuffled,
        FeedOptions? options)
    {
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(normalisation);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batch);
        options ??= FeedOptions.Default;
        options.Validate();
        if ((augmentation & ~Augmentation.CropFlip) != 0) throw new ArgumentOutOfRangeException(nameof(augmentation), augmentation, "not an augmentation");
        (_backend, _source, _augmentation, _batch, _seed, _options) = (backend, source, augmentation, batch, seed, options);
        _order = shuffled ? new int[source.Count] : null;
        MapShape largest = LargestShape();
        if (normalisation.Channels != largest.C)
            throw new ArgumentException($"a normalisation of {normalisation.Channels} channels for images of {largest}", nameof(normalisation));
        int most = Communicator.LargestShareOf(batch, options.WorldSize);
        int threads = options.Threads > 0 ? options.Threads : UsualThreads();
        _batches = new Prefetcher<Batch>(threads, options.BatchesAhead, () => new Batch(most, largest.Length), Begin, Fill);
        _workers = Decodes ? [.. Enumerable.Range(0, threads).Select(_ => new ImageWorker(source))] : [];
        var buffers = new List<DeviceBuffer>();
        try
        {
            buffers.Add(_pixels = backend.Allocate((long)most * largest.Length, "pixels", ElementType.UInt8));
            buffers.Add(_numbers = backend.Allocate(most, "image numbers", ElementType.Int32));
            buffers.Add(_table = backend.Allocate(normalisation.Table.Length, "pixel table"));
            backend.Upload(normalisation.Table, _table);
        }
        catch
        {
            foreach (DeviceBuffer buffer in buffers) buffer.Dispose();
            foreach (ImageWorker worker in _workers) worker.Dispose();
            throw;
        }
    }

    /// <summary>A feed for training. Each epoch has its own order and whole batches only: images that are left over are used in
    /// other epochs.</summary>
    /// <param name="backend">Where the images go.</param>
    /// <param name="source">Where they come from.</param>
    /// <param name="normalisation">How bytes become numbers.</param>
    /// <param name="augmentation">How the images are moved, cropped and flipped.</param>
    /// <param name="batch">Images in a global batch.</param>
    /// <param name="seed">Seed of the order and of the augmentation.</param>
    /// <param name="options">Rank, threads, sizes; null for the usual ones. Images of several sizes need
    /// <see cref="ImageOptions.TrainSize"/>.</param>
    /// <exception cref="ArgumentException">The images have several sizes, and the options give none; or a setting is out of
    /// range.</exception>
    public static ImageFeed Train(
        Backend backend, IImageSource source, Normalisation normalisation, Augmentation augmentation, int batch, ulong seed,
        FeedOptions? options = null) =>
        new(backend, source, normalisation, augmentation, batch, seed, shuffled: true, options) { _epoch = 1 };

    /// <summary>A feed for evaluation: every image once, in order. The last batch holds what is left; a rank's part of it may be
    /// empty. Images of several sizes need <see cref="ImageOptions.TestSize"/> and <see cref="ImageOptions.TestResize"/>.</summary>
    /// <inheritdoc cref="Train"/>
    public static ImageFeed Evaluate(
        Backend backend, IImageSource source, Normalisation normalisation, int batch, FeedOptions? options = null) =>
        new(backend, source, normalisation, Augmentation.None, batch, seed: 0, shuffled: false, options);

    /// <summary>The epoch that the next batch is from. A feed for training begins with epoch 1.</summary>
    public long Epoch => _epoch;

    /// <summary>Images of the epoch before the next batch, counted over all ranks.</summary>
    public long Position => _position;

    /// <summary>Batches in a whole epoch.</summary>
    public int BatchesPerEpoch => BatchesFrom(0);

    /// <summary>Threads that prepare batches.</summary>
    public int Threads => _batches.Threads;

    /// <summary>What the feed has spent time on so far.</summary>
    public FeedTimes Times
    {
        get
        {
            (long read, long decode, long resize) = (0, 0, 0);
            foreach (ImageWorker worker in _workers)
            {
                (long r, long d, long z) = worker.Ticks;
                (read, decode, resize) = (read + r, decode + d, resize + z);
            }

            return new FeedTimes(Seconds(_batches.WaitedTicks), Seconds(read), Seconds(decode), Seconds(resize), Seconds(_uploadTicks));
        }
    }

    /// <summary>Images so far of which a part could not be decoded, by their numbers.</summary>
    public IReadOnlyDictionary<int, string> Damaged => _damaged;

    /// <summary>Images so far that could not be decoded at all, by their numbers, if <see cref="FeedOptions.KeepsUnreadable"/> is set.</summary>
    internal IReadOnlyDictionary<int, string> Unreadable => _unreadable;

    /// <summary>Size of the images of an epoch, from 1.</summary>
    /// <param name="epoch">The epoch.</param>
    public MapShape ShapeAt(long epoch)
    {
        if (_source.Shape is { } shape) return shape;
        int size = _order is null ? _options.Images.TestSize : _options.Images.TrainSizeAt(epoch);
        return new MapShape(size, size, Channels);
    }

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
    /// <exception cref="ArgumentOutOfRangeException">The epoch is not 0 to 2^32 - 1, or there are not that many images.</exception>
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
    /// <param name="model">A model on the feed's backend for images of the batch's size.</param>
    /// <exception cref="ArgumentException">The model takes images of another size.</exception>
    public void Load(Batch batch, Model model)
    {
        ArgumentNullException.ThrowIfNull(batch);
        ArgumentNullException.ThrowIfNull(model);
        if (model.Spec.Input != batch.Shape)
            throw new ArgumentException($"the model takes images of {model.Spec.Input}, the feed has {batch.Shape}", nameof(model));
        _backend.Upload<int>(batch.Labels.AsSpan(0, batch.Count), model.Labels);
        LoadImages(batch, model.Input);
    }

    /// <summary>Uploads the images of a batch. The bytes are uploaded, and the device converts them.</summary>
    internal void LoadImages(Batch batch, DeviceBuffer input)
    {
        long start = Stopwatch.GetTimestamp();
        _backend.Upload<byte>(batch.Pixels.AsSpan(0, batch.Count * batch.Shape.Length), _pixels);
        _backend.Upload<int>(batch.Numbers.AsSpan(0, batch.Count), _numbers);
        _backend.AugmentImages(batch.Augmentation, batch.Count, _pixels, _numbers, _table, input);
        _uploadTicks += Stopwatch.GetTimestamp() - start;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _batches.Dispose();
        foreach (ImageWorker worker in _workers) worker.Dispose();
        _pixels.Dispose();
        _numbers.Dispose();
        _table.Dispose();
    }

    private bool Decodes => _source.Shape is null;

    private int Channels => _options.Grey && Decodes ? 1 : _source.Channels;

    private static double Seconds(long ticks) => ticks / (double)Stopwatch.Frequency;

    /// <summary>The largest images that the feed will make.</summary>
    private MapShape LargestShape()
    {
        if (_source.Shape is { } shape) return shape;
        ImageOptions images = _options.Images;
        bool isMissing = _order is null ? images.TestSize == 0 || images.TestResize == 0 : images.TrainSize == 0;
        if (isMissing)
        {
            string wanted = _order is null ? "a test size and the length that the shorter side is resized to" : "a training size";
            throw new ArgumentException($"the images have several sizes; wanted {wanted}", nameof(FeedOptions.Images));
        }

        int size = _order is null ? images.TestSize : images.ResizeSchedule.Select(change => change.Size).Append(images.TrainSize).Max();
        if (_source.Channels != 3) throw new ArgumentException($"encoded images of {_source.Channels} channels, wanted 3", nameof(_source));
        return new MapShape(size, size, Channels);
    }

    // Where the CPU also trains, decoding threads take time from it; half of the processors decode several times faster than
    // networks for such images train there.
    private int UsualThreads() => !Decodes ? 1 : _backend.QueuesWork ? Environment.ProcessorCount : (Environment.ProcessorCount + 1) / 2;

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
            for (int i = 0; i < _order.Length; i++) _order[i] = i;
            if (!_options.KeepsOrder) Shuffle(_order, new RandomKey(_seed, RandomPurpose.SampleOrder, 0, (uint)_epoch));
            _orderEpoch = _epoch;
        }

        _start = (int)_position;
        _shape = ShapeAt(_epoch);
        _moves = new ImageAugmentation(_shape.H, _shape.W, _shape.C);
        if (Decodes) _crop = NewCrop();
        else if (_order is not null) _moves = Augmented(_moves);
        _batches.Start(BatchesFrom(_position));
        _prepared = (_epoch, _position);
    }

    private RandomKey AugmentationKey => new(_seed, RandomPurpose.Augmentation, (uint)_epoch);

    private ImageAugmentation Augmented(ImageAugmentation moves) => moves with
    {
        Reach = _augmentation.HasFlag(Augmentation.Crop) ? CropReach : 0,
        Flip = _augmentation.HasFlag(Augmentation.Flip),
        Key = AugmentationKey,
    };

    private ICropChoice NewCrop() => _order is null
        ? new CentreChoice(_options.Images.TestResize, _shape.H)
        : new RandomChoice(_options.Images, _augmentation, _shape.H, AugmentationKey);

    private int Begin(Batch batch, int number)
    {
        int first = _start + number * _batch, whole = Math.Min(_batch, _source.Count - first);
        (int before, int count) = Communicator.ShareOf(whole, _options.Rank, _options.WorldSize);
        (batch.First, batch.Count) = (first + before, count);
        batch.Shape = _shape;
        batch.Augmentation = _moves;
        return Decodes ? batch.Count : 1;
    }

    private void Fill(Batch batch, int part, int thread)
    {
        if (!Decodes)
        {
            for (int i = 0; i < batch.Count; i++) Number(batch, i);
            _source.Read(batch.Numbers.AsSpan(0, batch.Count), batch.Pixels.AsSpan(0, batch.Count * _shape.Length));
            return;
        }

        ReadAhead(batch.First + part);
        int image = Number(batch, part);
        Span<byte> pixels = batch.Pixels.AsSpan(part * _shape.Length, _shape.Length);
        try
        {
            string? damage = _options.Grey ? _workers[thread].FillGrey(image, _crop!, pixels) : _workers[thread].Fill(image, _crop!, pixels);
            if (damage is not null) Report(image, damage);
        }
        catch (InvalidDataException e) when (_options.KeepsUnreadable)
        {
            pixels.Fill(ImageDecoder.MissingPixel);
            _unreadable.TryAdd(image, e.Message);
        }
    }

    private int Number(Batch batch, int i)
    {
        int image = InOrder(batch.First + i);
        batch.Numbers[i] = image;
        batch.Labels[i] = _source.Label(image);
        return image;
    }

    private int InOrder(int place) => _order is null ? place : _order[place];

    // So far ahead that a disk can sort the requests of some batches.
    private void ReadAhead(int place)
    {
        long ahead = place + (long)_options.BatchesAhead * _batch;
        if (ahead >= _source.Count) return;
        int image = InOrder((int)ahead);
        _source.Prefetch(new ReadOnlySpan<int>(in image));
    }

    private void Report(int image, string damage)
    {
        if (_options.Images.DamagedIsFatal) throw new InvalidDataException($"{_source.NameOf(image)}: {damage}");
        _damaged.TryAdd(image, $"{_source.NameOf(image)}: {damage}");
    }

    private static void Shuffle(int[] order, RandomKey key)
    {
        var random = new RandomSequence(key);
        for (int i = order.Length - 1; i > 0; i--)
        {
            int j = random.NextInt(i + 1);
            (order[i], order[j]) = (order[j], order[i]);
        }
    }

    /// <summary>The centre of each image.</summary>
    private sealed class CentreChoice(int resize, int size) : ICropChoice
    {
        private readonly CentreCrop _crop = new(resize, size);

        public CropResize Choose(int image, int rows, int columns) => _crop.Of(rows, columns);
    }

    /// <summary>A random part of each image, flipped or not. The numbers are drawn in this order: those of the crop, then the
    /// flip.</summary>
    private sealed class RandomChoice(ImageOptions options, Augmentation augmentation, int size, RandomKey key) : ICropChoice
    {
        private readonly RandomResizedCrop _random = new(options.CropScaleMin, options.CropScaleMax, options.CropRatioMin, options.CropRatioMax, size);
        private readonly CentreCrop _centre = new(ImageOptions.UsualResize(size), size);

        public CropResize Choose(int image, int rows, int columns)
        {
            var random = new RandomSequence(key with { Step = (uint)image });
            CropResize crop = augmentation.HasFlag(Augmentation.Crop) ? _random.Draw(rows, columns, ref random) : _centre.Of(rows, columns);
            return augmentation.HasFlag(Augmentation.Flip) ? crop with { Flip = random.NextInt(2) == 1 } : crop;
        }
    }
}
