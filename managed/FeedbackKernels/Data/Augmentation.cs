namespace FeedbackKernels.Data;

/// <summary>What is done to a training image, drawn anew each epoch.</summary>
[Flags]
public enum Augmentation
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>Shifts by up to 4 pixels each way; what comes in has the mean colour.</summary>
    Crop = 1,

    /// <summary>Mirrors left and right, every other time.</summary>
    Flip = 2,

    /// <summary>Both.</summary>
    CropFlip = Crop | Flip,
}
