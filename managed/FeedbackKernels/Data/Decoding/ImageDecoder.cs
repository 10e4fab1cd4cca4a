namespace FeedbackKernels.Data;

/// <summary>
/// Decodes images. It owns the scratch memory of one thread: use one decoder for each thread. JPEG, PNG, WebP and raw pixels
/// (<see cref="ImageFormat"/>) are told apart by their first bytes.
/// </summary>
public sealed class ImageDecoder : IDisposable
{
    /// <summary>Name and version of the library that decodes JPEGs.</summary>
    public static string Name => "SkiaSharp";

    /// <summary>Reads the header of an encoded image.</summary>
    /// <exception cref="InvalidDataException">The bytes are not an image of a known format, or its header is damaged.</exception>
    public static ImageHeader ReadHeader(ReadOnlySpan<byte> encoded) => throw new NotImplementedException();

    /// <summary>Decodes the part of an image that a crop needs, resizes it and flips it: pixels [rows][columns][3] of the window.</summary>
    /// <param name="encoded">The encoded image.</param>
    /// <param name="crop">What is wanted of it; the box lies inside the image, the window inside the resized box.</param>
    /// <param name="destination">Window rows * columns * 3 bytes.</param>
    /// <returns>Null, or what is wrong with the image if it could be decoded in part (truncated data); pixels that are missing are grey.</returns>
    /// <exception cref="InvalidDataException">The bytes are not an image of a known format, or it cannot be decoded at all.</exception>
    public string? Decode(ReadOnlySpan<byte> encoded, in CropResize crop, Span<byte> destination) => throw new NotImplementedException();

    /// <summary>Decodes a whole image and gives out its upright rows from top to bottom, [columns][3].</summary>
    /// <returns>As of <see cref="Decode"/>.</returns>
    /// <exception cref="InvalidDataException">As of <see cref="Decode"/>.</exception>
    public string? DecodeRows(ReadOnlySpan<byte> encoded, Action<int, ReadOnlySpan<byte>> row) => throw new NotImplementedException();

    /// <summary>Time spent in entropy decoding and colour conversion, and in resizing, in ticks of <see cref="System.Diagnostics.Stopwatch"/>, since the decoder
    /// was made.</summary>
    public (long Decoding, long Resizing) Ticks => throw new NotImplementedException();

    /// <summary>Frees the scratch memory.</summary>
    public void Dispose() => throw new NotImplementedException();
}
