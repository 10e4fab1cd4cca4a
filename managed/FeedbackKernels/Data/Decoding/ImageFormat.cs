namespace FeedbackKernels.Data;

/// <summary>Formats of encoded images.</summary>
public enum ImageFormat
{
    /// <summary>JPEG: baseline or progressive; grey, YCbCr, CMYK or YCCK.</summary>
    Jpeg,

    /// <summary>PNG.</summary>
    Png,

    /// <summary>WebP.</summary>
    WebP,

    /// <summary>Raw pixels with the header of binary Netpbm files: P6 (three channels) or P5 (one), at most 255 a channel.</summary>
    Pnm,
}

/// <summary>What the header of an encoded image says.</summary>
/// <param name="Format">The format.</param>
/// <param name="Rows">Rows of the upright image, that is, after the EXIF orientation has been applied.</param>
/// <param name="Columns">Columns of the upright image.</param>
/// <param name="IsGrey">Whether the image has one channel.</param>
public readonly record struct ImageHeader(ImageFormat Format, int Rows, int Columns, bool IsGrey);
