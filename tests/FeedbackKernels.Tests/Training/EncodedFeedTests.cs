using System.Diagnostics;
using System.Security.Cryptography;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Data;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Training;

/// <summary>The feed of encoded images: what it gives does not depend on threads, on ranks or on where the images are stored.</summary>
public sealed class EncodedFeedTests : IDisposable
{
    private const int BatchSize = 8, Size = 20;

    private static readonly Normalisation Unit = new([0.0, 0, 0], [1.0, 1, 1]);

    private readonly CpuBackend _backend = new(1);
    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-feed").FullName;

    public void Dispose()
    {
        _backend.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void Folder_tars_and_packed_file_give_the_same_hundred_batches_with_any_number_of_threads()
    {
        string photos = Path.Combine(_folder, "photos");
        SmallPhotos.Write(photos, train: 160, test: 20, onlyJpeg: true);
        DataSet folder = DataSet.Open($"imagefolder:{photos}", 1), packed = Packed(folder), tars = Tars(folder);
        foreach (Func<DataSet, IImageSource> half in (Func<DataSet, IImageSource>[])[d => d.Train, d => d.Test])
        {
            string[] expected = Hashes(half(folder), 1);
            Assert.Equal(100, expected.Length);
            Assert.Equal(100, expected.Distinct().Count());
            foreach (DataSet data in (DataSet[])[folder, packed, tars])
            {
                foreach (int threads in (int[])[1, 2, 7]) Assert.Equal(expected, Hashes(half(data), threads));
            }
        }
    }

    [Fact]
    public void Imagenette_gives_the_same_batches_from_a_folder_and_a_packed_file()
    {
        DataSet folder = DataSet.Open($"imagefolder:{RealData.Require("imagenette2-224")}", 1, limitTrain: 1600, limitTest: 100), packed = Packed(folder);
        string[] expected = Hashes(folder.Train, 1, size: 128);
        foreach (int threads in (int[])[2, 7]) Assert.Equal(expected, Hashes(packed.Train, threads, size: 128));
    }

    [Fact]
    public void A_batch_holds_the_crops_of_its_images_drawn_by_seed_epoch_and_image()
    {
        EncodedImages source = SmallPhotos.InMemory(24);
        using ImageFeed feed = Train(source, threads: 2, seed: 3);
        using var decoder = new ImageDecoder();
        var draw = new RandomResizedCrop(0.3, 0.9, 0.8, 1.25, Size);
        feed.Seek(5, 0);
        bool flipped = false, upright = false;
        while (feed.Next() is { } batch)
        {
            for (int i = 0; i < batch.Count; i++)
            {
                int image = batch.Numbers[i];
                var encoded = new byte[source.Length(image)];
                source.Read([image], encoded);
                ImageHeader header = ImageDecoder.ReadHeader(encoded);
                // Stream (seed, augmentation, epoch, image): the crop, then the flip.
                var random = new RandomSequence(new RandomKey(3, RandomPurpose.Augmentation, 5, (uint)image));
                CropResize crop = draw.Draw(header.Rows, header.Columns, ref random);
                crop = crop with { Flip = random.NextInt(2) == 1 };
                var pixels = new byte[Size * Size * 3];
                Assert.Null(decoder.Decode(encoded, crop, pixels));
                Assert.Equal(pixels, batch.Pixels.AsSpan(i * pixels.Length, pixels.Length).ToArray());
                Assert.Equal(source.Label(image), batch.Labels[i]);
                (flipped, upright) = (flipped || crop.Flip, upright || !crop.Flip);
            }
        }

        Assert.True(flipped && upright);
    }

    [Fact]
    public void Without_augmentation_the_centre_is_taken()
    {
        EncodedImages source = SmallPhotos.InMemory(16);
        using ImageFeed train = Train(source, augmentation: Augmentation.None), test = Evaluate(source, resize: ImageOptions.UsualResize(Size));
        var seen = new Dictionary<int, byte[]>();
        while (train.Next() is { } batch) Keep(batch, (image, pixels) => seen.Add(image, pixels));
        while (test.Next() is { } batch) Keep(batch, (image, pixels) => Assert.Equal(seen[image], pixels));
        Assert.Equal(16, seen.Count);
        using ImageFeed closer = Evaluate(source, resize: Size);
        Keep(closer.Next()!, (image, pixels) => Assert.NotEqual(seen[image], pixels));
    }

    [Fact]
    public void Ranks_divide_every_batch()
    {
        EncodedImages source = SmallPhotos.InMemory(40);
        using ImageFeed whole = Train(source);
        ImageFeed[] ranks = [.. Enumerable.Range(0, 3).Select(rank => Train(source, options: new FeedOptions { Rank = rank, WorldSize = 3, Threads = 2 }))];
        while (whole.Next() is { } batch)
        {
            Batch[] parts = [.. ranks.Select(rank => rank.Next()!)];
            Assert.Equal(Pixels(batch), parts.SelectMany(Pixels));
            Assert.Equal(batch.Labels, parts.SelectMany(part => part.Labels[..part.Count]));
        }

        foreach (ImageFeed rank in ranks) rank.Dispose();
    }

    [Fact]
    public void The_size_changes_at_the_epochs_of_the_schedule_and_a_feed_that_is_set_there_has_it()
    {
        EncodedImages source = SmallPhotos.InMemory(24);
        var options = new FeedOptions { Images = new ImageOptions { TrainSize = 12, ResizeSchedule = [new SizeChange(2, 16), new SizeChange(4, 9)] } };
        using ImageFeed feed = Train(source, options: options), second = Train(source, options: options);
        foreach ((long epoch, int size) in ((long, int)[])[(1, 12), (2, 16), (3, 16), (4, 9), (5, 9)])
        {
            Assert.Equal(new MapShape(size, size, 3), feed.ShapeAt(epoch));
            second.Seek(epoch, BatchSize);
            var batches = new List<byte[]>();
            while (feed.Next() is { } batch)
            {
                Assert.Equal(new MapShape(size, size, 3), batch.Shape);
                batches.Add(Pixels(batch));
            }

            Assert.Equal(3, batches.Count);
            Assert.Equal(batches[1], Pixels(second.Next()!));
        }
    }

    // The threads and the memory of a process include those of other tests that run at the same time.
    [Fact]
    public void A_thousand_feeds_that_are_left_early_leave_no_thread_and_no_memory() =>
        ChildProcess.RunTest(typeof(EncodedFeedTests), nameof(A_thousand_feeds_in_a_process_of_their_own));

    [Fact]
    public void A_thousand_feeds_in_a_process_of_their_own()
    {
        ChildProcess.Require();
        EncodedImages source = SmallPhotos.InMemory(64);
        Drop(50);
        (int threads, long bytes) = (Process.GetCurrentProcess().Threads.Count, Memory());
        Drop(1000);
        Assert.InRange(Process.GetCurrentProcess().Threads.Count, 0, threads + 4);
        Assert.InRange(Memory() - bytes, long.MinValue, 32 << 20);

        void Drop(int feeds)
        {
            for (int i = 0; i < feeds; i++)
            {
                using ImageFeed feed = Train(source, threads: 2);
                // Some while the threads are at work, some before.
                if (i % 2 == 0) feed.Next();
            }
        }

        static long Memory()
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            GC.Collect();
            return Process.GetCurrentProcess().WorkingSet64;
        }
    }

    [Fact]
    public void Memory_does_not_depend_on_the_number_of_threads() => ChildProcess.RunTest(typeof(EncodedFeedTests), nameof(Memory_in_a_process_of_its_own));

    [Fact]
    public void Memory_in_a_process_of_its_own()
    {
        ChildProcess.Require();
        EncodedImages source = SmallPhotos.InMemory(64);
        long Allocated(int threads)
        {
            long before = GC.GetTotalAllocatedBytes(precise: true);
            using ImageFeed feed = Train(source, options: new FeedOptions { Threads = threads, BatchesAhead = 2, Images = new ImageOptions { TrainSize = 256 } }, batch: 32);
            feed.Next();
            return GC.GetTotalAllocatedBytes(precise: true) - before;
        }

        Allocated(1);
        // Three batches of 32 images of 256x256 are 18 MiB; a batch for each thread would be 100.
        Assert.InRange(Allocated(16), 0, Allocated(1) + (12 << 20));
    }

    [Fact]
    public void Images_are_announced_before_they_are_read()
    {
        EncodedImages source = SmallPhotos.InMemory(64);
        using ImageFeed feed = Train(source, options: new FeedOptions { BatchesAhead = 2 });
        var order = new List<int>();
        while (feed.Next() is { } batch) order.AddRange(batch.Numbers[..batch.Count]);
        Assert.Equal(order.Skip(2 * BatchSize).Order(), source.Prefetched.Order());
    }

    [Fact]
    public void A_damaged_image_is_used_and_said_or_ends_the_run()
    {
        byte[][] whole = [.. Enumerable.Range(0, 16).Select(i => Encoded(SmallPhotos.InMemory(16), i))];
        whole[5] = whole[5][..(whole[5].Length * 2 / 3)];
        var damaged = new EncodedImages([.. whole.Select((bytes, i) => (bytes, i % SmallPhotos.Classes))]);
        using ImageFeed feed = Evaluate(damaged, Size);
        while (feed.Next() is not null)
        {
        }

        KeyValuePair<int, string> said = Assert.Single(feed.Damaged);
        Assert.Equal(5, said.Key);
        Assert.StartsWith("image 5: ", said.Value);
        foreach (int threads in (int[])[1, 3])
        {
            using ImageFeed strict = ImageFeed.Evaluate(
                _backend, damaged, Unit, 4, new FeedOptions { Threads = threads, Images = new ImageOptions { TestSize = Size, TestResize = Size, DamagedIsFatal = true } });
            Assert.NotNull(strict.Next());
            Assert.Equal(said.Value, Assert.Throws<InvalidDataException>(() => strict.Next()).Message);
        }

        whole[6] = [1, 2, 3, 4];
        whole[7] = [];
        foreach (int threads in (int[])[1, 3])
        {
            using ImageFeed broken = ImageFeed.Evaluate(
                _backend, new EncodedImages([.. whole.Select((bytes, i) => (bytes, 0))]), Unit, 16,
                new FeedOptions { Threads = threads, Images = new ImageOptions { TestSize = Size, TestResize = Size } });
            // Two images of the batch cannot be decoded; the first of them is named, whatever the threads.
            Assert.StartsWith("image 6: ", Assert.Throws<InvalidDataException>(() => broken.Next()).Message);
        }
    }

    [Fact]
    public void Time_is_counted_by_stage()
    {
        // On a busy machine the threads may be ahead at every batch of a feed, so that nothing is waited for.
        FeedTimes times = default;
        for (int feeds = 0; feeds < 50 && times.Waiting == 0; feeds++) times = Measure();
        Assert.All((double[])[times.Waiting, times.Reading, times.Decoding, times.Resizing, times.Uploading], seconds => Assert.InRange(seconds, 1e-9, 60));

        FeedTimes Measure()
        {
            using ImageFeed feed = Train(SmallPhotos.InMemory(64));
            while (feed.Next() is { } batch)
            {
                using DeviceBuffer x = _backend.Allocate(batch.Count * batch.Shape.Length, "x");
                feed.LoadImages(batch, x);
            }

            return feed.Times;
        }
    }

    [Fact]
    public void Waiting_is_divided_by_what_the_threads_did()
    {
        // 10 s, of which 4 s were waited for batches: the threads read for 2 s, decoded for 5 s, resized for 1 s.
        FeedWaiting waiting = FeedWaiting.Of(new FeedTimes(4, 2, 5, 1, 0.5), 10, 100);
        double[] expected = [0.1, 0.25, 0.05, 0.05, 0.4, 0.45];
        double[] found = [waiting.Reading, waiting.Decoding, waiting.Resizing, waiting.Uploading, waiting.ForBatches, waiting.Total];
        Assert.All(expected.Zip(found), pair => Assert.Equal(pair.First, pair.Second, 1e-12));
        Assert.Equal(("decode", true), (waiting.Stage, waiting.IsMuch));
        // 8 s of work in the 6 s that training needs: two threads.
        Assert.Equal(2, waiting.EnoughThreads);
        Assert.Equal("read", FeedWaiting.Of(new FeedTimes(4, 5, 2, 1, 0.5), 10, 100).Stage);
        Assert.Equal("resize", FeedWaiting.Of(new FeedTimes(4, 1, 2, 5, 0.5), 10, 100).Stage);
        Assert.Equal("upload", FeedWaiting.Of(new FeedTimes(0.1, 1, 2, 5, 0.5), 10, 100).Stage);
        Assert.False(FeedWaiting.Of(new FeedTimes(0.4, 2, 5, 1, 3), 10, 100).IsMuch);
        Assert.Equal(default, FeedWaiting.Of(default, 0, 0));
    }

    [Fact]
    public void Sizes_that_are_missing_or_out_of_range_are_refused()
    {
        EncodedImages source = SmallPhotos.InMemory(8);
        TestFiles.Complains<ArgumentException>(() => ImageFeed.Train(_backend, source, Unit, Augmentation.None, 4, 1), "training size");
        TestFiles.Complains<ArgumentException>(() => ImageFeed.Evaluate(_backend, source, Unit, 4, new FeedOptions { Images = new ImageOptions { TestSize = 8 } }), "shorter side");
        TestFiles.Complains<ArgumentException>(() => ImageFeed.Train(_backend, source, new Normalisation([0.5], [0.5]), Augmentation.None, 4, 1, new FeedOptions { Images = new ImageOptions { TrainSize = 8 } }), "1 channels");
        foreach ((ImageOptions wrong, string named) in ((ImageOptions, string)[])
        [
            (new ImageOptions { TrainSize = -1 }, "training size"), (new ImageOptions { TrainSize = 8193 }, "training size"), (new ImageOptions { TestSize = -1 }, "test size"),
            (new ImageOptions { TestSize = 32, TestResize = 31 }, "test resize"), (new ImageOptions { CropScaleMin = 0 }, "crop scale"),
            (new ImageOptions { CropScaleMin = 0.5, CropScaleMax = 0.4 }, "crop scale"), (new ImageOptions { CropScaleMax = 1.1 }, "crop scale"),
            (new ImageOptions { CropRatioMin = 2 }, "crop ratio"), (new ImageOptions { CropRatioMax = double.NaN }, "crop ratio"),
            (new ImageOptions { ResizeSchedule = [new SizeChange(1, 8)] }, "resize schedule"), (new ImageOptions { ResizeSchedule = [new SizeChange(3, 8), new SizeChange(3, 9)] }, "resize schedule"),
            (new ImageOptions { ResizeSchedule = [new SizeChange(2, 0)] }, "resize schedule"),
        ])
            Assert.Equal(named, Assert.Throws<ArgumentOutOfRangeException>(wrong.Validate).ParamName);
    }

    [Theory]
    [InlineData(224, 256)]
    [InlineData(128, 146)]
    [InlineData(112, 128)]
    [InlineData(1, 1)]
    public void The_shorter_side_is_usually_an_eighth_longer(int size, int resize) => Assert.Equal(resize, ImageOptions.UsualResize(size));

    private ImageFeed Train(
        IImageSource source, int threads = 1, ulong seed = 1, Augmentation augmentation = Augmentation.CropFlip, FeedOptions? options = null, int batch = BatchSize)
    {
        options ??= new FeedOptions { Threads = threads };
        ImageOptions images = options.Images.TrainSize > 0 ? options.Images
            : options.Images with { TrainSize = Size, CropScaleMin = 0.3, CropScaleMax = 0.9, CropRatioMin = 0.8, CropRatioMax = 1.25 };
        return ImageFeed.Train(_backend, source, Unit, augmentation, batch, seed, options with { Images = images });
    }

    private ImageFeed Evaluate(IImageSource source, int resize) =>
        ImageFeed.Evaluate(_backend, source, Unit, BatchSize, new FeedOptions { Threads = 2, Images = new ImageOptions { TestSize = Size, TestResize = resize } });

    private string[] Hashes(IImageSource source, int threads, int size = Size)
    {
        using ImageFeed feed = Train(source, options: new FeedOptions { Threads = threads, Images = new ImageOptions { TrainSize = size } });
        var hashes = new List<string>();
        while (hashes.Count < 100)
        {
            if (feed.Next() is { } batch)
                hashes.Add($"{string.Join(',', batch.Numbers)} {string.Join(',', batch.Labels)} {Convert.ToHexString(SHA256.HashData(Pixels(batch)))}");
        }

        return [.. hashes];
    }

    private DataSet Packed(DataSet data)
    {
        string path = Path.Combine(_folder, $"{Guid.NewGuid()}.packed");
        Packer.Pack(data, path, new PackOptions { Seed = 9 }, new Silent(), TestContext.Current.CancellationToken);
        return DataSet.Open($"packed:{path}", 1);
    }

    /// <summary>Tars as GNU tar writes them, two shards a half, in the order of the source.</summary>
    private DataSet Tars(DataSet data)
    {
        foreach ((string half, IImageSource source) in ((string, IImageSource)[])[("train", data.Train), ("val", data.Test)])
        {
            for (int shard = 0; shard < 2; shard++)
            {
                string work = Path.Combine(_folder, $"{half}{shard}");
                Directory.CreateDirectory(work);
                for (int i = shard * source.Count / 2; i < (shard + 1) * source.Count / 2; i++)
                {
                    File.WriteAllBytes(Path.Combine(work, $"{i:D6}.jpg"), Encoded(source, i));
                    File.WriteAllText(Path.Combine(work, $"{i:D6}.cls"), $"{source.Label(i)}\n");
                }

                using Process tar = Process.Start("tar", ["-C", work, "--sort=name", "-cf", Path.Combine(_folder, $"{half}-{shard:D3}.tar"), "."]);
                tar.WaitForExit();
                Assert.Equal(0, tar.ExitCode);
            }
        }

        return DataSet.Open($"wds:{_folder}/train-{{000..001}}.tar,{_folder}/val-{{000..001}}.tar", 1);
    }

    private static byte[] Encoded(IImageSource source, int image)
    {
        var bytes = new byte[source.Length(image)];
        source.Read([image], bytes);
        return bytes;
    }

    private static byte[] Pixels(Batch batch) => batch.Pixels[..(batch.Count * batch.Shape.Length)];

    private static void Keep(Batch batch, Action<int, byte[]> keep)
    {
        for (int i = 0; i < batch.Count; i++) keep(batch.Numbers[i], batch.Pixels[(i * batch.Shape.Length)..((i + 1) * batch.Shape.Length)]);
    }

    private sealed class Silent : IPackObserver
    {
        public void OnNote(string note)
        {
        }

        public void OnProgress(PackStage stage, long done, long total)
        {
        }
    }
}
