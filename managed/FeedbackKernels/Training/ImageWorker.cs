using System.Diagnostics;
using FeedbackKernels.Data;

namespace FeedbackKernels.Training;

/// <summary>Reads, decodes, crops and resizes images on one thread.</summary>
internal sealed class ImageWorker(IImageSource source) : IDisposable
{
    private readonly ImageDecoder _decoder = new();
    private readonly int[] _image = new int[1];
    private byte[] _encoded = [], _colours = [];
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

    /// <summary>The same in grey: Pillow's luma. A pixel whose colours are equal keeps its value.</summary>
    /// <param name="image">Its number.</param>
    /// <param name="crop">Chooses the crop for the numbers of rows and columns.</param>
    /// <param name="pixels">Window rows * columns bytes.</param>
    /// <inheritdoc cref="Fill"/>
    public string? FillGrey(int image, ICropChoice crop, Span<byte> pixels)
    {
        const int red = 19595, green = 38470, blue = 7471, half = 1 << 15;
        if (_colours.Length != 3 * pixels.Length) _colours = new byte[3 * pixels.Length];
        string? damage = Fill(image, crop, _colours);
        for (int i = 0; i < pixels.Length; i++)
            pixels[i] = (byte)((red * _colours[3 * i] + green * _colours[3 * i + 1] + blue * _colours[3 * i + 2] + half) >> 16);
        return damage;
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
