namespace FeedbackKernels.Data;

/// <summary>Random changes of the training images, drawn again in each epoch.</summary>
[Flags]
public enum Augmentation
{
    /// <summary>No change.</summary>
    None = 0,

    /// <summary>Shifts by up to 4 pixels in each direction; the pixels that enter have the mean colour.</summary>
    Crop = 1,

    /// <summary>Flips left and right with probability 1/2.</summary>
    Flip = 2,

    /// <summary>Shifts and flips.</summary>
    CropFlip = Crop | Flip,
}
