namespace FeedbackKernels.Data;

/// <summary>The test half of a data set.</summary>
/// <param name="Name">What the user asked for, as <c>cifar10:DIR</c>.</param>
/// <param name="Images">The test images.</param>
/// <param name="ClassNames">One name for each class.</param>
/// <param name="Fingerprint">What the images were read from; its training half is null.</param>
public sealed record TestSet(string Name, ImageSet Images, IReadOnlyList<string> ClassNames, DataFingerprint Fingerprint)
{
    /// <summary>One name for each class.</summary>
    /// <exception cref="ArgumentException">There are more or fewer names than classes.</exception>
    public IReadOnlyList<string> ClassNames { get; init => field = Data.ClassNames.Checked(value, Images.Classes); } =
        Data.ClassNames.Checked(ClassNames, Images.Classes);

    /// <summary>What the reader did that a user may want to know, a sentence each.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];
}
