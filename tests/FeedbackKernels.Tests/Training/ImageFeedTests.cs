using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.State;
using FeedbackKernels.Tests.Data;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Training;

/// <summary>The images that a feed takes from a source: their order, and their division over ranks.</summary>
public sealed class ImageFeedTests : IDisposable
{
    private const int Count = 103, BatchSize = 10;

    // Image i: all pixels i; class i % 10.
    private static readonly ImageSet Images = new(
        new MapShape(6, 5, 2), 10, [.. Enumerable.Range(0, Count).SelectMany(i => Enumerable.Repeat((byte)i, 60))], [.. Enumerable.Range(0, Count).Select(i => i % 10)]);

    private static readonly Normalisation Unit = Normalisation.Of(Images, NormalisationKind.Unit);

    private readonly ReferenceBackend _backend = new();

    public void Dispose() => _backend.Dispose();

    [Fact]
    public void A_training_epoch_has_whole_batches_of_different_images()
    {
        int[] seen = [.. Train(epoch: 1).SelectMany(b => b.Ids)];
        Assert.Equal(100, seen.Length);
        Assert.Equal(100, seen.Distinct().Count());
        Assert.NotEqual(seen.Order(), seen);
        Assert.NotEqual(seen, Train(epoch: 2).SelectMany(b => b.Ids));
        Assert.Equal(seen, Train(epoch: 1).SelectMany(b => b.Ids));
        Assert.NotEqual(seen, Train(epoch: 1, seed: 2).SelectMany(b => b.Ids));
    }

    [Fact]
    public void Without_shuffling_each_epoch_has_the_order_of_the_source()
    {
        using ImageFeed feed = ImageFeed.Train(_backend, Images, Unit, Augmentation.None, BatchSize, seed: 3, new FeedOptions { KeepsOrder = true });
        for (int epoch = 1; epoch <= 2; epoch++)
        {
            var seen = new List<int>();
            while (feed.Next() is { } batch) seen.AddRange(Enumerable.Range(0, batch.Count).Select(i => (int)batch.Pixels[i * 60]));
            // Whole batches only, as with shuffling.
            Assert.Equal(Enumerable.Range(0, Count / BatchSize * BatchSize), seen);
        }
    }

    [Fact]
    public void Threads_do_not_change_a_batch()
    {
        foreach (Augmentation augmentation in (Augmentation[])[Augmentation.None, Augmentation.CropFlip])
        {
            var one = Train(1, threads: 1, augmentation: augmentation);
            var three = Train(1, threads: 3, augmentation: augmentation);
            Assert.Equal(one.SelectMany(b => b.Images), three.SelectMany(b => b.Images));
        }
    }

    [Fact]
    public void Evaluation_has_every_image_once_in_order()
    {
        using ImageFeed feed = ImageFeed.Evaluate(_backend, Images, Unit, BatchSize);
        Assert.Equal(11, feed.BatchesPerEpoch);
        for (int pass = 0; pass < 2; pass++)
        {
            var seen = new List<int>();
            while (feed.Next() is { } batch)
            {
                Assert.Equal(Math.Min(BatchSize, Count - seen.Count), batch.Count);
                for (int i = 0; i < batch.Count; i++)
                {
                    seen.Add(batch.Pixels[i * 60]);
                    Assert.Equal(seen[^1] % 10, batch.Labels[i]);
                }
            }

            Assert.Equal(Enumerable.Range(0, Count), seen);
        }
    }

    [Fact]
    public void Crops_shift_and_flips_mirror_whole_images()
    {
        // One image in which every pixel is different: the result is the image, shifted, with zeros at the border.
        var shape = new MapShape(8, 8, 1);
        var set = new ImageSet(shape, 2, [.. Enumerable.Range(1, 64).Select(i => (byte)i)], [1]);
        var normalisation = Normalisation.Of(set, NormalisationKind.Unit);
        var shifts = new HashSet<(int, int, bool)>();
        using ImageFeed feed = ImageFeed.Train(_backend, set, normalisation, Augmentation.CropFlip, 1, seed: 1);
        for (int epoch = 0; epoch < 400; epoch++)
        {
            feed.Seek(epoch, 0);
            int[] pixels = [.. Input(feed, feed.Next()!, 64).Select(v => (int)Math.Round(v * 255))];
            shifts.Add(Explain(pixels));
        }

        // 9 x 9 shifts, each with and without flip: most of the 162 come up in 400 draws (all but about 14).
        Assert.InRange(shifts.Count, 130, 162);
        Assert.Equal((-4, 4), (shifts.Min(s => s.Item1), shifts.Max(s => s.Item1)));
        Assert.Equal((-4, 4), (shifts.Min(s => s.Item2), shifts.Max(s => s.Item2)));

        (int Down, int Right, bool Flip) Explain(int[] pixels)
        {
            foreach (bool flip in (bool[])[false, true])
            {
                for (int down = -4; down <= 4; down++)
                {
                    for (int right = -4; right <= 4; right++)
                    {
                        bool same = true;
                        for (int h = 0; h < 8 && same; h++)
                        {
                            for (int w = 0; w < 8 && same; w++)
                            {
                                int y = h + down, x = (flip ? 7 - w : w) + right;
                                int expected = y < 0 || y > 7 || x < 0 || x > 7 ? 0 : y * 8 + x + 1;
                                same = pixels[h * 8 + w] == expected;
                            }
                        }

                        if (same) return (down, right, flip);
                    }
                }
            }

            throw new InvalidOperationException("the image is not a moved copy");
        }
    }

    [Fact]
    public void Standard_normalisation_gives_mean_zero_and_variance_one()
    {
        Normalisation standard = Normalisation.Of(Images, NormalisationKind.Standard);
        var values = new float[Images.Pixels.Length];
        standard.Apply(Images.Pixels, values);
        Assert.Equal(0, values.Average(v => (double)v), 1e-4);
        Assert.Equal(1, values.Average(v => (double)v * v), 1e-4);
        Assert.Equal(values[60 * 7 + 1], standard[7, 1]);
    }

    [Fact]
    public void Stopping_in_the_middle_leaves_no_thread_behind()
    {
        for (int i = 0; i < 20; i++)
        {
            using ImageFeed feed = ImageFeed.Train(_backend, Images, Unit, Augmentation.CropFlip, BatchSize, 1, new FeedOptions { Threads = 2 });
            feed.Next();
        }
    }

    [Fact]
    public void Wrong_image_sets_are_refused()
    {
        Assert.Throws<ArgumentException>(() => new ImageSet(new MapShape(2, 2, 1), 2, new byte[7], [0, 1]));
        Assert.Contains("label 2", Assert.Throws<ArgumentException>(() => new ImageSet(new MapShape(1, 1, 1), 2, new byte[2], [0, 2])).Message);
    }

    [Fact]
    public void What_is_done_to_an_image_is_named_by_seed_epoch_and_image()
    {
        var seen = new Dictionary<int, (int, int, bool)>();
        foreach (int batchSize in (int[])[10, 7])
        {
            using ImageFeed feed = ImageFeed.Train(_backend, Images, Unit, Augmentation.CropFlip, batchSize, seed: 3);
            feed.Seek(5, 0);
            while (feed.Next() is { } batch)
            {
                for (int i = 0; i < batch.Count; i++)
                {
                    int image = batch.Numbers[i];
                    Assert.Equal(image, batch.Pixels[i * 60]);
                    // The numbers of stream (seed, augmentation, epoch, image), in order: rows, columns, flip.
                    var random = new RandomSequence(new RandomKey(3, RandomPurpose.Augmentation, 5, (uint)image));
                    (int, int, bool) drawn = (random.NextInt(9) - 4, random.NextInt(9) - 4, random.NextInt(2) == 1);
                    Assert.Equal(drawn, batch.Augmentation.Draw(image));
                    if (!seen.TryAdd(image, drawn)) Assert.Equal(seen[image], drawn);
                }
            }
        }

        Assert.True(seen.Values.Distinct().Count() > 50);
    }

    [Fact]
    public void Ranks_divide_every_batch_and_keep_the_order()
    {
        (int[] Ids, float[] Images)[] whole = [.. Train(epoch: 4, augmentation: Augmentation.CropFlip)];
        foreach (int world in (int[])[1, 2, 3])
        {
            List<(int[] Ids, float[] Images)>[] ranks =
                [.. Enumerable.Range(0, world).Select(rank => Train(epoch: 4, augmentation: Augmentation.CropFlip, rank: rank, worldSize: world))];
            for (int i = 0; i < whole.Length; i++)
            {
                // One after another they are the batch of a single process, down to the pixels.
                Assert.Equal(whole[i].Ids, ranks.SelectMany(rank => rank[i].Ids));
                Assert.Equal(whole[i].Images, ranks.SelectMany(rank => rank[i].Images));
                Assert.All(ranks, rank => Assert.InRange(rank[i].Ids.Length, BatchSize / world, (BatchSize + world - 1) / world));
            }

            // In evaluation every image is on one rank, also those of the small last batch: 3 images on up to 3 ranks.
            var seen = new List<int>();
            for (int rank = 0; rank < world; rank++)
            {
                using ImageFeed feed = ImageFeed.Evaluate(_backend, Images, Unit, BatchSize, new FeedOptions { Rank = rank, WorldSize = world });
                while (feed.Next() is { } batch) seen.AddRange(batch.Numbers[..batch.Count]);
            }

            Assert.Equal(Enumerable.Range(0, Count), seen.Order());
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void A_feed_that_is_set_to_a_place_gives_exactly_the_rest(int threads)
    {
        using ImageFeed first = NewFeed(Augmentation.CropFlip, threads: threads);
        for (int batches = 0; batches <= first.BatchesPerEpoch; batches++)
        {
            first.Seek(7, 0);
            for (int i = 0; i < batches; i++) Assert.NotNull(first.Next());
            var copy = new StateCopy();
            first.Walk(copy);
            Assert.Equal([("feed.epoch", 7), ("feed.position", batches * BatchSize)], copy.Values);
            using ImageFeed second = NewFeed(Augmentation.CropFlip, threads: threads);
            // The second one has been elsewhere, and has batches of another epoch prepared.
            second.Next();
            second.Walk(new StateCopy(copy.Values));
            Assert.Equal((7, batches * BatchSize), (second.Epoch, second.Position));
            // To the end of the epoch, and into the next.
            for (int i = batches; i < first.BatchesPerEpoch + 4; i++)
            {
                Batch? expected = first.Next(), found = second.Next();
                Assert.Equal(expected is null, found is null);
                if (expected is null) continue;
                Assert.Equal(expected.Numbers, found!.Numbers);
                Assert.Equal(expected.Labels, found.Labels);
                Assert.Equal(Input(first, expected, 600), Input(second, found, 600));
            }

            Assert.Equal((first.Epoch, first.Position), (second.Epoch, second.Position));
            Assert.Equal(8, first.Epoch);
        }
    }

    [Fact]
    public void A_place_in_the_order_holds_for_another_batch_size_and_world()
    {
        int[] order = [.. Train(epoch: 2).SelectMany(b => b.Ids)];
        using ImageFeed feed = ImageFeed.Train(_backend, Images, Unit, Augmentation.None, 8, seed: 1, new FeedOptions { Rank = 1, WorldSize = 2 });
        feed.Seek(2, 30);
        var seen = new List<int>();
        while (feed.Next() is { } batch) seen.AddRange(batch.Numbers);
        // Batches of 8 from image 30 on, the second half of each. Nine fit into 103 images; the last reaches beyond the 100 of the other.
        Assert.Equal(order[30..].Chunk(8).Take(8).SelectMany(b => b[4..]), seen.Take(32));
        Assert.Equal(36, seen.Count);
    }

    [Fact]
    public void A_batch_goes_to_the_device_without_an_allocation()
    {
        using var backend = new CpuBackend(1);
        using var model = new Model(backend, ModelCatalog.Create("mlp", Images.Shape, 10, new ModelOptions(Hidden: 3)), RuleSet.Of(new Backprop()), BatchSize, seed: 1);
        using ImageFeed feed = ImageFeed.Train(backend, Images, Unit, Augmentation.CropFlip, BatchSize, seed: 1);
        for (int i = 0; i < 3; i++) feed.Load(feed.Next()!, model);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 3; i < 10; i++) feed.Load(feed.Next()!, model);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Null(feed.Next());
    }

    [Fact]
    public void An_error_of_the_source_reaches_the_caller_at_its_batch()
    {
        foreach (int threads in (int[])[1, 3])
        {
            using ImageFeed feed = ImageFeed.Evaluate(_backend, new Failing(Images, 35), Unit, BatchSize, new FeedOptions { Threads = threads });
            for (int i = 0; i < 3; i++) Assert.NotNull(feed.Next());
            for (int i = 0; i < 2; i++) Assert.Equal("image 35", Assert.Throws<InvalidDataException>(() => feed.Next()).Message);
            feed.Seek(0, 40);
            Assert.Equal(40, feed.Next()!.Numbers[0]);
        }
    }

    [Fact]
    public void What_does_not_fit_is_refused()
    {
        Normalisation grey = new([0.5], [0.5]);
        TestFiles.Complains<ArgumentException>(() => ImageFeed.Train(_backend, Images, grey, Augmentation.None, 1, 1), "1 channels", "6x5x2");
        TestFiles.Complains<ArgumentException>(() => ImageFeed.Evaluate(_backend, Images, grey, 1), "1 channels", "6x5x2");
        TestFiles.Complains<ArgumentOutOfRangeException>(() => ImageFeed.Evaluate(_backend, Images, Unit, 0), "batch");
        TestFiles.Complains<ArgumentOutOfRangeException>(() => ImageFeed.Evaluate(_backend, Images, Unit, 1, new FeedOptions { Threads = -1 }), "threads");
        TestFiles.Complains<ArgumentOutOfRangeException>(() => ImageFeed.Train(_backend, Images, Unit, (Augmentation)4, 1, 1), "augmentation");
        TestFiles.Complains<ArgumentOutOfRangeException>(() => ImageFeed.Evaluate(_backend, Images, Unit, 1, new FeedOptions { Rank = 2, WorldSize = 2 }), "rank", "0 to 1");
        TestFiles.Complains<ArgumentOutOfRangeException>(() => ImageFeed.Evaluate(_backend, Images, Unit, 1, new FeedOptions { WorldSize = 0 }), "worldSize");
        TestFiles.Complains<ArgumentException>(() => ImageFeed.Evaluate(_backend, new Failing(Images, 0, varies: true), Unit, 1), "several sizes", "test size");
        using ImageFeed feed = NewFeed();
        TestFiles.Complains<ArgumentOutOfRangeException>(() => { feed.Seek(-1, 0); return 0; }, "epoch");
        TestFiles.Complains<ArgumentOutOfRangeException>(() => { feed.Seek(1, Count + 1); return 0; }, "position", $"0 to {Count}");
        TestFiles.Complains<ArgumentOutOfRangeException>(() => { feed.Walk(new StateCopy([("feed.epoch", 1), ("feed.position", -1)])); return 0; }, "position");
        using var model = new Model(_backend, ModelCatalog.Create("mlp", new MapShape(5, 6, 2), 10, new ModelOptions(Hidden: 3)), RuleSet.Of(new Backprop()), BatchSize, seed: 1);
        TestFiles.Complains<ArgumentException>(() => { feed.Load(feed.Next()!, model); return 0; }, "5x6x2", "6x5x2");
    }

    private ImageFeed NewFeed(Augmentation augmentation = Augmentation.None, ulong seed = 1, int rank = 0, int worldSize = 1, int threads = 1) =>
        ImageFeed.Train(_backend, Images, Unit, augmentation, BatchSize, seed, new FeedOptions { Rank = rank, WorldSize = worldSize, Threads = threads });

    private float[] Input(ImageFeed feed, Batch batch, int length)
    {
        using DeviceBuffer x = _backend.Allocate(length, "x");
        feed.LoadImages(batch, x);
        return _backend.Download(x);
    }

    private List<(int[] Ids, float[] Images)> Train(
        int epoch, ulong seed = 1, int threads = 1, Augmentation augmentation = Augmentation.None, int rank = 0, int worldSize = 1)
    {
        using ImageFeed feed = NewFeed(augmentation, seed, rank, worldSize, threads);
        feed.Seek(epoch, 0);
        var batches = new List<(int[], float[])>();
        while (feed.Next() is { } batch)
        {
            if (worldSize == 1) Assert.Equal(BatchSize, batch.Count);
            batches.Add(([.. Enumerable.Range(0, batch.Count).Select(i => (int)batch.Pixels[i * 60])], Input(feed, batch, batch.Count * 60)));
        }

        Assert.Equal(Count / BatchSize, feed.BatchesPerEpoch);
        Assert.Equal(feed.BatchesPerEpoch, batches.Count);
        Assert.Equal((epoch + 1, 0), (feed.Epoch, feed.Position));
        return batches;
    }

    /// <summary>Copies the integers of a walk, or puts some back.</summary>
    private sealed class StateCopy(List<(string Name, long Value)>? restored = null) : IStateWalker
    {
        public bool Replaces => restored is not null;

        public List<(string Name, long Value)> Values { get; } = [];

        public void Tensor(string name, IReadOnlyList<int> sizes, DeviceBuffer buffer) => throw new InvalidOperationException(name);

        public void Scalar(string name, ref long value)
        {
            if (restored is not null) value = restored.Single(v => v.Name == name).Value;
            Values.Add((name, value));
        }

        public void Scalar(string name, ref double value) => throw new InvalidOperationException(name);

        public void Text(string name, ref string value) => throw new InvalidOperationException(name);
    }

    /// <summary>A source with an image that cannot be read.</summary>
    private sealed class Failing(ImageSet images, int broken, bool varies = false) : IImageSource
    {
        public int Count => images.Count;

        public int Channels => images.Channels;

        public MapShape? Shape => varies ? null : images.Shape;

        public IReadOnlyList<string> ClassNames => images.ClassNames;

        public int Label(int index) => images.Label(index);

        public int Length(int index) => images.Length(index);

        public void Read(ReadOnlySpan<int> indices, Span<byte> destination)
        {
            if (indices.Contains(broken)) throw new InvalidDataException($"image {broken}");
            images.Read(indices, destination);
        }
    }
}
