using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using PixelBox = FeedbackKernels.Data.PixelBox;

namespace FeedbackKernels.Tests.Data.Decoding;

/// <summary>What the decoder does with parts of images, with damaged images and with large ones.</summary>
public class ImageDecoderTests
{
    private const int Missing = 128;
    private const double MostReducedError = 4;

    public static TheoryData<string> Names => [.. KnownImages.Names];

    /// <summary>Only the crop is decoded, and nothing of that shows: not at block borders, not in the interpolation of colours.</summary>
    [Theory, MemberData(nameof(Names))]
    public void A_part_equals_the_same_part_of_the_whole_image(string name)
    {
        using var decoder = new ImageDecoder();
        byte[] encoded = KnownImages.Read(name), whole = KnownImages.ToPnm(decoder, encoded);
        PixelBox image = KnownImages.Whole(encoded);
        var random = new RandomSequence(new RandomKey(5, RandomPurpose.User));
        int tolerance = StoredImage.Read(encoded).Orientation.IsTransposed ? 1 : 0;
        for (int i = 0; i < 60; i++)
        {
            PixelBox box = Part(image.Rows, image.Columns, ref random);
            int rows = random.NextInt(2 * box.Rows) + box.Rows / 2 + 1, columns = random.NextInt(2 * box.Columns) + box.Columns / 2 + 1;
            var crop = new CropResize(box, rows, columns, Part(rows, columns, ref random), Flip: i % 2 == 1);
            KnownImages.AssertEqual(KnownImages.Decode(decoder, whole, crop), KnownImages.Decode(decoder, encoded, crop), $"{name}, {crop}", tolerance);
        }
    }

    /// <summary>A crop of at least three times the target is decoded at half the size. These images are harder than photos: noise, and edges of full contrast.</summary>
    [Theory]
    [InlineData("420.jpg")]
    [InlineData("444.jpg")]
    [InlineData("grey.jpg")]
    [InlineData("progressive.jpg")]
    [InlineData("orientation-3.jpg")]
    [InlineData("orientation-6.jpg")]
    public void Decoding_at_a_reduced_size_stays_close(string name)
    {
        using var decoder = new ImageDecoder();
        byte[] encoded = KnownImages.Read(name), whole = KnownImages.ToPnm(decoder, encoded);
        PixelBox image = KnownImages.Whole(encoded);
        foreach (int divisor in new[] { 2, 3, 4, 6 })
        {
            PixelBox box = new(3, 1, image.Rows - 4, image.Columns - 3);
            CropResize crop = KnownImages.Resize(box, box.Rows / divisor, box.Columns / divisor);
            byte[] full = KnownImages.Decode(decoder, whole, crop), reduced = KnownImages.Decode(decoder, encoded, crop);
            double mean = full.Zip(reduced, (a, b) => Math.Abs(a - b)).Average();
            Assert.True(divisor == 2 ? mean < 0.2 : mean is > 0 and < MostReducedError, $"{name}, 1/{divisor}: mean difference {mean:F2}, largest {full.Zip(reduced, (a, b) => Math.Abs(a - b)).Max()}");
        }
    }

    [Fact]
    public void A_window_is_cut_out_of_the_resized_box_and_flipped_after_that()
    {
        using var decoder = new ImageDecoder();
        byte[] encoded = KnownImages.Read("colour.ppm");
        CropResize whole = KnownImages.Resize(new PixelBox(2, 3, 41, 50), 30, 36);
        byte[] resized = KnownImages.Decode(decoder, encoded, whole);
        var window = new PixelBox(7, 5, 11, 14);
        foreach (bool flip in new[] { false, true })
        {
            byte[] found = KnownImages.Decode(decoder, encoded, whole with { Window = window, Flip = flip });
            for (int i = 0; i < found.Length; i++)
            {
                int row = i / 3 / window.Columns, column = i / 3 % window.Columns;
                Assert.Equal(resized[3 * ((window.Row + row) * 36 + window.Column + (flip ? window.Columns - 1 - column : column)) + i % 3], found[i]);
            }
        }
    }

    [Theory, MemberData(nameof(Names))]
    public void Every_instruction_set_gives_the_same_bits(string name)
    {
        byte[] encoded = KnownImages.Read(name);
        PixelBox box = KnownImages.Whole(encoded);
        foreach ((int rows, int columns) in new[] { (1, 1), (7, 3), (3, 97), (40, 31), (200, 130) })
        {
            using var narrowest = new ImageDecoder(SimdLevel.Scalar);
            byte[] expected = KnownImages.Decode(narrowest, encoded, KnownImages.Resize(box, rows, columns));
            foreach (SimdLevel level in SimdLevels.Supported)
            {
                using var decoder = new ImageDecoder(level);
                KnownImages.AssertEqual(expected, KnownImages.Decode(decoder, encoded, KnownImages.Resize(box, rows, columns)), $"{name}, {level}, {rows} x {columns}");
            }
        }
    }

    /// <summary>A cut within the header of the scan makes it take the next bytes for its own; without any data behind it, the codec would end the process.</summary>
    [Theory]
    [InlineData("grey.jpg")]
    [InlineData("444.jpg")]
    [InlineData("progressive.jpg")]
    public void A_jpeg_that_ends_in_or_after_the_header_of_a_scan_is_grey_or_refused(string name)
    {
        byte[] encoded = KnownImages.Read(name);
        using var decoder = new ImageDecoder();
        int scan = encoded.AsSpan().IndexOf([(byte)0xFF, (byte)0xDA]), data = scan + 2 + encoded[scan + 3];
        for (int length = data - 3; length <= data; length++)
        {
            foreach (byte[] cut in (byte[][])[encoded[..length], [.. encoded[..length], 0xFF, 0xD9]])
            {
                PixelBox box = KnownImages.Whole(cut);
                foreach (int divisor in (int[])[1, 4])
                {
                    CropResize crop = KnownImages.Resize(box, Math.Max(1, box.Rows / divisor), Math.Max(1, box.Columns / divisor));
                    var pixels = new byte[3 * crop.Rows * crop.Columns];
                    try
                    {
                        decoder.Decode(cut, crop, pixels);
                        // libjpeg reads zero bits in the block where the data end, and makes the blocks after it grey. A header that is cut, and the
                        // first scan of several, may say otherwise.
                        int grey = pixels.Count(pixel => pixel is >= Missing - 1 and <= Missing + 1);
                        if (length == data && name != "progressive.jpg") Assert.InRange(grey, 0.8 * pixels.Length, pixels.Length);
                    }
                    catch (InvalidDataException e)
                    {
                        Assert.StartsWith("JPEG: ", e.Message, StringComparison.OrdinalIgnoreCase);
                    }
                }
            }
        }
    }

    /// <summary>Each file is cut off at many places. It is an error, or the image is made of what there is, grey below that, and the message says so.</summary>
    [Theory, MemberData(nameof(Names))]
    public void Truncated_images_are_decoded_as_far_as_possible(string name)
    {
        using var decoder = new ImageDecoder();
        byte[] encoded = KnownImages.Read(name);
        CropResize crop = KnownImages.Resize(KnownImages.Whole(encoded), 16, 16);
        byte[] whole = KnownImages.Decode(decoder, encoded, crop);
        int partial = 0;
        for (int length = 0; length < encoded.Length; length += 1 + encoded.Length / 97)
        {
            var pixels = new byte[whole.Length];
            try
            {
                // What comes behind the pixels may be missing, the orientation for example.
                byte[] cut = encoded[..length];
                string? problem = decoder.Decode(cut, KnownImages.Resize(KnownImages.Whole(cut), 16, 16), pixels);
                if (problem is null) KnownImages.AssertEqual(whole, pixels, $"{name} cut off at {length}");
                else partial++;
            }
            catch (InvalidDataException e)
            {
                Assert.NotEmpty(e.Message);
            }
        }

        if (encoded.Length > 2000) Assert.True(partial > 20, $"{partial} partial images");
    }

    [Theory]
    [InlineData("420.jpg")]
    [InlineData("grey.jpg")]
    [InlineData("restart.jpg")]
    [InlineData("colour.png")]
    [InlineData("colour.ppm")]
    [InlineData("lossless.webp")]
    public void Missing_rows_are_grey_and_the_others_as_ever(string name)
    {
        using var decoder = new ImageDecoder();
        byte[] encoded = KnownImages.Read(name);
        PixelBox box = KnownImages.Whole(encoded);
        CropResize crop = KnownImages.Resize(box, box.Rows, box.Columns);
        byte[] whole = KnownImages.Decode(decoder, encoded, crop), found = new byte[whole.Length];
        string? problem = decoder.Decode(encoded.AsSpan(0, encoded.Length * 2 / 3), crop, found);
        Assert.Contains("cut off", problem);
        int same = Math.Min(whole.AsSpan().CommonPrefixLength(found), whole.Length);
        Assert.InRange(same, whole.Length / 8, whole.Length * 9 / 10);
        Assert.All(found[^(3 * box.Columns * 3)..], value => Assert.InRange(value, Missing - 1, Missing + 1));
    }

    [Theory]
    [InlineData("progressive.jpg")]
    [InlineData("interlaced.png")]
    public void Progressive_images_are_decoded_coarsely_if_their_end_is_missing(string name)
    {
        using var decoder = new ImageDecoder();
        byte[] encoded = KnownImages.Read(name);
        CropResize crop = KnownImages.Resize(KnownImages.Whole(encoded), 8, 8);
        byte[] whole = KnownImages.Decode(decoder, encoded, crop), found = new byte[whole.Length];
        Assert.Contains("cut off", decoder.Decode(encoded.AsSpan(0, encoded.Length * 9 / 10), crop, found));
        Assert.InRange(whole.Zip(found, (a, b) => Math.Abs(a - b)).Average(), 0.01, 60);
    }

    [Theory, MemberData(nameof(Names))]
    public void Damaged_bytes_are_errors_or_other_pixels(string name)
    {
        using var decoder = new ImageDecoder();
        byte[] encoded = KnownImages.Read(name);
        var random = new RandomSequence(new RandomKey(9, RandomPurpose.User));
        var pixels = new byte[3 * 64];
        for (int i = 0; i < 150; i++)
        {
            byte[] damaged = [.. encoded];
            for (int j = 0; j <= i % 4; j++) damaged[random.NextInt(i % 2 == 0 ? damaged.Length : Math.Min(damaged.Length, 200))] = (byte)random.NextInt(256);
            try
            {
                decoder.Decode(damaged, KnownImages.Resize(KnownImages.Whole(damaged), 8, 8), pixels);
            }
            catch (InvalidDataException e)
            {
                Assert.NotEmpty(e.Message);
            }
        }
    }

    [Fact]
    public void What_is_no_image_is_refused_with_its_first_bytes()
    {
        Assert.Contains("47494638", Assert.Throws<InvalidDataException>(() => ImageDecoder.ReadHeader("GIF89a......"u8)).Message);
        Assert.Contains("empty", Assert.Throws<InvalidDataException>(() => ImageDecoder.ReadHeader([])).Message);
        Assert.Contains("maximum 65535", Assert.Throws<InvalidDataException>(() => ImageDecoder.ReadHeader("P6 2 2 65535\n"u8)).Message);
    }

    [Fact]
    public void Raw_pixels_may_have_comments_another_maximum_and_one_channel()
    {
        using var decoder = new ImageDecoder();
        byte[] encoded = [.. "P5 # two columns\n2\t1 # one row\n 3\n"u8, 1, 3];
        Assert.True(ImageDecoder.ReadHeader(encoded).IsGrey);
        Assert.Equal<byte>([85, 85, 85, 255, 255, 255], KnownImages.Decode(decoder, encoded, KnownImages.Resize(new PixelBox(0, 0, 1, 2), 1, 2)));
    }

    [Fact]
    public void Crops_that_are_not_inside_the_image_are_refused()
    {
        using var decoder = new ImageDecoder();
        byte[] encoded = KnownImages.Read("420.jpg");
        CropResize good = KnownImages.Resize(new PixelBox(0, 0, 10, 10), 4, 4);
        PixelBox[] outside = [new(-1, 0, 2, 2), new(0, 0, 1000, 2), new(5, 60, 5, 8), new(0, 0, 0, 3), new(int.MaxValue, 0, int.MaxValue, 1)];
        foreach (PixelBox box in outside)
        {
            Refuses(good with { Box = box });
            Refuses(good with { Window = box });
        }

        Refuses(good with { Rows = 0 });
        Assert.Contains("wanted 48", Assert.Throws<ArgumentException>(() => decoder.Decode(encoded, good, new byte[47])).Message);
        decoder.Dispose();
        Assert.Throws<ObjectDisposedException>(() => decoder.Decode(encoded, good, new byte[48]));

        void Refuses(CropResize crop) => Assert.Equal("crop", Assert.Throws<ArgumentException>(() => decoder.Decode(encoded, crop, new byte[48])).ParamName);
    }

    /// <summary>The header of a small image is given a large size, so that most of it is missing: the memory is what matters.</summary>
    [Fact]
    public void A_large_image_needs_little_memory()
    {
        using var decoder = new ImageDecoder();
        byte[] encoded = WithJpegSize(KnownImages.Read("420.jpg"), 20_000, 20_000);
        var pixels = new byte[3 * 64];
        long before = GC.GetAllocatedBytesForCurrentThread();
        decoder.Decode(encoded, KnownImages.Resize(new PixelBox(10_000, 0, 2_000, 20_000), 8, 8), pixels);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 2 << 20);
        Assert.All(pixels, value => Assert.Equal(Missing, value));
    }

    [Fact]
    public void Images_that_must_be_held_whole_are_refused_beyond_a_limit()
    {
        using var decoder = new ImageDecoder();
        CropResize crop = KnownImages.Resize(new PixelBox(0, 0, 1, 1), 1, 1);
        byte[] progressive = WithJpegSize(KnownImages.Read("progressive.jpg"), 20_000, 20_000);
        Assert.Contains("progressive image of 20000 x 20000", Assert.Throws<InvalidDataException>(() => decoder.Decode(progressive, crop, new byte[3])).Message);
        byte[] turned = WithJpegSize(KnownImages.Read("orientation-6.jpg"), 20_000, 20_000);
        Assert.Contains("to be turned", Assert.Throws<InvalidDataException>(() => decoder.DecodeRows(turned, (_, _) => { })).Message);
    }

    [Fact]
    public void Orientation_is_read_from_all_places_and_damaged_directories_are_upright()
    {
        Assert.Equal(6, StoredImage.Read(KnownImages.Read("orientation-6.png")).Orientation.Value);
        Assert.Equal(6, StoredImage.Read(KnownImages.Read("orientation-6.webp")).Orientation.Value);
        byte[] little = [.. "II*\0"u8, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 5, 0, 0, 0];
        Assert.Equal(5, Orientation.Read(little).Value);
        little[18] = 9;
        Assert.Equal(1, Orientation.Read(little).Value);
        little[18] = 5;
        for (int length = 0; length < little.Length; length++) Assert.Equal(length < 22 ? 1 : 5, Orientation.Read(little.AsSpan(0, length)).Value);
        little[4] = 0xFF;
        little[7] = 0xFF;
        Assert.Equal(1, Orientation.Read(little).Value);
    }

    private static PixelBox Part(int rows, int columns, ref RandomSequence random)
    {
        int height = random.NextInt(rows) + 1, width = random.NextInt(columns) + 1;
        return new PixelBox(random.NextInt(rows - height + 1), random.NextInt(columns - width + 1), height, width);
    }

    private static byte[] WithJpegSize(byte[] encoded, int rows, int columns)
    {
        int frame = Enumerable.Range(0, encoded.Length).First(i => encoded[i] == 0xFF && encoded[i + 1] is 0xC0 or 0xC2);
        byte[] size = [(byte)(rows >> 8), (byte)rows, (byte)(columns >> 8), (byte)columns];
        return [.. encoded[..(frame + 5)], .. size, .. encoded[(frame + 9)..]];
    }
}
