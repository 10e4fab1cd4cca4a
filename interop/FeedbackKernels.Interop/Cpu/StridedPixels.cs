namespace FeedbackKernels.Interop;

/// <summary>
/// Every stride-th pixel of every stride-th row of the maps of a batch, counted as one run: what a 1x1 convolution reads, and
/// what its feedback writes.
/// </summary>
internal unsafe struct StridedPixels
{
    public CpuKernels* Kernels;

    /// <summary>The maps, [image][map row][map column][channel].</summary>
    public float* Map;

    public int Stride, Channels, MapRows, MapColumns;

    /// <summary>Rows and columns of a map that count.</summary>
    public int Rows, Columns;

    /// <summary>Whether the maps are written past the caches: in whole lines, and not added to.</summary>
    public bool NonTemporal;

    /// <summary>Copies the pixels [first, end) to where each takes <paramref name="pixelStride"/> floats.</summary>
    public readonly void Gather(long first, long end, float* destination, nint pixelStride)
    {
        for (long pixel = first; pixel < end;)
        {
            RowPart part = RowPartFrom(pixel, end);
            float* from = part.At, next = NextRow(pixel + part.Count);
            for (int i = 0; i < part.Count; i++, from += (nint)Stride * Channels, destination += pixelStride)
            {
                next = Fetch(next, Channels);
                var copy = new MapArguments { X = from, Y = destination };
                Kernels->Copy(&copy, Channels);
            }

            pixel += part.Count;
        }
    }

    /// <summary>Writes, or adds, some channels of the pixels [first, end).</summary>
    public readonly void Scatter(long first, long end, float* source, nint pixelStride, int firstChannel, int channels, bool add)
    {
        delegate*<MapArguments*, long, void> write = add ? Kernels->Add : NonTemporal ? Kernels->CopyNonTemporal : Kernels->Copy;
        for (long pixel = first; pixel < end;)
        {
            RowPart part = RowPartFrom(pixel, end);
            float* to = part.At + firstChannel, next = NextRow(pixel + part.Count) + firstChannel;
            for (int i = 0; i < part.Count; i++, to += (nint)Stride * Channels, source += pixelStride)
            {
                if (!NonTemporal) next = Fetch(next, channels);
                var map = new MapArguments { X = source, Y = to };
                write(&map, channels);
            }

            pixel += part.Count;
        }
    }

    /// <summary>Clears what lies between the pixels [first, end) and those right of and below them.</summary>
    public readonly void ClearBetween(long first, long end)
    {
        for (long pixel = first; pixel < end;)
        {
            RowPart part = RowPartFrom(pixel, end);
            int column = part.Column * Stride, endColumn = Math.Min((part.Column + part.Count) * Stride, MapColumns);
            float* row = part.At;
            for (int at = column; at < endColumn; at += Stride) Clear(row + (nint)(at - column + 1) * Channels, Math.Min(Stride, endColumn - at) - 1);
            int endRow = Math.Min((part.Row + 1) * Stride, MapRows);
            for (int below = part.Row * Stride + 1; below < endRow; below++) Clear(row += (nint)MapColumns * Channels, endColumn - column);
            pixel += part.Count;
        }
    }

    /// <summary>The first pixel of the row after one, or the next pixel.</summary>
    private readonly float* NextRow(long pixel) => RowPartFrom(pixel, pixel + 1).At;

    /// <summary>Asks for a pixel of the next row, while one of this row is copied: copies alone would wait for a few lines at a time.</summary>
    private readonly float* Fetch(float* pixel, int channels)
    {
        Caches.Fetch(pixel, channels);
        return pixel + (nint)Stride * Channels;
    }

    private readonly void Clear(float* at, int pixels)
    {
        var zeros = new MapArguments { Y = at };
        delegate*<MapArguments*, long, void> fill = NonTemporal ? Kernels->FillNonTemporal : Kernels->Fill;
        fill(&zeros, (long)pixels * Channels);
    }

    /// <summary>The pixels from one on that lie in its row.</summary>
    private readonly RowPart RowPartFrom(long pixel, long end)
    {
        long row = pixel / Columns, image = row / Rows;
        var part = new RowPart { Row = (int)(row % Rows), Column = (int)(pixel % Columns) };
        part.Count = (int)Math.Min(end - pixel, Columns - part.Column);
        part.At = Map + (((nint)image * MapRows + (nint)part.Row * Stride) * MapColumns + (nint)part.Column * Stride) * Channels;
        return part;
    }

    private struct RowPart
    {
        public float* At;
        public int Row, Column, Count;
    }
}
