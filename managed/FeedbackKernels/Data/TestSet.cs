namespace FeedbackKernels.Data;

/// <summary>The test half of a data set.</summary>
/// <param name="Name">The source as the user named it, as <c>cifar10:DIR</c>.</param>
/// <param name="Images">The test images.</param>
/// <param name="Fingerprint">What the images were read from; its training half is null.</param>
public sealed record TestSet(string Name, IImageSource Images, DataFingerprint Fingerprint)
{
    /// <summary>One name for each class.</summary>
    public IReadOnlyList<string> ClassNames => Images.ClassNames;

    /// <summary>Notes of the reader for the user, one sentence each.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];
}
