using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Tests.Data;

public class BatchLoaderTests
{
    private const int Count = 103, BatchSize = 10;

    // Image i: all pixels i; class i % 10.
    private static readonly ImageSet Images = new(
        new MapShape(6, 5, 2), 10, [.. Enumerable.Range(0, Count).SelectMany(i => Enumerable.Repeat((byte)i, 60))], [.. Enumerable.Range(0, Count).Select(i => i % 10)]);

    private static readonly Normalisation Unit = Normalisation.Of(Images, NormalisationKind.Unit);

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
        using BatchLoader loader = BatchLoader.Evaluate(Images, Unit, BatchSize);
        var seen = new List<int>();
        while (loader.Next() is { } batch)
        {
            for (int i = 0; i < batch.Count; i++)
            {
                seen.Add(batch.Pixels[i * 60]);
                Assert.Equal(seen[^1] % 10, batch.Labels[i]);
            }
        }

        Assert.Equal(Enumerable.Range(0, Count), seen);
        Assert.Null(loader.Next());
    }

    [Fact]
    public void Crops_shift_and_flips_mirror_whole_images()
    {
        // One image with a pixel of its own at each place: what comes out is it, moved, with zeros coming in.
        var shape = new MapShape(8, 8, 1);
        var set = new ImageSet(shape, 2, [.. Enumerable.Range(1, 64).Select(i => (byte)i)], [1]);
        var normalisation = Normalisation.Of(set, NormalisationKind.Unit);
        var shifts = new HashSet<(int, int, bool)>();
        for (int epoch = 0; epoch < 400; epoch++)
        {
            using BatchLoader loader = BatchLoader.Train(set, normalisation, Augmentation.CropFlip, 1, seed: 1, epoch);
            int[] pixels = [.. Input(loader.Next()!).Select(v => (int)Math.Round(v * 255))];
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
            using BatchLoader loader = BatchLoader.Train(Images, Unit, Augmentation.CropFlip, BatchSize, 1, i, threads: 2);
            loader.Next();
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
            using BatchLoader loader = BatchLoader.Train(Images, Unit, Augmentation.CropFlip, batchSize, seed: 3, epoch: 5);
            while (loader.Next() is { } batch)
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

    private static float[] Input(Batch batch)
    {
        using var backend = new ReferenceBackend();
        using DeviceBuffer pixels = backend.Allocate(batch.Pixels.Length, "pixels", ElementType.UInt8);
        using DeviceBuffer numbers = backend.Allocate(batch.Numbers.Length, "numbers", ElementType.Int32);
        using DeviceBuffer table = backend.Allocate(batch.Normalisation.Table.Length, "table"), x = backend.Allocate(batch.Pixels.Length, "x");
        backend.Upload<byte>(batch.Pixels, pixels);
        backend.Upload<int>(batch.Numbers, numbers);
        backend.Upload(batch.Normalisation.Table, table);
        backend.AugmentImages(batch.Augmentation, batch.Count, pixels, numbers, table, x);
        return backend.Download(x);
    }

    private static List<(int[] Ids, float[] Images)> Train(
        int epoch, ulong seed = 1, int threads = 1, Augmentation augmentation = Augmentation.None)
    {
        using BatchLoader loader = BatchLoader.Train(Images, Unit, augmentation, BatchSize, seed, epoch, threads);
        var batches = new List<(int[], float[])>();
        while (loader.Next() is { } batch)
        {
            Assert.Equal(BatchSize, batch.Count);
            batches.Add(([.. Enumerable.Range(0, BatchSize).Select(i => (int)batch.Pixels[i * 60])], Input(batch)));
        }

        Assert.Equal(Count / BatchSize, loader.Batches);
        Assert.Equal(loader.Batches, batches.Count);
        return batches;
    }
}
