using FeedbackKernels.Data;
using FeedbackKernels.Layers;

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
        Normalisation grey = new([0.5], [0.5]), two = Normalisation.Of(Images, NormalisationKind.Unit);
        TestFiles.Complains<ArgumentException>(() => BatchLoader.Train(Images, grey, Augmentation.None, 1, 1, 1), "1 channels", "1x2x2");
        TestFiles.Complains<ArgumentException>(() => BatchLoader.Evaluate(Images, grey, 1), "1 channels", "1x2x2");
        TestFiles.Complains<ArgumentOutOfRangeException>(() => BatchLoader.Evaluate(Images, two, 0), "batch");
        TestFiles.Complains<ArgumentOutOfRangeException>(() => BatchLoader.Evaluate(Images, two, 1, 0), "threads");
        TestFiles.Complains<ArgumentOutOfRangeException>(() => BatchLoader.Train(Images, two, (Augmentation)4, 1, 1, 1), "augmentation");
        TestFiles.Complains<ArgumentOutOfRangeException>(() => BatchLoader.Train(Images, two, Augmentation.None, 1, 1, -1), "epoch");
        TestFiles.Complains<ArgumentException>(() => { two.Apply(new byte[3], new float[3]); return null; }, "multiple of 2");
        TestFiles.Complains<ArgumentException>(() => { two.Apply(new byte[4], new float[3]); return null; }, "3 values for 4 bytes");
    }
}
