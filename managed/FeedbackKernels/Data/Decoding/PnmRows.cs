namespace FeedbackKernels.Data;

/// <summary>Gives out the rows of raw pixels, from where they lie.</summary>
internal sealed unsafe class PnmRows
{
    private readonly DecoderMemory _memory = new();

    /// <summary>Gives out a region; rows that are missing are grey.</summary>
    /// <returns>Null, or what is missing.</returns>
    public string? Read(byte* encoded, int length, in StoredImage image, in DecodedRegion region, IRowSink sink)
    {
        PixelLayout layout = image.IsGrey ? PixelLayout.Grey : PixelLayout.Rgb;
        int pixel = (int)layout;
        long rowBytes = (long)image.Columns * pixel, regionBytes = (long)region.Reach * pixel + Resampler.Slack;
        long complete = (length - image.PixelOffset) / rowBytes;
        byte* scratch = null;
        for (int row = region.FirstRow; row < region.EndRow; row++)
        {
            long offset = image.PixelOffset + row * rowBytes + (long)region.FirstColumn * pixel;
            if (row < complete && image.Maximum == byte.MaxValue && offset + regionBytes <= length)
            {
                sink.Add(encoded + offset, layout);
                continue;
            }

            scratch = _memory.Get(regionBytes);
            var copy = new Span<byte>(scratch, region.Columns * pixel);
            if (row < complete) Copy(new ReadOnlySpan<byte>(encoded + offset, copy.Length), copy, image.Maximum);
            else copy.Fill(ImageDecoder.MissingPixel);
            sink.Add(scratch, layout);
        }

        return complete >= image.Rows ? null : ImageDecoder.MissingRows("PNM", (int)complete, image.Rows);
    }

    private static void Copy(ReadOnlySpan<byte> pixels, Span<byte> copy, int maximum)
    {
        pixels.CopyTo(copy);
        if (maximum == byte.MaxValue) return;
        foreach (ref byte value in copy) value = (byte)((Math.Min((int)value, maximum) * byte.MaxValue + maximum / 2) / maximum);
    }
}
