namespace FeedbackKernels.Data;

/// <summary>From an epoch on, training images have another size.</summary>
/// <param name="Epoch">First epoch with the size, at least 2.</param>
/// <param name="Size">Rows and columns.</param>
public readonly record struct SizeChange(int Epoch, int Size);

/// <summary>
/// How images of several sizes become inputs of one size. Training takes a random part of each image and resizes it
/// (random-resized crop, Szegedy et al. 2015, section 6); evaluation resizes the shorter side and takes the centre. Sources whose images
/// all have one size do not use these settings.
/// </summary>
public sealed record ImageOptions
{
    /// <summary>Smallest and largest size of an input.</summary>
    public const int LeastSize = 1, MostSize = 8192;

    /// <summary>Rows and columns of a training image in the first epoch; 0 for those of the model.</summary>
    public int TrainSize { get; init; }

    /// <summary>Changes of the size of training images, by rising epochs.</summary>
    public IReadOnlyList<SizeChange> ResizeSchedule { get; init; } = [];

    /// <summary>Rows and columns of a test image; 0 for the largest size of training images.</summary>
    public int TestSize { get; init; }

    /// <summary>Length to which the shorter side of a test image is resized, before its centre is taken; 0 for 8/7 of
    /// <see cref="TestSize"/>, as 256 for 224.</summary>
    public int TestResize { get; init; }

    /// <summary>Smallest part of an image that a training crop takes, as a fraction of its area.</summary>
    public double CropScaleMin { get; init; } = 0.08;

    /// <summary>Largest part of an image that a training crop takes.</summary>
    public double CropScaleMax { get; init; } = 1;

    /// <summary>Smallest ratio of width to height of a training crop.</summary>
    public double CropRatioMin { get; init; } = 3.0 / 4;

    /// <summary>Largest ratio of width to height of a training crop.</summary>
    public double CropRatioMax { get; init; } = 4.0 / 3;

    /// <summary>Whether an image whose data are damaged ends the run. Otherwise what could be decoded of it is used, and the run says
    /// so. An image that cannot be decoded at all always ends the run.</summary>
    public bool DamagedIsFatal { get; init; }

    /// <summary>Size of training images in an epoch.</summary>
    /// <param name="epoch">The epoch, from 1.</param>
    public int TrainSizeAt(long epoch)
    {
        int size = TrainSize;
        foreach (SizeChange change in ResizeSchedule)
        {
            if (change.Epoch <= epoch) size = change.Size;
        }

        return size;
    }

    /// <summary>The same with all sizes set.</summary>
    /// <param name="modelSize">Rows and columns that the model is built for.</param>
    public ImageOptions For(int modelSize)
    {
        int train = TrainSize > 0 ? TrainSize : modelSize;
        int test = TestSize > 0 ? TestSize : ResizeSchedule.Select(change => change.Size).Append(train).Max();
        return this with { TrainSize = train, TestSize = test, TestResize = TestResize > 0 ? TestResize : UsualResize(test) };
    }

    /// <summary>Usual length of the shorter side for a size of test images: 8/7 of it, rounded, as 256 for 224 (torchvision's evaluation of
    /// ImageNet).</summary>
    /// <param name="testSize">Rows and columns of the test images.</param>
    public static int UsualResize(int testSize) => (testSize * 8 + 3) / 7;

    /// <summary>Checks the settings.</summary>
    /// <exception cref="ArgumentOutOfRangeException">One of them is out of range.</exception>
    /// <exception cref="ArgumentNullException">The schedule of sizes is null.</exception>
    public void Validate()
    {
        RequireSize(TrainSize, "training size");
        RequireSize(TestSize, "test size");
        RequireSize(TestResize, "test resize");
        if (TestResize > 0 && TestResize < TestSize)
            throw new ArgumentOutOfRangeException("test resize", TestResize, $"wanted at least the test size, {TestSize}");
        ArgumentNullException.ThrowIfNull(ResizeSchedule);
        int epoch = 1;
        foreach (SizeChange change in ResizeSchedule)
        {
            if (change.Epoch <= epoch) throw new ArgumentOutOfRangeException("resize schedule", change.Epoch, "wanted rising epochs, from 2");
            if (change.Size is < LeastSize or > MostSize) throw new ArgumentOutOfRangeException("resize schedule", change.Size, $"wanted sizes of {LeastSize} to {MostSize}");
            epoch = change.Epoch;
        }

        RequireRange(CropScaleMin, CropScaleMax, 1, "crop scale");
        RequireRange(CropRatioMin, CropRatioMax, 100, "crop ratio");
    }

    /// <inheritdoc/>
    public bool Equals(ImageOptions? other) =>
        other is not null && ResizeSchedule.SequenceEqual(other.ResizeSchedule)
        && (TrainSize, TestSize, TestResize, DamagedIsFatal) == (other.TrainSize, other.TestSize, other.TestResize, other.DamagedIsFatal)
        && (CropScaleMin, CropScaleMax, CropRatioMin, CropRatioMax) == (other.CropScaleMin, other.CropScaleMax, other.CropRatioMin, other.CropRatioMax);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(TrainSize, TestSize, TestResize, CropScaleMin, CropScaleMax, CropRatioMin, CropRatioMax, ResizeSchedule.Count);

    private static void RequireSize(int size, string name)
    {
        if (size is < 0 or > MostSize) throw new ArgumentOutOfRangeException(name, size, $"wanted 0 to {MostSize}");
    }

    private static void RequireRange(double least, double most, double limit, string name)
    {
        if (!(least > 0 && least <= most && most <= limit))
            throw new ArgumentOutOfRangeException(name, FormattableString.Invariant($"{least} to {most}"), $"wanted a range within above 0 to {limit}");
    }
}
