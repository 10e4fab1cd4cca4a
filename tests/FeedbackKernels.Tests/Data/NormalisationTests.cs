using FeedbackKernels.Data;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Data;

/// <summary>Normalisation with known numbers, and settings that do not fit together.</summary>
public class NormalisationTests
{
    private static readonly ImageSet Images = new(new MapShape(1, 2, 2), 2, [0, 10, 255, 30, 51, 10, 102, 250], [0, 1]);

    [Fact]
    public void Kept_numbers_make_the_same_table()
    {
        // CIFAR-10's usual numbers, and pixel 128 by hand: (128 / 255 - 0.4914) / 0.247 and so on.
        var normalisation = new Normalisation([0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616]);
        Assert.Equal(0.0427562f, normalisation[128, 0], 1e-6f);
        Assert.Equal(0.0811531f, normalisation[128, 1], 1e-6f);
        Assert.Equal(0.2120061f, normalisation[128, 2], 1e-6f);
        Assert.Equal([0.4914, 0.4822, 0.4465], normalisation.Means);
        Assert.Equal([0.247, 0.2435, 0.2616], normalisation.Deviations);
        foreach (NormalisationKind kind in Enum.GetValues<NormalisationKind>())
        {
            Normalisation made = Normalisation.Of(Images, kind);
            Assert.Equal(made.Table.ToArray(), new Normalisation(made.Means, made.Deviations).Table.ToArray());
        }

        // Channel 0 has the bytes 0, 255, 51 and 102.
        Assert.Equal(0.4, Normalisation.Of(Images, NormalisationKind.Standard).Means[0], 1e-12);
        Assert.Equal((0.0, 1.0), (Normalisation.Of(Images, NormalisationKind.Unit).Means[0], Normalisation.Of(Images, NormalisationKind.Unit).Deviations[0]));
    }

    [Theory]
    [InlineData(new double[0], new double[0], "no channels")]
    [InlineData(new[] { 0.5 }, new[] { 0.5, 0.5 }, "2 standard deviations, wanted 1")]
    [InlineData(new[] { double.NaN }, new[] { 0.5 }, "mean NaN of channel 0")]
    [InlineData(new[] { 0, double.PositiveInfinity }, new[] { 0.5, 1 }, "of channel 1")]
    [InlineData(new[] { 0.5 }, new[] { 0.0 }, "standard deviation 0")]
    [InlineData(new[] { 0.5 }, new[] { -1.0 }, "standard deviation -1")]
    [InlineData(new[] { 0.5 }, new[] { double.NaN }, "standard deviation NaN")]
    [InlineData(new[] { 0.5 }, new[] { double.PositiveInfinity }, "wanted a finite number above 0")]
    [InlineData(new[] { 0.5 }, new[] { 1e-300 }, "make pixel 0")]
    [InlineData(new[] { 1e300 }, new[] { 1.0 }, "make pixel 0")]
    public void Numbers_that_cannot_be_are_refused(double[] means, double[] deviations, string part) =>
        TestFiles.Complains<ArgumentException>(() => new Normalisation(means, deviations), part);

    [Fact]
    public void Kinds_and_channels_that_do_not_fit_are_refused()
    {
        TestFiles.Complains<ArgumentOutOfRangeException>(() => Normalisation.Of(Images, (NormalisationKind)7), "kind");
        Normalisation two = Normalisation.Of(Images, NormalisationKind.Unit);
        TestFiles.Complains<ArgumentException>(() => { two.Apply(new byte[3], new float[3]); return null; }, "multiple of 2");
        TestFiles.Complains<ArgumentException>(() => { two.Apply(new byte[4], new float[3]); return null; }, "3 values for 4 bytes");
    }

    [Fact]
    public void Statistics_are_those_of_all_images_however_many_parts_they_are_read_in()
    {
        // 1100 images of 3000 bytes: more than the megabyte that is read at a time, in parts that do not divide the number of images.
        var random = new Random(5);
        var pixels = new byte[1100 * 3000];
        random.NextBytes(pixels);
        for (int i = 0; i < pixels.Length; i++) pixels[i] = (byte)(pixels[i] >> (i % 3));
        var images = new ImageSet(new MapShape(20, 50, 3), 2, pixels, new int[1100]);
        Normalisation found = Normalisation.Of(images, NormalisationKind.Standard);
        for (int c = 0; c < 3; c++)
        {
            double[] values = [.. Enumerable.Range(0, pixels.Length / 3).Select(i => pixels[3 * i + c] / 255.0)];
            double mean = values.Average();
            Assert.Equal(mean, found.Means[c], 1e-12);
            Assert.Equal(Math.Sqrt(values.Average(v => (v - mean) * (v - mean))), found.Deviations[c], 1e-12);
        }
    }
}
