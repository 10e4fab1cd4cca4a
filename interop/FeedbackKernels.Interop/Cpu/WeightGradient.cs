namespace FeedbackKernels.Interop;

/// <summary>
/// dW[r,s,c,k] = sum over pixels of x * dy, as tiles of input channels by output channels whose reduction runs over the
/// pixels. An item is a panel of output channels, a filter row (or all of them) and a share of the images; the shares
/// are cut by the shape alone and added up in order, so the sum does not depend on the number of threads.
/// </summary>
internal unsafe struct WeightGradient : IParallelJob
{
    // The rows of x and dy that one round of tiles reads again and again: a quarter of a 1 MiB L2.
    private const long BlockBytes = 256 * 1024;

    // Enough to balance a few dozen threads.
    private const int ItemsWanted = 64;

    // Steps of the reduction below which the loops round it cost more than they do.
    private const int ShortRow = 16;

    // Most memory for the shares' partial sums.
    private const long PartialBytes = 4 * 1024 * 1024;

    public CpuKernels* Kernels;
    public ConvShape Shape;
    public float* X;

    /// <summary>Error at the output; <see cref="ErrorStride"/> floats from a pixel to the next, padded to whole vectors.</summary>
    public float* Dy;
    public nint ErrorStride;
    public float* Dw;

    /// <summary>Whether dW is added to.</summary>
    public bool Accumulate;

    /// <summary>Partial sums of the shares but the first, [shares - 1][R*S*C][K].</summary>
    public float* Partials;
    public PanelLayout Layout;

    private bool _splitRows;
    private int _rowsPerBlock, _imagesPerBlock;

    /// <summary>Shares that the images are cut into.</summary>
    public int Shares { get; private set; }

    public readonly long PartialFloats => (Shares - 1) * Shape.WeightLength;

    public readonly int Items => Shares * Layout.Count * (_splitRows ? Shape.R : 1);

    /// <summary>Cuts the work into items. Called once the sizes are set, before anything else is asked.</summary>
    public void Plan()
    {
        FlattenPixels();
        long weightBytes = Shape.WeightLength * sizeof(float);
        int most = (int)Math.Clamp(PartialBytes / weightBytes + 1, 1, Shape.N);
        Shares = Math.Min(most, (ItemsWanted + Layout.Count - 1) / Layout.Count);
        _splitRows = Shares * Layout.Count < ItemsWanted && Shape.R > 1;
        long rowBytes = ((long)Shape.Stride * Shape.W * Shape.C + (long)Shape.Q * Math.Min(Layout.FullWidth, Layout.PaddedColumns)) * sizeof(float);
        _rowsPerBlock = (int)Math.Clamp(BlockBytes / rowBytes, 1, Shape.P);
        _imagesPerBlock = (int)Math.Clamp(BlockBytes / (rowBytes * Shape.P), 1, Shape.N);
    }

    public readonly void Run(int item, int worker)
    {
        int panel = item % Layout.Count, rest = item / Layout.Count;
        int share = rest % Shares, row = rest / Shares;
        int firstRow = _splitRows ? row : 0, endRow = _splitRows ? row + 1 : Shape.R;
        int firstImage = (int)((long)Shape.N * share / Shares), endImage = (int)((long)Shape.N * (share + 1) / Shares);
        float* dw = share == 0 ? Dw : Partials + (share - 1) * Shape.WeightLength;
        if (share > 0 || !Accumulate) ClearColumns(dw, panel, firstRow, endRow);
        for (int image = firstImage; image < endImage; image += _imagesPerBlock)
        {
            int images = Math.Min(_imagesPerBlock, endImage - image);
            for (int p = 0; p < Shape.P; p += _rowsPerBlock)
            {
                int endP = Math.Min(p + _rowsPerBlock, Shape.P);
                for (int r = firstRow; r < endRow; r++) AddBlock(dw, panel, image, images, p, endP, r);
            }
        }
    }

    private readonly void AddBlock(float* dw, int panel, int image, int images, int firstP, int endP, int r)
    {
        int width = Layout.Width(panel), valid = Layout.ValidColumns(panel), firstK = Layout.FirstColumn(panel);
        (firstP, endP) = Inside(firstP, endP, r - Shape.Padding, Shape.H);
        if (endP <= firstP) return;
        int tallest = Kernels->Tiles.MaxRowsFor(width);
        int tiles = (Shape.C + tallest - 1) / tallest;
        float* scratch = stackalloc float[valid < width ? tallest * width : 1];

        var tile = default(TileArguments);
        tile.ARow = 1;
        tile.AInner = (nint)Shape.Stride * Shape.C;
        tile.AMiddle = (nint)Shape.Stride * Shape.W * Shape.C;
        tile.AOuter = (nint)Shape.H * Shape.W * Shape.C;
        tile.BInner = ErrorStride;
        tile.BMiddle = Shape.Q * ErrorStride;
        tile.BOuter = (nint)Shape.P * Shape.Q * ErrorStride;
        tile.Middle = endP - firstP;
        tile.Outer = images;
        tile.Tiles = 1;
        tile.CRow = Shape.K;
        tile.Accumulate = true;
        for (int s = 0; s < Shape.S; s++)
        {
            (int firstQ, int endQ) = Inside(0, Shape.Q, s - Shape.Padding, Shape.W);
            if (endQ <= firstQ) continue;
            tile.Inner = endQ - firstQ;
            float* x = X + image * tile.AOuter
                + (((nint)firstP * Shape.Stride + r - Shape.Padding) * Shape.W + (nint)firstQ * Shape.Stride + s - Shape.Padding) * Shape.C;
            tile.B = Dy + image * tile.BOuter + firstP * tile.BMiddle + firstQ * ErrorStride + firstK;
            float* tap = dw + (((nint)r * Shape.S) + s) * Shape.C * Shape.K + firstK;
            for (int i = 0; i < tiles; i++)
            {
                int c = (int)((long)Shape.C * i / tiles), rows = (int)((long)Shape.C * (i + 1) / tiles) - c;
                tile.A = x + c;
                tile.C = tap + (nint)c * Shape.K;
                if (valid < width) RunNarrow(&tile, rows, width, valid, scratch);
                else Kernels->Tiles.Run(rows, width, &tile);
            }
        }
    }

    /// <summary>A tile that is wider than what is left of K goes through scratch.</summary>
    private readonly void RunNarrow(TileArguments* tile, int rows, int width, int valid, float* scratch)
    {
        TileArguments narrow = *tile;
        narrow.C = scratch;
        narrow.CRow = width;
        narrow.Accumulate = false;
        Kernels->Tiles.Run(rows, width, &narrow);
        for (int i = 0; i < rows; i++)
        {
            for (int k = 0; k < valid; k++) tile->C[i * tile->CRow + k] += scratch[i * width + k];
        }
    }

    /// <summary>The part of [first, end) of output positions whose input position, offset + i * stride, is inside.</summary>
    private readonly (int First, int End) Inside(int first, int end, int offset, int inputs)
    {
        if (offset < 0) first = Math.Max(first, (-offset + Shape.Stride - 1) / Shape.Stride);
        int reach = inputs - 1 - offset;
        return (first, reach < 0 ? first : Math.Min(end, reach / Shape.Stride + 1));
    }

    private readonly void ClearColumns(float* dw, int panel, int firstRow, int endRow)
    {
        nint rows = (nint)Shape.S * Shape.C;
        for (nint i = firstRow * rows; i < endRow * rows; i++)
            new Span<float>(dw + i * Shape.K + Layout.FirstColumn(panel), Layout.ValidColumns(panel)).Clear();
    }

    /// <summary>
    /// A 1x1 convolution of stride 1 sees no rows: the pixels of an image become one row, and where an image is just a few
    /// pixels (a linear layer) those of the whole batch.
    /// </summary>
    private void FlattenPixels()
    {
        if (Shape is not { R: 1, S: 1, Stride: 1, Padding: 0 }) return;
        int pixels = Shape.H * Shape.W;
        bool wholeBatch = pixels < ShortRow && (long)pixels * Shape.N <= int.MaxValue;
        Shape = wholeBatch
            ? new ConvShape(1, 1, pixels * Shape.N, Shape.C, Shape.K, 1, 1, 1, 0)
            : new ConvShape(Shape.N, 1, pixels, Shape.C, Shape.K, 1, 1, 1, 0);
    }
}

/// <summary>Adds the partial sums of the shares to the first one's, in order.</summary>
internal unsafe struct PartialSums : IParallelJob
{
    private const int ItemFloats = 16 * 1024;

    public CpuKernels* Kernels;
    public float* Total;
    public float* Partials;
    public int Count;
    public long Length;

    public readonly int Items => checked((int)((Length + ItemFloats - 1) / ItemFloats));

    public readonly void Run(int item, int worker)
    {
        long first = (long)item * ItemFloats, length = Math.Min(ItemFloats, Length - first);
        for (int i = 0; i < Count; i++)
        {
            var sum = new MapArguments { X = Partials + i * Length + first, Y = Total + first };
            Kernels->Add(&sum, length);
        }
    }
}
