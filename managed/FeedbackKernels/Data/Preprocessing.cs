using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

/// <summary>
/// How images are prepared for a model, and what its outputs mean. It is saved with the model, so that other images are normalised
/// like those that the model was trained on.
/// </summary>
/// <param name="Input">Size of an image.</param>
/// <param name="Means">Mean of each channel, of pixels from 0 to 1.</param>
/// <param name="Deviations">What each channel is divided by after the mean has been subtracted.</param>
/// <param name="ClassNames">Names of the classes, in the order of the logits.</param>
/// <param name="Resize">Length to which the shorter side of an image of any size is resized, before its centre is taken; 0 if the
/// images must have the size of <paramref name="Input"/>.</param>
public sealed record Preprocessing(
    MapShape Input, IReadOnlyList<double> Means, IReadOnlyList<double> Deviations, IReadOnlyList<string> ClassNames,
    int Resize = 0)
{
    /// <summary>The preprocessing of test images that belongs to training on a data set.</summary>
    /// <param name="data">The data set.</param>
    /// <param name="kind">How bytes become numbers.</param>
    /// <param name="images">Sizes, all set; not used if the images have one size.</param>
    /// <exception cref="ArgumentException">The images have several sizes, and no test size is given.</exception>
    public static Preprocessing Of(DataSet data, NormalisationKind kind, ImageOptions? images = null)
    {
        ArgumentNullException.ThrowIfNull(data);
        Normalisation normalisation = Normalisation.Of(data.Train, kind);
        MapShape input = data.Train.Shape ?? new MapShape(images?.TestSize ?? 0, images?.TestSize ?? 0, data.Train.Channels);
        if (input.H < 1) throw new ArgumentException("the images have several sizes, and there is no test size", nameof(images));
        return new Preprocessing(input, normalisation.Means, normalisation.Deviations, data.ClassNames, data.Train.Shape is null ? images!.TestResize : 0);
    }

    /// <summary>The table that turns bytes into a model's input.</summary>
    public Normalisation CreateNormalisation() => new(Means, Deviations);

    /// <summary>How images of several sizes are brought to the size of <see cref="Input"/>.</summary>
    public ImageOptions CreateImageOptions() => new() { TrainSize = Input.H, TestSize = Input.H, TestResize = Resize > 0 ? Resize : ImageOptions.UsualResize(Input.H) };

    /// <summary>The same for another size of images.</summary>
    /// <param name="size">Rows and columns; 0 for the present ones.</param>
    /// <param name="resize">Length of the shorter side before the centre is taken; 0 for the present one, or the usual one of
    /// <paramref name="size"/>.</param>
    /// <exception cref="ArgumentOutOfRangeException">The shorter side would be less than the size.</exception>
    public Preprocessing WithSize(int size, int resize)
    {
        if (size == 0 && resize == 0) return this;
        int rows = size > 0 ? size : Input.H, length = resize > 0 ? resize : ImageOptions.UsualResize(rows);
        new ImageOptions { TestSize = rows, TestResize = length }.Validate();
        return this with { Input = Input with { H = rows, W = rows }, Resize = length };
    }

    /// <summary>Checks that the model can take the images.</summary>
    /// <param name="images">The images.</param>
    /// <param name="name">What the message calls them.</param>
    /// <exception cref="InvalidDataException">Their size or the number of classes differs; the message names both.</exception>
    public void RequireFit(IImageSource images, string name)
    {
        ArgumentNullException.ThrowIfNull(images);
        if (images.Fits(Input, ClassNames.Count)) return;
        throw new InvalidDataException(
            $"{name}: images of {images.Describe()}, the model was trained on {Input} in {ClassNames.Count} classes");
    }
}
