using System.Diagnostics;
using FeedbackKernels.Data;

namespace FeedbackKernels.Training;

/// <summary>Reads, decodes, crops and resizes images on one thread.</summary>
internal sealed class ImageWorker(IImageSource source) : IDisposable
{
    private readonly ImageDecoder _decoder = new();
    private readonly int[] _image = new int[1];
    private byte[] _encoded = [];
    private long _readTicks;

    /// <summary>Time in reading, decoding and resizing so far, in ticks of <see cref="Stopwatch"/>.</summary>
    public (long Read, long Decode, long Resize) Ticks => (_readTicks, _decoder.Ticks.Decoding, _decoder.Ticks.Resizing);

    /// <summary>Makes the input of a model from an image.</summary>
    /// <param name="image">Its number.</param>
    /// <param name="crop">Chooses the crop for the numbers of rows and columns.</param>
    /// <param name="pixels">Window rows * columns * 3 bytes.</param>
    /// <returns>What is wrong with the image if a part of it could not be decoded; otherwise null.</returns>
    /// <exception cref="IOException">A file cannot be read.</exception>
    /// <exception cref="InvalidDataException">The image cannot be decoded; the message names it.</exception>
    public string? Fill(int image, ICropChoice crop, Span<byte> pixels)
    {
        ReadOnlySpan<byte> encoded = Read(image);
        try
        {
            ImageHeader header = ImageDecoder.ReadHeader(encoded);
            return _decoder.Decode(encoded, crop.Choose(image, header.Rows, header.Columns), pixels);
        }
        catch (InvalidDataException e)
        {
            throw new InvalidDataException($"{source.NameOf(image)}: {e.Message}", e);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _decoder.Dispose();

    private ReadOnlySpan<byte> Read(int image)
    {
        long start = Stopwatch.GetTimestamp();
        int length = source.Length(image);
        if (_encoded.Length < length) _encoded = new byte[(int)Math.Min(Array.MaxLength, Math.Max(length, 2L * _encoded.Length))];
        _image[0] = image;
        source.Read(_image, _encoded.AsSpan(0, length));
        _readTicks += Stopwatch.GetTimestamp() - start;
        return _encoded.AsSpan(0, length);
    }
}

/// <summary>Chooses the part of an image that a model sees.</summary>
internal interface ICropChoice
{
    /// <summary>The crop for an image of some rows and columns.</summary>
    CropResize Choose(int image, int rows, int columns);
}
