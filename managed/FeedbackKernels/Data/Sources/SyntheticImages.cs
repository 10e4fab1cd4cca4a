using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

/// <summary>
/// Ten classes of 32x32 colour images, drawn from the seed: six textures and four shapes, each at a random place, size,
/// angle, colour and contrast over a background of random shading and noise. The mean image of a class says almost nothing, so a
/// linear classifier fails and a net has to learn features below its last layer.
/// </summary>
public static class SyntheticImages
{
    private const int Size = 32, Channels = 3, Classes = 10, TrainImages = 10_000, TestImages = 2_000;

    private static readonly MapShape Shape = new(Size, Size, Channels);

    /// <summary>The catalogue's entry.</summary>
    public static SourceKind Kind { get; } = new("synthetic", "textures and shapes that are drawn from the seed, without any file")
    {
        Place = "",
        Open = request => Create(request.Seed, request.LimitTrain, request.LimitTest),
        OpenTest = request => CreateTest(request.Seed, request.LimitTest),
    };

    // Test images have their own range of numbers, so that no image is in both halves.
    private const uint FirstTestImage = 1u << 30;

    /// <summary>Draws the images.</summary>
    /// <param name="seed">Seed of the random number generator.</param>
    /// <param name="trainImages">Training images; null for 10,000.</param>
    /// <param name="testImages">Test images; null for 2,000.</param>
    /// <exception cref="ArgumentException">There are more images than an array holds.</exception>
    public static DataSet Create(ulong seed, int? trainImages = null, int? testImages = null)
    {
        RequireRoom(trainImages, nameof(trainImages));
        RequireRoom(testImages, nameof(testImages));
        return new DataSet(Kind.Name, Draw(seed, 0, trainImages ?? TrainImages), Draw(seed, FirstTestImage, testImages ?? TestImages), Augmentation.None)
        {
            Fingerprint = new DataFingerprint(Kind.Name, Fingerprint(TrainImages), Fingerprint(TestImages)),
        };
    }

    /// <summary>Draws the test images alone.</summary>
    /// <param name="seed">Seed of the random number generator.</param>
    /// <param name="testImages">Test images; null for 2,000.</param>
    /// <exception cref="ArgumentException">There are more images than an array holds.</exception>
    public static TestSet CreateTest(ulong seed, int? testImages = null)
    {
        RequireRoom(testImages, nameof(testImages));
        ImageSet images = Draw(seed, FirstTestImage, testImages ?? TestImages);
        return new TestSet(Kind.Name, images, new DataFingerprint(Kind.Name, null, Fingerprint(TestImages)));
    }

    // The numbers of images without a limit: a limit is not a property of the data.
    private static SetFingerprint Fingerprint(int images) => new(images, Size, Size, Channels, Classes, []);

    private static void RequireRoom(int? images, string name)
    {
        if (images is not { } count) return;
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count, name);
        long bytes = (long)count * Shape.Length;
        if (bytes > Array.MaxLength)
            throw new ArgumentOutOfRangeException(name, count, $"{count} images of {Shape} take {bytes} bytes, the limit is {Array.MaxLength} bytes ({Array.MaxLength / Shape.Length} images)");
    }

    private static ImageSet Draw(ulong seed, uint first, int count)
    {
        MapShape shape = Shape;
        var pixels = new byte[checked(count * shape.Length)];
        var labels = new int[count];
        Parallel.For(0, count, i =>
        {
            // Classes in turn, so that the first N images are balanced for every N.
            labels[i] = i % Classes;
            var random = new RandomSequence(new RandomKey(seed, RandomPurpose.SyntheticImages, 0, first + (uint)i));
            DrawImage(labels[i], ref random, pixels.AsSpan(i * shape.Length, shape.Length));
        });
        return new ImageSet(shape, Classes, pixels, labels);
    }

    private static void DrawImage(int label, ref RandomSequence random, Span<byte> image)
    {
        var pattern = new Pattern(label, ref random);
        Span<float> ground = stackalloc float[Channels], ink = stackalloc float[Channels];
        float contrast = random.NextFloat(0.25f, 0.7f);
        for (int c = 0; c < Channels; c++)
        {
            ground[c] = random.NextFloat(0.25f, 0.75f);
            float direction = random.NextUnit() < 0.5f ? -1 : 1;
            ink[c] = ground[c] + direction * contrast * random.NextFloat(0.4f, 1);
        }

        float shadeAngle = random.NextFloat(0, 2 * MathF.PI), shade = random.NextFloat(0, 0.25f), noise = random.NextFloat(0.05f, 0.2f);
        (float shadeY, float shadeX) = MathF.SinCos(shadeAngle);
        for (int y = 0; y < Size; y++)
        {
            for (int x = 0; x < Size; x++)
            {
                float cover = pattern.At(x, y);
                float shading = shade * (shadeX * (x - Size / 2) + shadeY * (y - Size / 2)) / (Size / 2);
                for (int c = 0; c < Channels; c++)
                {
                    // The sum of three uniform numbers approximates a normal one.
                    float grain = noise * (random.NextUnit() + random.NextUnit() + random.NextUnit() - 1.5f) * 2;
                    float value = ground[c] + cover * (ink[c] - ground[c]) + shading + grain;
                    image[(y * Size + x) * Channels + c] = (byte)Math.Clamp(value * 255, 0, 255);
                }
            }
        }
    }

    /// <summary>The pattern of a class at a random place, angle and size: how much ink each pixel has, 0 to 1.</summary>
    private readonly struct Pattern
    {
        private readonly int _label;
        private readonly float _x, _y, _sin, _cos, _size, _period, _phase;

        public Pattern(int label, ref RandomSequence random)
        {
            _label = label;
            _size = random.NextFloat(7, 13);
            _x = random.NextFloat(_size * 0.8f, Size - _size * 0.8f);
            _y = random.NextFloat(_size * 0.8f, Size - _size * 0.8f);
            _period = random.NextFloat(3.5f, 6.5f);
            _phase = random.NextFloat(0, 2 * MathF.PI);
            (_sin, _cos) = MathF.SinCos(Angle(label, ref random));
        }

        public float At(int column, int row)
        {
            float dx = column - _x, dy = row - _y;
            float x = _cos * dx + _sin * dy, y = _cos * dy - _sin * dx;
            float radius = MathF.Sqrt(x * x + y * y), wave = 2 * MathF.PI / _period;
            // Textures fade out towards the rim of a disc; the edges of shapes are blurred over one pixel.
            float window = Math.Clamp((_size - radius) / 3, 0, 1);
            return _label switch
            {
                0 or 1 or 2 or 3 => window * (0.5f + 0.5f * MathF.Sin(wave * x + _phase)),
                4 => window * (MathF.Sin(wave * x + _phase) * MathF.Sin(wave * y + _phase) > 0 ? 1 : 0),
                5 => window * (0.5f + 0.5f * MathF.Sin(wave * radius + _phase)),
                6 => Inside(0.8f * _size - radius),
                7 => Inside(0.75f * _size - Math.Max(MathF.Abs(x), MathF.Abs(y))),
                8 => Inside(Triangle(x, y)),
                _ => Inside(0.85f * _size - Math.Max(MathF.Abs(x), MathF.Abs(y))) * Inside(0.25f * _size - Math.Min(MathF.Abs(x), MathF.Abs(y))),
            };
        }

        /// <summary>Gratings have the direction of their class with a small error; other patterns have any direction.</summary>
        private static float Angle(int label, ref RandomSequence random) => label < 4
            ? MathF.PI * (label / 4f + random.NextFloat(-0.08f, 0.08f))
            : random.NextFloat(0, 2 * MathF.PI);

        private static float Inside(float depth) => Math.Clamp(depth + 0.5f, 0, 1);

        /// <summary>Depth inside an equilateral triangle.</summary>
        private float Triangle(float x, float y)
        {
            float edge = 0.5f * _size;
            float right = edge - (0.866f * x - 0.5f * y), left = edge - (-0.866f * x - 0.5f * y), bottom = edge - y;
            return Math.Min(bottom, Math.Min(left, right));
        }
    }
}
