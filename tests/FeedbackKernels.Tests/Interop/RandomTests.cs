using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Interop;

public class RandomTests
{
    // The known-answer vectors that accompany the Random123 library (philox 4x32, 10 rounds).
    [Theory]
    [InlineData(0u, 0u, 0u, 0u, 0ul, 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u)]
    [InlineData(0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffffffffffu, 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu)]
    [InlineData(0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u, 0x299f31d0a4093822u, 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u)]
    public void Philox_gives_the_published_answers(uint c0, uint c1, uint c2, uint c3, ulong key, uint x, uint y, uint z, uint w) =>
        Assert.Equal(new PhiloxBlock(x, y, z, w), Philox.Block(c0, c1, c2, c3, key));

    [Theory]
    [InlineData(NoiseKind.Gaussian)]
    [InlineData(NoiseKind.Sign)]
    [InlineData(NoiseKind.Balanced)]
    public void Noise_has_mean_zero_the_asked_variance_and_no_correlation(NoiseKind kind)
    {
        const int length = 40, samples = 6400;
        const float sigma = 0.5f;
        var noise = new MirrorNoise(kind, length, sigma, 11, 2);
        var sample = new float[length];
        var moments = new double[length, length];
        var sums = new double[length];
        for (int g = 0; g < samples; g++)
        {
            noise.Fill(sample, g);
            for (int i = 0; i < length; i++)
            {
                sums[i] += sample[i];
                for (int j = 0; j <= i; j++) moments[i, j] += sample[i] * sample[j];
            }
        }

        // Five standard errors of a mean of independent numbers; the test looks at 860 numbers.
        double bound = 5 * sigma * sigma * Math.Sqrt(2.0 / samples);
        for (int i = 0; i < length; i++)
        {
            Assert.Equal(0, sums[i] / samples, 5 * sigma / Math.Sqrt(samples));
            for (int j = 0; j <= i; j++) Assert.Equal(i == j ? sigma * sigma : 0, moments[i, j] / samples, bound);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(12)]
    [InlineData(27)]
    [InlineData(36)]
    [InlineData(56)]
    [InlineData(64)]
    [InlineData(144)]
    public void A_cycle_of_balanced_noise_has_an_exactly_white_second_moment(int length)
    {
        var noise = new MirrorNoise(NoiseKind.Balanced, length, 1, 5, 1);
        var sample = new float[length];
        foreach (int cycle in (int[])[0, 1, 7])
        {
            var moments = new int[length, length];
            for (int g = 0; g < noise.CycleLength; g++)
            {
                noise.Fill(sample, (long)cycle * noise.CycleLength + g);
                for (int i = 0; i < length; i++)
                {
                    for (int j = 0; j < length; j++) moments[i, j] += (int)(sample[i] * sample[j]);
                }
            }

            for (int i = 0; i < length; i++)
            {
                for (int j = 0; j < length; j++) Assert.Equal(i == j ? noise.CycleLength : 0, moments[i, j]);
            }
        }
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(1, 1)]
    [InlineData(3, 4)]
    [InlineData(9, 12)]
    [InlineData(12, 12)]
    [InlineData(13, 16)]
    [InlineData(27, 28)]
    [InlineData(33, 36)]
    [InlineData(65, 72)]
    [InlineData(144, 144)]
    [InlineData(288, 288)]
    [InlineData(500, 512)]
    [InlineData(513, 576)]
    [InlineData(784, 896)]
    [InlineData(3072, 3072)]
    [InlineData(4608, 4608)]
    [InlineData((1 << 30) - 1, 1 << 30)]
    [InlineData(1 << 30, 1 << 30)]
    public void A_cycle_is_the_smallest_order_that_is_no_less_than_the_length(int length, int cycle) =>
        Assert.Equal(cycle, MirrorNoise.CycleLengthOf(NoiseKind.Balanced, length));

    [Fact]
    public void Permutations_are_bijections_and_differ_by_key()
    {
        foreach (int order in (int[])[1, 2, 4, 8, 12, 16, 24, 28, 32, 36, 56, 64, 144, 576, 1024, 4608])
        {
            HadamardMatrix matrix = new(order);
            Assert.Equal(order, matrix.Order);
            uint[] first = [.. Enumerable.Range(0, order).Select(i => matrix.Permute((uint)i, 123, 456))];
            Assert.Equal(order, first.Distinct().Count());
            Assert.All(first, v => Assert.True(v < order));
            if (order < 12) continue;
            uint[] second = [.. Enumerable.Range(0, order).Select(i => matrix.Permute((uint)i, 124, 456))];
            Assert.NotEqual(first, second);
        }
    }

    [Fact]
    public void Streams_of_different_names_differ_and_of_one_name_agree()
    {
        var key = new RandomKey(1, RandomPurpose.User, 2, 3);
        RandomKey[] others = [key with { Seed = 2 }, key with { Purpose = RandomPurpose.Augmentation }, key with { Layer = 3 }, key with { Step = 4 }];
        Assert.Equal(key.Block(9), key.Block(9));
        Assert.All(others, other => Assert.NotEqual(key.Block(9), other.Block(9)));
    }

    [Fact]
    public void Gaussian_numbers_have_the_moments_of_a_normal_distribution()
    {
        var values = new float[400_000];
        new RandomKey(3, RandomPurpose.User).FillGaussian(values, 2);
        double mean = values.Average(), variance = values.Average(v => (v - mean) * (v - mean));
        double fourth = values.Average(v => Math.Pow(v - mean, 4)) / (variance * variance);
        Assert.Equal(0, mean, 0.02);
        Assert.Equal(4, variance, 0.05);
        Assert.Equal(3, fourth, 0.06);
    }

    [Fact]
    public void Uniform_numbers_fill_their_range()
    {
        var values = new float[100_000];
        new RandomKey(4, RandomPurpose.User).FillUniform(values, -1, 3);
        Assert.InRange(values.Min(), -1, -0.999);
        Assert.InRange(values.Max(), 2.999, 3);
        Assert.Equal(1, values.Average(), 0.02);
    }
}
