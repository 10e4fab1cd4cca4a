namespace FeedbackKernels.Interop;

/// <summary>Where a convolution writes its results, and what is done to them there: the epilogue, and the statistics of the outputs.</summary>
internal unsafe struct ConvOutput
{
    public CpuKernels* Kernels;
    public float* Start;

    /// <summary>Floats from one pixel, row or image to the next.</summary>
    public nint PixelStride, RowStride, ImageStride;

    /// <summary>Channels of a pixel.</summary>
    public int Columns;

    /// <summary>Whether the results are added to what the output holds.</summary>
    public bool Accumulate;

    public EpilogueArguments Epilogue;

    /// <summary>Statistics of each chunk of output pixels: shift, sum and sum of squares, each of all columns. Null for none.</summary>
    public float* ChunkStatistics;

    public ConvOutput(CpuKernels* kernels, float* tensor, in ConvGeometry geometry, bool accumulate, in ConvEpilogue epilogue)
    {
        Kernels = kernels;
        Start = tensor + geometry.OutputOffset;
        PixelStride = geometry.OutputPixelStride;
        RowStride = geometry.OutputRowStride;
        ImageStride = geometry.OutputImageStride;
        Columns = geometry.OutputChannels;
        Accumulate = accumulate;
        Epilogue = new EpilogueArguments
        {
            Scale = epilogue.Scale.Floats,
            Bias = epilogue.Bias.Floats,
            Residual = epilogue.Residual.Floats,
            Activation = epilogue.Activation,
        };
    }

    public readonly bool IsAligned => (nint)Start % (Kernels->Tiles.Lanes * sizeof(float)) == 0;

    public readonly float* At(int image, int row, int column) => Start + image * ImageStride + row * RowStride + column * PixelStride;

    /// <summary>Applies the epilogue to a tile of finished sums and adds them to the statistics of their chunk.</summary>
    public readonly void Finish(float* output, int rows, int columns, int firstColumn, int chunk, bool firstOfChunk)
    {
        bool statistics = ChunkStatistics != null;
        if (!Epilogue.Maps && !statistics) return;
        EpilogueArguments e = Epilogue;
        e.Y = output;
        e.RowStride = PixelStride;
        e.Rows = rows;
        e.Columns = columns;
        if (e.Scale != null) e.Scale += firstColumn;
        if (e.Bias != null) e.Bias += firstColumn;
        if (e.Residual != null) e.Residual += output - Start;
        if (statistics)
        {
            if (firstOfChunk && e.Maps) Kernels->Epilogue(&e);
            e.Shift = ChunkStatistics + (nint)chunk * 3 * Columns + firstColumn;
            e.Sum = e.Shift + Columns;
            e.SquareSum = e.Sum + Columns;
            if (firstOfChunk)
            {
                // Any value among the data prevents cancellation when it is taken as the shift. This is the first one.
                new ReadOnlySpan<float>(output, columns).CopyTo(new Span<float>(e.Shift, columns));
                new Span<float>(e.Sum, columns).Clear();
                new Span<float>(e.SquareSum, columns).Clear();
                e.Scale = e.Bias = e.Residual = null;
                e.Activation = Activation.None;
            }
        }

        Kernels->Epilogue(&e);
    }
}
