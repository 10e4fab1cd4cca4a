using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>Packed images to activations: a table and addresses, so every backend has the same bits.</summary>
[Trait("Category", "Conformance")]
public class ImagesTests
{
    private static readonly RandomKey Key = new(11, RandomPurpose.Augmentation, 3);

    [Theory, ClassData(typeof(Candidates))]
    public void Augmentation_equals_the_reference(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        foreach ((int h, int w, int c) in ((int, int, int)[])[(1, 1, 1), (8, 8, 3), (5, 7, 4), (33, 12, 3), (3, 19, 17)])
        {
            foreach ((int reach, bool flip) in ((int, bool)[])[(0, false), (4, false), (0, true), (4, true), (40, true)])
            {
                var augmentation = new ImageAugmentation(h, w, c, reach, flip, Key);
                float[] expected = Run(Candidates.ReferenceOf(backend), augmentation, 9);
                Values.AssertSameBits(expected, Run(backend, augmentation, 9));
                if (reach == 0) Assert.DoesNotContain(0, expected);
            }
        }
    }

    [Theory, ClassData(typeof(Candidates))]
    public void An_image_without_augmentation_is_its_bytes_by_the_table(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        var augmentation = new ImageAugmentation(6, 5, 3);
        byte[] pixels = Pixels(2 * augmentation.ImageLength);
        float[] table = Rounded(Table(3), backend);
        Values.AssertSameBits([.. pixels.Select((b, i) => table[b * 3 + i % 3])], Run(backend, augmentation, 2));
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Draws_move_and_turn_as_they_say(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        var augmentation = new ImageAugmentation(9, 10, 2, 3, Flip: true, Key);
        const int images = 40;
        byte[] pixels = Pixels(images * augmentation.ImageLength);
        float[] table = Rounded(Table(2), backend), x = Run(backend, augmentation, images);
        int turned = 0, outside = 0;
        for (int i = 0; i < x.Length; i++)
        {
            int n = i / 180, h = i / 20 % 9, w = i / 2 % 10, c = i % 2;
            (int down, int right, bool flip) = augmentation.Draw(Number(n));
            int row = h + down, column = (flip ? 9 - w : w) + right;
            bool inside = row is >= 0 and < 9 && column is >= 0 and < 10;
            Assert.Equal(inside ? table[pixels[n * 180 + (row * 10 + column) * 2 + c] * 2 + c] : 0, x[i]);
            if (!inside) outside++;
            if (flip) turned++;
        }

        Assert.InRange(outside, x.Length / 20, x.Length / 2);
        Assert.InRange(turned, x.Length / 4, 3 * x.Length / 4);
    }

    [Fact]
    public void Bad_arguments_are_named_and_nothing_is_written()
    {
        using var backend = new CpuBackend(1);
        var augmentation = new ImageAugmentation(4, 4, 3);
        using DeviceBuffer pixels = backend.Allocate(96, "pixels", ElementType.UInt8), numbers = backend.Allocate(2, "numbers", ElementType.Int32);
        using DeviceBuffer table = backend.Allocate(768, "table"), x = backend.Allocate(96, "x");
        backend.Fill(x, 42);
        Assert.Equal("pixels", Refused<ArgumentException>(() => backend.AugmentImages(augmentation, 2, x, numbers, table, x)));
        Assert.Equal("pixels", Refused<ArgumentException>(() => backend.AugmentImages(augmentation, 3, pixels, numbers, table, x)));
        Assert.Equal("numbers", Refused<ArgumentNullException>(() => backend.AugmentImages(augmentation, 2, pixels, default, table, x)));
        Assert.Equal("table", Refused<ArgumentException>(() => backend.AugmentImages(augmentation, 2, pixels, numbers, table.Slice(0, 255), x)));
        Assert.Equal("x", Refused<ArgumentException>(() => backend.AugmentImages(augmentation, 2, pixels, numbers, table, x.Slice(0, 95))));
        Assert.Equal("x", Refused<ArgumentException>(() => backend.AugmentImages(augmentation, 2, pixels, numbers, table, table)));
        Assert.Equal("images", Refused<ArgumentOutOfRangeException>(() => backend.AugmentImages(augmentation, 0, pixels, numbers, table, x)));
        foreach (ImageAugmentation wrong in (ImageAugmentation[])[default, augmentation with { Reach = -1 }, augmentation with { Reach = int.MaxValue }])
            Assert.Equal("augmentation", Refused<ArgumentOutOfRangeException>(() => backend.AugmentImages(wrong, 2, pixels, numbers, table, x)));
        Assert.All(backend.Download(x), v => Assert.Equal(42, v));

        static string? Refused<T>(Action call) where T : ArgumentException => Assert.Throws<T>(call).ParamName;
    }

    // Any set's numbers, in no order.
    private static int Number(int n) => (n * 7919 + 13) % 50_000;

    private static byte[] Pixels(long count) => [.. Enumerable.Range(0, (int)count).Select(i => (byte)(i * 31 + i / 7))];

    // No entry is 0, which stands for outside.
    private static float[] Table(int channels) => [.. Enumerable.Range(0, 256 * channels).Select(i => 0.25f + i / 3f)];

    private static float[] Rounded(float[] numbers, Backend backend) =>
        backend.ActivationType == ElementType.BFloat16 ? [.. numbers.Select(v => (float)(BFloat16)v)] : numbers;

    private static float[] Run(Backend on, in ImageAugmentation augmentation, int images)
    {
        using var bench = new Workbench(on);
        using DeviceBuffer pixels = on.Allocate(images * augmentation.ImageLength, "pixels", ElementType.UInt8);
        on.Upload<byte>(Pixels(pixels.Length), pixels);
        DeviceBuffer numbers = bench.PutInts([.. Enumerable.Range(0, images).Select(Number)]), x = bench.OutputActivations(pixels.Length);
        on.AugmentImages(augmentation, images, pixels, numbers, bench.Put(Table(augmentation.C)), x);
        return bench.Get(x);
    }
}
