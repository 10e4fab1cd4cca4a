namespace FeedbackKernels.Data;

/// <summary>Random changes of the training images, drawn again in each epoch.</summary>
[Flags]
public enum Augmentation
{
    /// <summary>No change.</summary>
    None = 0,

    /// <summary>Shifts by up to 4 pixels in each direction (He et al. 2016, section 4.2); the pixels that enter are 0 after normalisation: the
    /// mean colour, or black under <see cref="NormalisationKind.Unit"/>. Of images of several sizes, a random part is taken and resized (see
    /// <see cref="ImageOptions"/>); without this, the centre.</summary>
    Crop = 1,

    /// <summary>Flips left and right with probability 1/2.</summary>
    Flip = 2,

    /// <summary>Shifts and flips.</summary>
    CropFlip = Crop | Flip,
}
