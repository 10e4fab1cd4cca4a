using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

/// <summary>
/// What has to be done to an image before a model sees it, and what its outputs stand for. It is saved with the model: images of
/// another set, or of a set that has changed, are normalised as those that the model was trained on.
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
        return new Preprocessing(data.Train.Shape, normalisation.Means, normalisation.Deviations, data.ClassNames);
    }

    /// <summary>The table that turns bytes into a model's input.</summary>
    public Normalisation CreateNormalisation() => new(Means, Deviations);

    /// <summary>Checks that images are those of the model.</summary>
    /// <exception cref="InvalidDataException">Their size or the number of classes differs; the message names both.</exception>
    public void RequireFit(ImageSet images, string name)
    {
        ArgumentNullException.ThrowIfNull(images);
        if (images.Shape == Input && images.Classes == ClassNames.Count) return;
        throw new InvalidDataException(
            $"{name}: images of {images.Shape} in {images.Classes} classes, the model was trained on {Input} in {ClassNames.Count} classes");
    }
}
