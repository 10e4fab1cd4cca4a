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
public sealed record Preprocessing(
    MapShape Input, IReadOnlyList<double> Means, IReadOnlyList<double> Deviations, IReadOnlyList<string> ClassNames)
{
    /// <summary>The preprocessing that training on a data set uses.</summary>
    public static Preprocessing Of(DataSet data, NormalisationKind kind)
    {
        ArgumentNullException.ThrowIfNull(data);
        Normalisation normalisation = Normalisation.Of(data.Train, kind);
        return new Preprocessing(data.Train.RequireShape(), normalisation.Means, normalisation.Deviations, data.ClassNames);
    }

    /// <summary>The table that turns bytes into a model's input.</summary>
    public Normalisation CreateNormalisation() => new(Means, Deviations);

    /// <summary>Checks that the model can take the images.</summary>
    /// <exception cref="InvalidDataException">Their size or the number of classes differs; the message names both.</exception>
    public void RequireFit(IImageSource images, string name)
    {
        ArgumentNullException.ThrowIfNull(images);
        if (images.Fits(Input, ClassNames.Count)) return;
        throw new InvalidDataException(
            $"{name}: images of {images.Describe()}, the model was trained on {Input} in {ClassNames.Count} classes");
    }
}
