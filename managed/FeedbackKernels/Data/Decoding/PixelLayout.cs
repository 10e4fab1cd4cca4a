namespace FeedbackKernels.Data;

/// <summary>Bytes of a pixel; the value is their number.</summary>
internal enum PixelLayout
{
    /// <summary>One channel.</summary>
    Grey = 1,

    /// <summary>Red, green, blue.</summary>
    Rgb = 3,

    /// <summary>Red, green, blue, and a byte that is not used.</summary>
    Rgbx = 4,
}
