using System.Diagnostics;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

/// <summary>
/// Decodes images. It owns the scratch memory of one thread: use one decoder for each thread. JPEG, PNG, WebP and raw pixels
/// (<see cref="ImageFormat"/>) are told apart by their first bytes.
/// </summary>
/// <remarks>
/// <para>The resize is Pillow's BILINEAR with its antialiasing (a triangle as wide as the reduction; Pillow, src/libImaging/Resample.c).
/// Colour profiles (ICC) are ignored. Alpha is dropped: the colour of a transparent pixel is what is stored for it. Of 16 bits the upper 8
/// are used.</para>
/// <para>JPEG rows are decoded one after another, only those that are needed, so the memory does not grow with the number of rows. Images that must
/// be held whole are refused beyond 2^26 pixels: progressive JPEG, interlaced PNG, and for <see cref="DecodeRows"/> images whose orientation
/// exchanges rows or their order. Of other PNG and of WebP images the part that the crop needs is held, with the same limit.</para>
/// <para>A JPEG crop of at least 3, 6 or 12 times the size of the result is decoded at 1/2, 1/4 or 1/8 of its size, which saves half of the time or more. The
/// pixels then differ from those of a whole decode by about one grey level on average, 20 at sharp edges (photos of Imagenette, 224 to 64
/// pixels: mean 0.9, largest 20). With less than a factor of 3/2 left to the resize the differences would be larger (factor 1: mean 3.1, largest 95).
/// All other crops equal those of a whole decode.</para>
/// </remarks>
public sealed unsafe class ImageDecoder : IDisposable
{
    /// <summary>Value of pixels that are missing.</summary>
    internal const byte MissingPixel = 128;

    private readonly Resampler _resampler;
    private readonly SkiaRows _skia = new();
    private readonly PnmRows _pnm = new();
    private readonly DecoderMemory _upright = new(), _line = new();
    private readonly ResizingSink _resizing;
    private long _ticks;
    private bool _disposed;

    /// <summary>Name and version of the library that decodes JPEGs.</summary>
    public static string Name { get; } = $"SkiaSharp {typeof(SkiaSharp.SKCodec).Assembly.GetName().Version?.ToString(2)} (libjpeg-turbo)";

    /// <summary>A decoder with the widest vectors that the machine has.</summary>
    public ImageDecoder()
        : this(SimdLevels.Widest)
    {
    }

    internal ImageDecoder(SimdLevel level)
    {
        _resampler = new Resampler(level);
        _resizing = new ResizingSink(_resampler);
    }

    /// <summary>Reads the header of an encoded image. Decodes nothing.</summary>
    /// <param name="encoded">The whole image, or its beginning.</param>
    /// <exception cref="InvalidDataException">The bytes are not an image of a known format, or its header is damaged.</exception>
    public static ImageHeader ReadHeader(ReadOnlySpan<byte> encoded) => StoredImage.Read(encoded).Upright;

    /// <summary>Decodes the part of an image that a crop needs, resizes it and flips it: pixels [rows][columns][3] of the window.</summary>
    /// <param name="encoded">The encoded image.</param>
    /// <param name="crop">What is wanted of it; the box lies inside the image, the window inside the resized box.</param>
    /// <param name="destination">Window rows * columns * 3 bytes.</param>
    /// <returns>Null, or what is wrong with the image if it could be decoded in part (truncated data); pixels that are missing are grey.</returns>
    /// <exception cref="InvalidDataException">The bytes are not an image of a known format, or it cannot be decoded at all.</exception>
    /// <exception cref="ArgumentException">The crop does not lie inside the image, or the destination has another length.</exception>
    public string? Decode(ReadOnlySpan<byte> encoded, in CropResize crop, Span<byte> destination)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        long start = Stopwatch.GetTimestamp();
        StoredImage image = StoredImage.Read(encoded);
        Check(crop, image.Upright, destination);
        int denominator = Denominator(image, crop);
        _resampler.Begin(crop, image, denominator);
        ((int firstRow, int endRow), (int firstColumn, int endColumn)) = (_resampler.Rows, _resampler.Columns);
        var region = new DecodedRegion(firstRow, endRow, firstColumn, endColumn, _resampler.Reach);
        string? problem;
        fixed (byte* target = destination)
        {
            _resizing.Destination = target;
            problem = Read(encoded, image, region, denominator, _resizing);
        }

        _ticks += Stopwatch.GetTimestamp() - start;
        return problem;
    }

    /// <summary>Decodes a whole image and gives out its upright rows from top to bottom, [columns][3].</summary>
    /// <param name="encoded">The image.</param>
    /// <param name="row">Gets the number of each row, from 0, and its pixels; these are valid during the call only.</param>
    /// <returns>As of <see cref="Decode"/>.</returns>
    /// <exception cref="InvalidDataException">As of <see cref="Decode"/>.</exception>
    public string? DecodeRows(ReadOnlySpan<byte> encoded, Action<int, ReadOnlySpan<byte>> row)
    {
        ArgumentNullException.ThrowIfNull(row);
        ObjectDisposedException.ThrowIf(_disposed, this);
        long start = Stopwatch.GetTimestamp();
        StoredImage image = StoredImage.Read(encoded);
        var region = new DecodedRegion(0, image.Rows, 0, image.Columns, image.Columns);
        Orientation orientation = image.Orientation;
        string? problem;
        if (orientation.IsTransposed || orientation.ReversesRows)
        {
            var turning = new TurningSink(image, _upright);
            problem = Read(encoded, image, region, 1, turning);
            turning.GiveOut(row);
            _upright.Trim();
        }
        else
        {
            problem = Read(encoded, image, region, 1, new LineSink(image, _line, row));
        }

        _ticks += Stopwatch.GetTimestamp() - start;
        return problem;
    }

    /// <summary>Time spent in entropy decoding and colour conversion, and in resizing, in ticks of <see cref="Stopwatch"/>, since the decoder
    /// was made.</summary>
    public (long Decoding, long Resizing) Ticks => (_skia.Ticks, _ticks - _skia.Ticks);

    /// <summary>Frees the scratch memory.</summary>
    public void Dispose() => _disposed = true;

    /// <summary>What is said of an image whose end is missing.</summary>
    internal static string MissingRows(string format, int decoded, int rows) =>
        $"{format}: the data are cut off or damaged after row {decoded} of {rows}; missing pixels are grey";

    private string? Read(ReadOnlySpan<byte> encoded, in StoredImage image, in DecodedRegion region, int denominator, IRowSink sink)
    {
        fixed (byte* bytes = encoded)
        {
            return image.Format == ImageFormat.Pnm
                ? _pnm.Read(bytes, encoded.Length, image, region, sink)
                : _skia.Read(bytes, encoded.Length, image, region, denominator, sink);
        }
    }

    /// <summary>1, 2, 4 or 8: JPEG can be decoded at a part of its size, and the resize does the rest. As much as leaves a resize by 3/2 or more, see the remarks of
    /// the class.</summary>
    private static int Denominator(in StoredImage image, in CropResize crop)
    {
        const int most = 8, leastRatio = 3;
        int denominator = 1;
        if (image.Format != ImageFormat.Jpeg) return denominator;
        while (denominator < most && crop.Box.Rows >= (long)leastRatio * denominator * crop.Rows && crop.Box.Columns >= (long)leastRatio * denominator * crop.Columns)
            denominator *= 2;
        return denominator;
    }

    private static void Check(in CropResize crop, in ImageHeader image, ReadOnlySpan<byte> destination)
    {
        if (crop.Rows < 1 || crop.Columns < 1) throw new ArgumentException($"an image resized to {crop.Rows} x {crop.Columns}; wanted at least 1 x 1", nameof(crop));
        if (!IsInside(crop.Box, image.Rows, image.Columns)) throw new ArgumentException($"{crop.Box} is not inside the image of {image.Rows} x {image.Columns}", nameof(crop));
        if (!IsInside(crop.Window, crop.Rows, crop.Columns))
            throw new ArgumentException($"the window {crop.Window} is not inside the resized image of {crop.Rows} x {crop.Columns}", nameof(crop));
        long wanted = 3L * crop.Window.Rows * crop.Window.Columns;
        if (destination.Length != wanted) throw new ArgumentException($"{destination.Length} bytes for a window of {crop.Window.Rows} x {crop.Window.Columns} pixels; wanted {wanted}", nameof(destination));
    }

    private static bool IsInside(PixelBox box, int rows, int columns) =>
        box is { Row: >= 0, Column: >= 0, Rows: >= 1, Columns: >= 1 } && box.Rows <= rows - box.Row && box.Columns <= columns - box.Column;

    private sealed class ResizingSink(Resampler resampler) : IRowSink
    {
        public byte* Destination;

        public void Add(byte* pixels, PixelLayout layout) => resampler.Add(pixels, layout, Destination);
    }

    /// <summary>Gives rows out as they come, the columns turned if need be.</summary>
    private sealed class LineSink(StoredImage image, DecoderMemory memory, Action<int, ReadOnlySpan<byte>> receiver) : IRowSink
    {
        private int _row;

        public void Add(byte* pixels, PixelLayout layout)
        {
            int bytes = 3 * image.Columns, step = image.Orientation.ReversesColumns ? -3 : 3;
            byte* line = memory.Get(bytes);
            Pixels.Copy(pixels, layout, image.Columns, step > 0 ? line : line + bytes - 3, step);
            receiver(_row++, new ReadOnlySpan<byte>(line, bytes));
        }
    }

    /// <summary>Collects a whole image and turns it.</summary>
    private sealed class TurningSink : IRowSink
    {
        private readonly StoredImage _image;
        private readonly byte* _upright;
        private int _row;

        public TurningSink(StoredImage image, DecoderMemory memory)
        {
            long pixels = (long)image.Rows * image.Columns;
            if (pixels > SkiaRows.MostPixelsHeld)
                throw new InvalidDataException($"{image.Format}: an image of {image.Rows} x {image.Columns} pixels must be held in memory to be turned; wanted at most {SkiaRows.MostPixelsHeld} pixels");
            _image = image;
            _upright = memory.Get(3 * pixels);
        }

        public void Add(byte* pixels, PixelLayout layout)
        {
            Orientation orientation = _image.Orientation;
            nint row = orientation.ReversesRows ? _image.Rows - 1 - _row : _row, column = orientation.ReversesColumns ? _image.Columns - 1 : 0;
            nint rowStep = orientation.IsTransposed ? 3 : 3 * _image.Columns, columnStep = orientation.IsTransposed ? 3 * _image.Rows : 3;
            Pixels.Copy(pixels, layout, _image.Columns, _upright + row * rowStep + column * columnStep, orientation.ReversesColumns ? -columnStep : columnStep);
            _row++;
        }

        public void GiveOut(Action<int, ReadOnlySpan<byte>> receiver)
        {
            ImageHeader header = _image.Upright;
            int bytes = 3 * header.Columns;
            for (int row = 0; row < header.Rows; row++) receiver(row, new ReadOnlySpan<byte>(_upright + (nint)row * bytes, bytes));
        }
    }

    private static class Pixels
    {
        /// <summary>Copies pixels to three bytes each, <paramref name="step"/> bytes apart.</summary>
        public static void Copy(byte* source, PixelLayout layout, int count, byte* target, nint step)
        {
            int bytes = (int)layout, green = layout == PixelLayout.Grey ? 0 : 1;
            for (int i = 0; i < count; i++, source += bytes, target += step) (target[0], target[1], target[2]) = (source[0], source[green], source[2 * green]);
        }
    }
}
