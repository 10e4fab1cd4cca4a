namespace FeedbackKernels.Interop;

/// <summary>
/// Every <see cref="Stride"/>th pixel of every <see cref="Stride"/>th row of a batch of maps, numbered as one run: the pixels that a
/// strided 1x1 convolution reads, and those that its feedback pass writes.
/// </summary>
internal unsafe struct StridedPixels
{
    public CpuKernels* Kernels;

    /// <summary>The maps, [image][map row][map column][channel].</summary>
    public float* Map;

    public int Stride, Channels, MapRows, MapColumns;

    /// <summary>Strided rows and columns of a map.</summary>
    public int Rows, Columns;

    /// <summary>Whether stores bypass the caches. Only whole cache lines are written then, and nothing is added.</summary>
    public bool NonTemporal;

    /// <summary>The pixels of the input under the single tap of a pointwise convolution.</summary>
    public static StridedPixels InputsOf(in ConvGeometry geometry, CpuKernels* kernels, float* input) => new()
    {
        Kernels = kernels,
        Map = input,
        Stride = geometry.Step,
        Channels = geometry.InputChannels,
        MapRows = geometry.InputRows,
        MapColumns = geometry.InputColumns,
        Rows = geometry.P,
        Columns = geometry.Q,
    };

    /// <summary>The pixels that a pointwise convolution writes.</summary>
    public static StridedPixels OutputsOf(in ConvGeometry geometry, CpuKernels* kernels, float* output) => new()
    {
        Kernels = kernels,
        Map = output,
        Stride = geometry.MapStep,
        Channels = geometry.OutputChannels,
        MapRows = geometry.MapRows,
        MapColumns = geometry.MapColumns,
        Rows = geometry.P,
        Columns = geometry.Q,
    };

    /// <summary>Copies the pixels [first, end) to <paramref name="destination"/>, <paramref name="pixelStride"/> floats apart.</summary>
    public readonly void Gather(long first, long end, float* destination, nint pixelStride)
    {
        for (long pixel = first; pixel < end;)
        {
            RowPart part = RowPartFrom(pixel, end);
            float* from = part.At, next = AddressOf(pixel + part.Count);
            for (int i = 0; i < part.Count; i++, from += (nint)Stride * Channels, destination += pixelStride)
            {
                next = Fetch(next, Channels);
                var copy = new MapArguments { X = from, Y = destination };
                Kernels->Copy(&copy, Channels);
            }

            pixel += part.Count;
        }
    }

    /// <summary>Writes some channels of the pixels [first, end), or adds to them.</summary>
    public readonly void Scatter(long first, long end, float* source, nint pixelStride, int firstChannel, int channels, bool add)
    {
        delegate*<MapArguments*, long, void> write = add ? Kernels->Add : NonTemporal ? Kernels->CopyNonTemporal : Kernels->Copy;
        for (long pixel = first; pixel < end;)
        {
            RowPart part = RowPartFrom(pixel, end);
            float* to = part.At + firstChannel, next = AddressOf(pixel + part.Count) + firstChannel;
            for (int i = 0; i < part.Count; i++, to += (nint)Stride * Channels, source += pixelStride)
            {
                if (!NonTemporal) next = Fetch(next, channels);
                var map = new MapArguments { X = source, Y = to };
                write(&map, channels);
            }

            pixel += part.Count;
        }
    }

    /// <summary>Clears the map pixels to the right of the pixels [first, end) and below them, up to the next strided ones.</summary>
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

    /// <summary>Address of pixel number <paramref name="pixel"/>.</summary>
    private readonly float* AddressOf(long pixel) => RowPartFrom(pixel, pixel + 1).At;

    /// <summary>Prefetches a pixel of the next row while one of this row is copied. Copies alone have only a few misses in flight.</summary>
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

    /// <summary>The pixels from <paramref name="pixel"/> on that lie in its row, up to <paramref name="end"/>.</summary>
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
