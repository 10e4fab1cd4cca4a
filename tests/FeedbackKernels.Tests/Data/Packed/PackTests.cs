using FeedbackKernels.Data;
using SkiaSharp;

namespace FeedbackKernels.Tests.Data.Packed;

/// <summary>Packing: what is in the file, and what it depends on.</summary>
public sealed class PackTests : FolderTests
{
    private static readonly ImagePreparation
        Jpeg = new() { Encode = PackEncoding.Jpeg, Quality = 80, LongestSide = 12 },
        Raw = new() { Encode = PackEncoding.Raw, ShortestSide = 8 },
        Mixed = new() { RawShare = 0.5, LongestSide = 12 };

    public static TheoryData<int> Preparations => [0, 1, 2, 3];

    [Fact]
    public void A_file_that_keeps_the_bytes_has_the_images_of_its_source()
    {
        DataSet data = PackableImages.SmallSet();
        string path = Pack(data, new PackOptions());
        DataSet packed = DataSet.Open($"packed:{path}", 1);
        Assert.Equal(data.ClassNames, packed.ClassNames);
        foreach ((IImageSource source, IImageSource half) in ((IImageSource, IImageSource)[])[(data.Train, packed.Train), (data.Test, packed.Test)])
        {
            Assert.Equal((source.Count, 3, null), (half.Count, half.Channels, half.Shape));
            Assert.Equal(source.Labels, half.Labels);
            Assert.Equal(source.Pixels, half.Pixels);
            int[] someOrder = [4, 0, 7, 4, 8];
            Assert.Equal(source.ReadAll(someOrder), half.ReadAll(someOrder));
            half.Prefetch(someOrder);
            var images = (PackedImages)half;
            for (int i = 0; i < source.Count; i++)
            {
                ImageHeader header = ImageDecoder.ReadHeader(source.ReadAll([i]));
                Assert.Equal((header.Format, (header.Rows, header.Columns)), (images.FormatOf(i), images.SizeOf(i)));
            }
        }

        Assert.Equal(packed.Test.Pixels, DataSet.OpenTest($"packed:{path}", 1).Images.Pixels);
        using PackedFile inMemory = PackedFile.Open(path, inMemory: true);
        Assert.True(inMemory.IsInMemory);
        Assert.Equal(data.Train.Pixels, inMemory.Train.Pixels);
        Assert.Equal(data.Test.Pixels, inMemory.Test.Pixels);
    }

    [Fact]
    public void Halves_whose_classes_follow_one_another_say_so()
    {
        var grouped = new PackableImages(2, [.. Enumerable.Range(0, 10).Select(i => (PackableImages.Pnm(1, 1, (byte)i, 0, 0), i / 5))]) { IsGrouped = true };
        DataSet packed = PackedImages.Read(Pack(PackableImages.Set(grouped, PackableImages.Mixed(4, 2, 0)), new PackOptions()));
        Assert.Equal((true, false), (packed.Train.IsGrouped, packed.Test.IsGrouped));
        // So a part of it has all classes.
        Assert.Equal([0, 0, 1, 1], packed.Train.Take(4).Labels);
    }

    [Theory, MemberData(nameof(Preparations))]
    public void The_file_does_not_depend_on_the_threads(int preparation)
    {
        DataSet data = PackableImages.SmallSet(train: 60);
        byte[][] files = [.. ((int[])[1, 2, 7]).Select(threads => File.ReadAllBytes(Pack(data, new PackOptions { Preparation = Preparation(preparation), Threads = threads })))];
        Assert.Equal(files[0], files[1]);
        Assert.Equal(files[0], files[2]);
    }

    [Fact]
    public void The_seed_changes_the_order_of_the_data_and_nothing_else()
    {
        DataSet data = PackableImages.SmallSet();
        byte[] one = File.ReadAllBytes(Pack(data, new PackOptions { Seed = 1 })), two = File.ReadAllBytes(Pack(data, new PackOptions { Seed = 2 }));
        Assert.NotEqual(one, two);
        using PackedFile first = PackedFile.Open(Last(2)), second = PackedFile.Open(Last(1));
        Assert.Equal(first.Train.Pixels, second.Train.Pixels);
        Assert.NotEqual(Offsets(first, 0, 23), Offsets(second, 0, 23));
        // The data are in neither case in the order of the numbers, and the test images lie behind the training images.
        foreach (PackedFile file in (PackedFile[])[first, second])
        {
            Assert.NotEqual(Offsets(file, 0, 23), Offsets(file, 0, 23).Order());
            Assert.True(Offsets(file, 0, 23).Max() < Offsets(file, 23, 9).Min());
        }
    }

    [Fact]
    public void The_order_is_a_permutation_of_each_half()
    {
        int[] order = PackOrder.Of(1000, 100, 5);
        Assert.Equal(Enumerable.Range(0, 1000), order[..1000].Order());
        Assert.Equal(Enumerable.Range(1000, 100), order[1000..].Order());
        // Fixed points of a random permutation: one on average.
        Assert.InRange(order.Where((number, i) => number == i).Count(), 0, 10);
    }

    [Theory, MemberData(nameof(Preparations))]
    public void Repacking_keeps_every_bit(int preparation)
    {
        DataSet data = PackableImages.SmallSet();
        string path = Pack(data, new PackOptions { Preparation = Preparation(preparation), Seed = 3 });
        Assert.Equal(File.ReadAllBytes(path), File.ReadAllBytes(Pack(PackedImages.Read(path), new PackOptions { Seed = 3 })));
        DataSet other = PackedImages.Read(Pack(PackedImages.Read(path), new PackOptions { Seed = 4 })), first = PackedImages.Read(path);
        Assert.Equal(first.Train.Pixels, other.Train.Pixels);
        Assert.Equal(first.Train.Statistics!.Means, other.Train.Statistics!.Means);
    }

    [Fact]
    public void Raw_images_are_the_decoded_pixels_resized()
    {
        DataSet data = PackableImages.SmallSet(), packed = PackedImages.Read(Pack(data, new PackOptions { Preparation = Raw }));
        int smaller = 0;
        for (int i = 0; i < data.Train.Count; i++)
        {
            byte[] source = data.Train.ReadAll([i]);
            ImageHeader header = ImageDecoder.ReadHeader(source);
            (int rows, int columns) = Raw.Resize(header.Rows, header.Columns);
            if (rows < header.Rows) smaller++;
            Assert.Equal(PackableImages.Pnm(rows, columns, Decode(source, rows, columns)), packed.Train.ReadAll([i]));
            Assert.Equal((rows, columns), ((PackedImages)packed.Train).SizeOf(i));
        }

        Assert.InRange(smaller, 1, data.Train.Count - 1);
    }

    [Fact]
    public void Images_are_encoded_as_JPEG_of_the_quality()
    {
        var smooth = new PackableImages(1, (PackableImages.Encoded(SKEncodedImageFormat.Png, 40, 60, 1), 0));
        IImageSource fine = Packed(95), coarse = Packed(10);
        Assert.True(fine.Length(0) > 2 * coarse.Length(0));
        byte[] wanted = Decode(smooth.Bytes(0), 40, 60);
        Assert.InRange(MeanDifference(fine), 0, 6);
        Assert.InRange(MeanDifference(coarse), MeanDifference(fine) + 0.5, 40);

        IImageSource Packed(int quality) =>
            PackedImages.Read(Pack(PackableImages.Set(smooth, smooth), new PackOptions { Preparation = new ImagePreparation { Encode = PackEncoding.Jpeg, Quality = quality } })).Train;
        double MeanDifference(IImageSource source)
        {
            Assert.Equal(new ImageHeader(ImageFormat.Jpeg, 40, 60, false), ImageDecoder.ReadHeader(source.ReadAll([0])));
            return Decode(source.ReadAll([0]), 40, 60).Zip(wanted, (a, b) => Math.Abs(a - b)).Average();
        }
    }

    [Fact]
    public void A_share_of_the_images_is_raw()
    {
        DataSet data = PackableImages.Set(
            new PackableImages(1, [.. Enumerable.Range(0, 400).Select(i => (PackableImages.Encoded(SKEncodedImageFormat.Png, 2, 2, i), 0))]), PackableImages.Mixed(4, 1, 0));
        var packed = (PackedImages)PackedImages.Read(Pack(data, new PackOptions { Preparation = new ImagePreparation { RawShare = 0.25 } })).Train;
        int raw = Enumerable.Range(0, 400).Count(i => packed.FormatOf(i) == ImageFormat.Pnm);
        // Four standard deviations of a binomial distribution.
        Assert.InRange(raw, 100 - 35, 100 + 35);
        for (int i = 0; i < 400; i++)
        {
            if (packed.FormatOf(i) == ImageFormat.Png) Assert.Equal(data.Train.ReadAll([i]), packed.ReadAll([i]));
            else Assert.Equal(PackableImages.Pnm(2, 2, Decode(data.Train.ReadAll([i]), 2, 2)), packed.ReadAll([i]));
        }
    }

    [Theory, MemberData(nameof(Preparations))]
    public void Mean_and_deviation_are_those_of_all_training_pixels_as_stored(int preparation)
    {
        IImageSource train = PackedImages.Read(Pack(PackableImages.SmallSet(), new PackOptions { Preparation = Preparation(preparation) })).Train;
        var pixels = new List<double>[3];
        for (int c = 0; c < 3; c++) pixels[c] = [];
        for (int i = 0; i < train.Count; i++)
        {
            (int rows, int columns) = ((PackedImages)train).SizeOf(i);
            byte[] decoded = Decode(train.ReadAll([i]), rows, columns);
            for (int k = 0; k < decoded.Length; k++) pixels[k % 3].Add(decoded[k] / 255.0);
        }

        for (int c = 0; c < 3; c++)
        {
            double mean = pixels[c].Average();
            Assert.Equal(mean, train.Statistics!.Means[c], 1e-12);
            Assert.Equal(Math.Sqrt(pixels[c].Average(p => (p - mean) * (p - mean))), train.Statistics.Deviations[c], 1e-12);
        }
    }

    [Fact]
    public void The_deviation_of_a_constant_channel_is_replaced_by_1()
    {
        var one = new PackableImages(1, (PackableImages.Pnm(1, 2, 0, 255, 7, 255, 255, 7), 0));
        PixelStatistics statistics = PackedImages.Read(Pack(PackableImages.Set(one, one), new PackOptions())).Train.Statistics!;
        Assert.Equal([0.5, 1, 1], statistics.Deviations);
        Assert.Equal([0.5, 1, 7 / 255.0], statistics.Means);
    }

    [Fact]
    public void Sums_stay_exact_beyond_64_bits()
    {
        var sums = new PixelSums();
        var written = new byte[PixelSums.Bytes];
        // 2^60 pixels of 255 and as many of 0, in pieces.
        for (int i = 0; i < 7; i++) BitConverter.TryWriteBytes(written.AsSpan(8 * i), i == 0 ? 1UL << 48 : i < 4 ? 255UL << 47 : 255UL * 255 << 47);
        for (int i = 0; i < 1 << 13; i++) sums.AddWritten(written);
        Assert.Equal([0.5, 0.5, 0.5], sums.ToStatistics().Means);
        Assert.Equal([0.5, 0.5, 0.5], sums.ToStatistics().Deviations);
    }

    [Fact]
    public void A_damaged_image_ends_packing_or_is_left_out_and_listed()
    {
        byte[] good = PackableImages.Encoded(SKEncodedImageFormat.Jpeg, 30, 30, 1), cut = good[..(good.Length / 2)];
        var train = new PackableImages(2, (good, 0), (cut, 1), ([.. "no image, \"at\" all"u8], 0), (PackableImages.Pnm(1, 1, 1, 2, 3), 1));
        DataSet data = PackableImages.Set(train, new PackableImages(2, (good, 1)));
        string path = Path.Combine(Folder, "damaged.packed"), list = path + ".damaged.csv";

        string message = Assert.Throws<InvalidDataException>(() => Run(data, path, new PackOptions())).Message;
        Assert.Matches("^memory, image [12] cannot be packed: ", message);
        Assert.Contains("--on-damage skip", message);
        Assert.False(File.Exists(path));
        Assert.Equal(2, File.ReadAllLines(list).Length);

        var log = new PackLog();
        PackResult result = Run(data, path, new PackOptions { OnDamage = OnDamage.Skip }, log);
        Assert.Equal((2, 1), (result.TrainCount, result.TestCount));
        Assert.Equal(2, log.Notes.Count(note => note.Contains("is left out: ", StringComparison.Ordinal)));
        DataSet packed = PackedImages.Read(path);
        Assert.Equal([0, 1], packed.Train.Labels);
        Assert.Equal([.. good, .. PackableImages.Pnm(1, 1, 1, 2, 3)], packed.Train.Pixels);
        string[] lines = File.ReadAllLines(list);
        Assert.Equal(("image,class,reason", 3), (lines[0], lines.Length));
        Assert.Contains(lines, line => line.StartsWith("\"memory, image 1\",class 1,", StringComparison.Ordinal));
        Assert.Contains(lines, line => line.StartsWith("\"memory, image 2\",class 0,", StringComparison.Ordinal));
        Assert.Equal(2, result.Damaged.Count);

        // A list of an earlier file does not stay beside a file without damage.
        Run(PackableImages.SmallSet(), path, new PackOptions { Overwrite = true });
        Assert.False(File.Exists(list));
    }

    [Fact]
    public void A_set_without_whole_images_is_an_error()
    {
        DataSet data = PackableImages.Set(new PackableImages(1, ([1, 2, 3], 0)), PackableImages.Mixed(2, 1, 0));
        TestFiles.Complains<InvalidDataException>(() => Run(data, Path.Combine(Folder, "none.packed"), new PackOptions { OnDamage = OnDamage.Skip }), "0 training and 2 test images are left");
    }

    [Fact]
    public void A_place_that_cannot_be_used_is_refused_before_anything_is_written()
    {
        DataSet data = PackableImages.SmallSet();
        string path = Pack(data, new PackOptions());
        byte[] before = File.ReadAllBytes(path);
        TestFiles.Complains<IOException>(() => Run(data, path, new PackOptions()), path, "exists", "--overwrite");
        TestFiles.Complains<IOException>(() => Run(data, Folder, new PackOptions()), Folder, "folder");
        TestFiles.Complains<DirectoryNotFoundException>(() => Run(data, Path.Combine(Folder, "no", "x"), new PackOptions()), Path.Combine(Folder, "no"));
        Assert.Equal([path], Directory.GetFileSystemEntries(Folder));
        Assert.Equal(before, File.ReadAllBytes(path));
        Run(PackableImages.SmallSet(train: 5), path, new PackOptions { Overwrite = true });
        Assert.Equal(5, PackedImages.Read(path).Train.Count);
    }

    [Fact]
    public void Images_of_one_size_and_wrong_settings_are_refused()
    {
        TestFiles.Complains<ArgumentException>(() => Run(DataSet.Open("synthetic", 1, 10, 10), Path.Combine(Folder, "x"), new PackOptions()), "synthetic", "packed:FILE", "imagefolder:DIR");
        Refused(new ImagePreparation { LongestSide = 0 }, "longestSide: 0");
        Refused(new ImagePreparation { ShortestSide = 65536 }, "shortestSide: 65536");
        Refused(new ImagePreparation { LongestSide = 5, ShortestSide = 5 }, "at most one");
        Refused(new ImagePreparation { Quality = 101 }, "quality: 101");
        Refused(new ImagePreparation { RawShare = double.NaN }, "rawShare: NaN");
        Refused(new ImagePreparation { Encode = (PackEncoding)9 }, "encode: 9");
        Assert.Empty(Directory.GetFileSystemEntries(Folder));

        void Refused(ImagePreparation preparation, string text) =>
            TestFiles.Complains<ArgumentException>(() => Run(PackableImages.SmallSet(), Path.Combine(Folder, "x"), new PackOptions { Preparation = preparation }), text);
    }

    [Fact]
    public void Every_stage_counts_up_to_the_number_of_images()
    {
        var log = new PackLog();
        Run(PackableImages.SmallSet(), Path.Combine(Folder, "x"), new PackOptions { Threads = 3 }, log);
        Assert.Equal(Enumerable.Range(1, 32).Select(i => (PackStage.Pack, (long)i, 32L)), log.Steps.Where(step => step.Stage == PackStage.Pack));
        Assert.Equal((PackStage.Verify, 32, 32), log.Steps[^1]);
        Assert.Empty(log.Notes);
    }

    [Fact]
    public void An_error_of_the_source_ends_packing_with_its_message()
    {
        var failing = new FailingSource(PackableImages.Mixed(50, 2, 0));
        TestFiles.Complains<IOException>(
            () => Run(new DataSet("x", failing, PackableImages.Mixed(4, 2, 0), Augmentation.None), Path.Combine(Folder, "x"), new PackOptions { OnDamage = OnDamage.Skip, Threads = 4 }), "the disk is gone");
        failing.FailsToPrefetch = true;
        TestFiles.Complains<IOException>(
            () => Run(new DataSet("x", failing, PackableImages.Mixed(4, 2, 0), Augmentation.None), Path.Combine(Folder, "x"), new PackOptions()), "nothing to be read ahead");
    }

    [Fact]
    public void Memory_that_is_not_there_is_named()
    {
        TestFiles.Complains<InsufficientMemoryException>(() => { PackedMemory.RequireMemory("a.packed", 5L << 30, 3L << 29); return null; }, "a.packed", "5 GiB", "1.5 GiB");
        PackedMemory.RequireMemory("a.packed", 5, 5);
        Assert.InRange(PackedMemory.AvailableBytes(), 1 << 20, long.MaxValue);
    }

    // Computed with Pillow and NumPy.
    [Fact]
    public void Imagenette_has_its_known_mean_and_deviation()
    {
        string folder = RealData.Require("imagenette2-224");
        PackResult result = Run(DataSet.Open($"imagefolder:{folder}", 1, limitTest: 10), Path.Combine(Folder, "imagenette.packed"), new PackOptions());
        Assert.Equal((4800, 10), (result.TrainCount, result.TestCount));
        double[] means = [0.46275505, 0.45819298, 0.43029998], deviations = [0.28180318, 0.27930255, 0.30108768];
        for (int c = 0; c < 3; c++)
        {
            Assert.Equal(means[c], result.Statistics.Means[c], 1e-5);
            Assert.Equal(deviations[c], result.Statistics.Deviations[c], 1e-5);
        }
    }

    private static ImagePreparation Preparation(int number) => number switch { 0 => new ImagePreparation(), 1 => Jpeg, 2 => Raw, _ => Mixed };

    private static byte[] Decode(byte[] encoded, int rows, int columns)
    {
        ImageHeader header = ImageDecoder.ReadHeader(encoded);
        var pixels = new byte[3 * rows * columns];
        using var decoder = new ImageDecoder();
        Assert.Null(decoder.Decode(encoded, new CropResize(new PixelBox(0, 0, header.Rows, header.Columns), rows, columns, new PixelBox(0, 0, rows, columns), false), pixels));
        return pixels;
    }

    private static long[] Offsets(PackedFile file, int first, int count) => [.. Enumerable.Range(first, count).Select(i => file.Entry(i).Offset)];

    private static PackResult Run(DataSet data, string path, PackOptions options, PackLog? log = null) =>
        Packer.Pack(data, path, options, log ?? new PackLog(), TestContext.Current.CancellationToken);

    private int _files;

    private string Last(int back) => Path.Combine(Folder, $"{_files - back}.packed");

    private string Pack(DataSet data, PackOptions options)
    {
        string path = Path.Combine(Folder, $"{_files++}.packed");
        Run(data, path, options);
        Assert.False(File.Exists(path + ".partial") || File.Exists(path + ".partial.journal"));
        return path;
    }

    private sealed class FailingSource(PackableImages inner) : IImageSource
    {
        public bool FailsToPrefetch { get; set; }

        public int Count => inner.Count;

        public int Channels => 3;

        public FeedbackKernels.Interop.MapShape? Shape => null;

        public IReadOnlyList<string> ClassNames => inner.ClassNames;

        public int Label(int index) => inner.Label(index);

        public int Length(int index) => inner.Length(index);

        public void Prefetch(ReadOnlySpan<int> indices)
        {
            if (FailsToPrefetch) throw new IOException("nothing to be read ahead");
        }

        public void Read(ReadOnlySpan<int> indices, Span<byte> destination)
        {
            if (indices[0] == 17) throw new IOException("the disk is gone");
            inner.Read(indices, destination);
        }
    }
}
