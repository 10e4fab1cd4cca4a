using System.Runtime.Intrinsics.X86;

namespace FeedbackKernels.Interop;

/// <summary>
/// Computes dW[r,s,c,k] = sum over pixels of x * dy as tiles of input channels by output channels whose reduction runs over the pixels.
/// Blocks of pixels are first copied to where a tile can stream them: x in strips of one cache line of channels, dy in panels. Read in
/// place, neighbouring pixels would be C or K floats apart, at 4 KiB in one set of L1.
/// </summary>
internal unsafe struct WeightGradientConvolution : IParallelJob
{
    private const int StripFloats = WeightGradientPlan.StripFloats;

    public WeightGradientPlan Plan;
    public CpuKernels* Kernels;
    public float* X;

    /// <summary>Error at the output.</summary>
    public float* Dy;
    public float* Dw;

    /// <summary>Whether the gradient is added to dW.</summary>
    public bool Accumulate;

    /// <summary>Memory for the sums of the splits, <see cref="WeightGradientPlan.PartialFloats"/>.</summary>
    public float* Partials;

    /// <summary>Memory for packed blocks, <see cref="WeightGradientPlan.BlockFloats"/> for each worker.</summary>
    public float* Blocks;

    private readonly ConvShape _shape;

    public WeightGradientConvolution(CpuKernels* kernels, in WeightGradientPlan plan)
    {
        Kernels = kernels;
        Plan = plan;
        _shape = plan.Shape;
    }

    /// <summary>Computes the gradient.</summary>
    public void Run(WorkerPool pool)
    {
        pool.Run(Plan.Items, ref this);
        if (Plan.Splits == 1) return;
        var sums = new SplitSums { Kernels = Kernels, Total = Dw, Partials = Partials, Count = Plan.Splits - 1, Length = _shape.WeightLength };
        pool.Run(sums.Items, ref sums);
    }

    public readonly void Run(int item, int worker)
    {
        int panelGroup = item % Plan.PanelGroups, channelGroup = item / Plan.PanelGroups % Plan.ChannelGroups, split = item / Plan.PanelGroups / Plan.ChannelGroups;
        int firstPanel = Plan.Layout.Count * panelGroup / Plan.PanelGroups, endPanel = Plan.Layout.Count * (panelGroup + 1) / Plan.PanelGroups;
        int firstImage = (int)((long)_shape.N * split / Plan.Splits), endImage = (int)((long)_shape.N * (split + 1) / Plan.Splits);
        float* dw = split == 0 ? Dw : Partials + (split - 1) * _shape.WeightLength;
        var block = new PixelBlock { X = Blocks + worker * Plan.BlockFloats, FirstRow = Plan.FirstGroupRow(channelGroup), Rows = Plan.GroupRows(channelGroup) };
        block.Strips = Rounding.DivideUp32(block.Rows, Plan.StripRows);
        block.Calls = (long)block.Strips * (endPanel - firstPanel) * _shape.R * (Plan.ByFilterRow ? 1 : _shape.S);
        // Where every tap has pixels in every block, the first block overwrites dW.
        block.Overwrites = Plan.Pointwise && (split > 0 || !Accumulate);
        if (!Plan.Pointwise && (split > 0 || !Accumulate)) ClearPart(dw, block, firstPanel, endPanel);
        for (block.Image = firstImage; block.Image < endImage; block.Image += block.Images)
        {
            block.Images = Math.Min(Plan.ImagesPerBlock, endImage - block.Image);
            for (block.FirstP = 0; block.FirstP < _shape.P; block.FirstP = block.EndP)
            {
                block.EndP = Math.Min(block.FirstP + Plan.RowsPerBlock, _shape.P);
                FetchAhead(ref block);
                PackInput(block);
                for (int panel = firstPanel; panel < endPanel; panel++)
                {
                    int inGroup = (panel - firstPanel) % Plan.ErrorPanels;
                    if (inGroup == 0) PackErrors(block, panel, Math.Min(panel + Plan.ErrorPanels, endPanel));
                    block.Error = block.X + Plan.ErrorOffset + inGroup * Plan.ErrorStride;
                    for (int r = 0; r < _shape.R; r++) AddFilterRow(dw, ref block, panel, r);
                }

                block.Overwrites = false;
            }
        }
    }

    /// <summary>
    /// Finds x and dy of the next block. Copying them is limited by memory and overlaps with nothing, so the tiles of this block prefetch
    /// them.
    /// </summary>
    private readonly void FetchAhead(ref PixelBlock block)
    {
        bool imagesEnd = block.EndP == _shape.P;
        nint image = block.Image + (imagesEnd ? block.Images : 0), rows = (nint)block.Images * Plan.RowsPerBlock;
        nint p = image * _shape.P + (imagesEnd ? 0 : block.EndP), h = image * _shape.H + (imagesEnd ? 0 : (nint)block.EndP * _shape.Stride);

        if (Plan.Step == _shape.Stride)
        {
            block.AheadX = (byte*)(X + h * _shape.W * _shape.C + (Plan.FetchesParts ? block.FirstRow : 0));
            block.AheadXEnd = block.AheadX + rows * _shape.Stride * _shape.W * _shape.C * sizeof(float);
        }
        else if (image < _shape.N)
        {
            FetchPixels(h, Math.Min(rows, _shape.P - p % _shape.P), block);
        }

        block.AheadError = (byte*)(Dy + p * _shape.Q * _shape.K);
        block.AheadErrorEnd = (byte*)(Dy + (p + rows) * _shape.Q * _shape.K);
        block.PixelBytes = (nint)_shape.C * sizeof(float);
        block.PartBytes = Plan.FetchesParts ? (nint)block.Rows * sizeof(float) : block.PixelBytes;
        block.AheadBytes = (block.AheadXEnd - block.AheadX) / block.PixelBytes * block.PartBytes + (block.AheadErrorEnd - block.AheadError);
        block.Credit = 0;
    }

    /// <summary>
    /// Prefetches the pixels that a strided 1x1 convolution reads for some rows of outputs, from a row of x on. A run of memory that holds
    /// them holds mostly other pixels.
    /// </summary>
    private readonly void FetchPixels(nint inputRow, nint rows, in PixelBlock block)
    {
        if (!Sse.IsSupported) return;
        for (nint p = 0; p < rows; p++)
        {
            float* pixel = X + (inputRow + p * _shape.Stride) * _shape.W * _shape.C + block.FirstRow;
            for (int q = 0; q < _shape.Q; q++, pixel += (nint)_shape.Stride * _shape.C) Caches.FetchIntoLevel2(pixel, block.Rows);
        }
    }

    private readonly void AddFilterRow(float* dw, ref PixelBlock block, int panel, int r)
    {
        (int firstP, int endP) = Inside(block.FirstP, block.EndP, r - _shape.Padding, _shape.H);
        if (endP <= firstP) return;
        int width = Plan.Layout.Width(panel);
        var tile = default(TileArguments);
        tile.ARow = 1;
        tile.AInner = Plan.Step * (nint)(Plan.ByFilterRow ? _shape.C : StripFloats);
        tile.AMiddle = Plan.Step * Plan.PackedRowFloats;
        tile.AOuter = Plan.PackedRows * Plan.PackedRowFloats;
        tile.BMiddle = (nint)_shape.Q * width;
        tile.BOuter = (block.EndP - block.FirstP) * tile.BMiddle;
        tile.Middle = endP - firstP;
        tile.Outer = block.Images;
        tile.CRow = _shape.K;
        tile.Accumulate = !block.Overwrites;
        int inputRow = Plan.Pointwise ? firstP - block.FirstP : firstP * _shape.Stride + r - _shape.Padding - FirstInputRow(block);
        float* x = block.X + inputRow * Plan.PackedRowFloats;
        float* error = block.Error + (firstP - block.FirstP) * tile.BMiddle;
        float* taps = dw + (nint)r * _shape.S * _shape.C * _shape.K + Plan.Layout.FirstColumn(panel);
        if (Plan.ByFilterRow)
        {
            tile.Inner = _shape.Q;
            tile.B = error;
            AddTap(tile, x, 1, taps, panel, ref block);
            return;
        }

        for (int s = 0; s < _shape.S; s++, taps += (nint)_shape.C * _shape.K)
        {
            (int firstQ, int endQ) = Inside(0, _shape.Q, s - _shape.Padding, _shape.W);
            if (endQ <= firstQ) continue;
            tile.Inner = endQ - firstQ;
            tile.B = error + firstQ * width;
            AddTap(Plan.Pointwise ? AsOneRow(tile, block) : tile, x + (firstQ * Plan.Step + s - _shape.Padding) * StripFloats, Plan.StripStride, taps, panel, ref block);
        }
    }

    /// <summary>The packed pixels of a 1x1 convolution follow one another over rows and images.</summary>
    private readonly TileArguments AsOneRow(TileArguments tile, in PixelBlock block)
    {
        if (block.Images > 1 && block.EndP - block.FirstP < Plan.PackedRows) return tile;
        tile.Inner *= tile.Middle * tile.Outer;
        tile.Middle = tile.Outer = 1;
        return tile;
    }

    /// <summary>Adds all tiles of a tap, or of a filter row, one below the other.</summary>
    private readonly void AddTap(TileArguments tile, float* x, nint stripStride, float* dw, int panel, ref PixelBlock block)
    {
        int width = Plan.Layout.Width(panel), valid = Plan.Layout.ValidColumns(panel), tall = Kernels->Tiles.MaxRows(width);
        float* scratch = stackalloc float[valid < width ? tall * width : 1];
        for (int i = 0; i < block.Strips; i++)
        {
            (int first, int rows) = Strip(block, i);
            float* strip = x + (stripStride == 1 ? first : i * stripStride + first - StripStart(first));
            int tiles = Rounding.DivideUp32(rows, tall);
            if (Plan.FetchesPixels) tile.Fetch = block.TakeFetch(tiles);
            // Tiles of one height need one call.
            tile.Tiles = valid == width && rows % tiles == 0 ? tiles : 1;
            for (int t = 0; t < tiles; t += (int)tile.Tiles)
            {
                int top = rows * t / tiles, height = rows * (t + 1) / tiles - top;
                tile.A = strip + top;
                tile.C = dw + (nint)(first + top) * _shape.K;
                tile.ATile = height;
                tile.CTile = (nint)height * _shape.K;
                if (Kernels->Tiles.FetchesAhead) tile.Ahead = block.TakeAhead(tile, width);
                tile.NextC = tile.C + tile.CTile;
                if (valid < width) RunNarrow(&tile, height, width, valid, scratch);
                else Kernels->Tiles.Run(height, width, &tile);
                tile.Fetch.Skip(tile.Tiles);
            }
        }
    }

    /// <summary>A tile that is wider than the remaining columns goes through a buffer on the stack.</summary>
    private readonly void RunNarrow(TileArguments* tile, int rows, int width, int valid, float* scratch)
    {
        TileArguments narrow = *tile;
        narrow.C = scratch;
        narrow.CRow = width;
        narrow.NextC = null;
        narrow.Accumulate = false;
        Kernels->Tiles.Run(rows, width, &narrow);
        for (int i = 0; i < rows; i++)
        {
            float* row = tile->C + i * tile->CRow;
            for (int k = 0; k < valid; k++) row[k] = tile->Accumulate ? row[k] + scratch[i * width + k] : scratch[i * width + k];
        }
    }

    private static (int First, int Rows) Strip(in PixelBlock block, int i)
    {
        int first = block.Rows * i / block.Strips;
        return (block.FirstRow + first, block.Rows * (i + 1) / block.Strips - first);
    }

    // The last strip starts early enough to copy a whole cache line of channels.
    private readonly int StripStart(int firstChannel) => Math.Min(firstChannel, _shape.C - StripFloats);

    private readonly int FirstInputRow(in PixelBlock block) => block.FirstP * _shape.Stride - _shape.Padding;

    /// <summary>Packs the input rows of the block. No tile reads rows outside x, so they keep their old contents.</summary>
    private readonly void PackInput(in PixelBlock block)
    {
        int rows = Plan.Pointwise ? block.EndP - block.FirstP : Plan.PackedRows;
        int* starts = stackalloc int[block.Strips];
        var copy = new StripArguments
        {
            SourceStride = (nint)(Plan.Pointwise ? _shape.Stride : 1) * _shape.C,
            Pixels = Plan.Pointwise ? _shape.Q : _shape.W,
            Floats = StripFloats,
            Starts = starts,
            Strips = block.Strips,
            StripStride = Plan.StripStride,
        };
        if (!Plan.ByFilterRow)
        {
            for (int i = 0; i < block.Strips; i++) starts[i] = StripStart(Strip(block, i).First);
        }

        for (int i = 0; i < block.Images; i++)
        {
            for (int row = 0; row < rows; row++)
            {
                int h = Plan.Pointwise ? (block.FirstP + row) * _shape.Stride : FirstInputRow(block) + row;
                if (h < 0 || h >= _shape.H) continue;
                copy.Source = X + ((nint)(block.Image + i) * _shape.H + h) * _shape.W * _shape.C;
                copy.Destination = block.X + (i * Plan.PackedRows + row) * Plan.PackedRowFloats;
                if (Plan.ByFilterRow) PadRow(copy.Source, copy.Destination);
                else Kernels->CopyStrip(&copy);
            }
        }
    }

    private readonly void PadRow(float* source, float* destination)
    {
        int halo = _shape.Padding * _shape.C, length = _shape.W * _shape.C;
        new Span<float>(destination, halo).Clear();
        new ReadOnlySpan<float>(source, length).CopyTo(new Span<float>(destination + halo, length));
        new Span<float>(destination + halo + length, halo).Clear();
    }

    private readonly void PackErrors(in PixelBlock block, int firstPanel, int endPanel)
    {
        float* errors = block.X + Plan.ErrorOffset;
        int whole = Math.Max(0, Math.Min(endPanel, Plan.Layout.WholePanels) - firstPanel);
        PackErrors(block, firstPanel, whole, Plan.Layout.FullWidth, 0, errors);
        for (int panel = firstPanel + whole; panel < endPanel; panel++)
            PackErrors(block, panel, 1, Plan.Layout.Width(panel), Plan.Layout.ValidColumns(panel), errors + (panel - firstPanel) * Plan.ErrorStride);
    }

    private readonly void PackErrors(in PixelBlock block, int panel, int panels, int width, int valid, float* destination)
    {
        int pixels = (block.EndP - block.FirstP) * _shape.Q;
        var copy = new StripArguments
        {
            SourceStride = _shape.K,
            Pixels = pixels,
            Strips = panels,
            StripStride = Plan.ErrorStride,
            Floats = width,
            Valid = valid,
        };
        for (int i = 0; i < block.Images; i++)
        {
            copy.Source = Dy + (((nint)(block.Image + i) * _shape.P) + block.FirstP) * _shape.Q * _shape.K + Plan.Layout.FirstColumn(panel);
            copy.Destination = destination + (nint)i * pixels * width;
            Kernels->CopyStrip(&copy);
        }
    }

    /// <summary>The output positions i in [first, end) whose input position, offset + i * stride, lies in [0, inputs).</summary>
    private readonly (int First, int End) Inside(int first, int end, int offset, int inputs)
    {
        if (offset < 0) first = Math.Max(first, Rounding.DivideUp32(-offset, _shape.Stride));
        int reach = inputs - 1 - offset;
        return (first, reach < 0 ? first : Math.Min(end, reach / _shape.Stride + 1));
    }

    private readonly void ClearPart(float* dw, in PixelBlock block, int firstPanel, int endPanel)
    {
        int first = Plan.Layout.FirstColumn(firstPanel), columns = Plan.Layout.FirstColumn(endPanel - 1) + Plan.Layout.ValidColumns(endPanel - 1) - first;
        int parts = Plan.ByFilterRow ? _shape.R : _shape.R * _shape.S;
        for (int part = 0; part < parts; part++)
        {
            float* row = dw + ((nint)part * Plan.TileRows + block.FirstRow) * _shape.K + first;
            for (int i = 0; i < block.Rows; i++, row += _shape.K) new Span<float>(row, columns).Clear();
        }
    }

    /// <summary>Packed rows of some images, and the rows of dW that they contribute to.</summary>
    private struct PixelBlock
    {
        public float* X, Error;
        public int Image, Images, FirstP, EndP;
        public int FirstRow, Rows, Strips;
        public bool Overwrites;
        public byte* AheadX, AheadXEnd, AheadError, AheadErrorEnd;

        /// <summary>Bytes of a pixel of x, and of the part of it that the item reads.</summary>
        public nint PixelBytes, PartBytes;

        /// <summary>Bytes to prefetch, how many of them are due, and calls of tile kernels over which they are spread.</summary>
        public long AheadBytes, Credit, Calls;

        /// <summary>What the tiles of a strip prefetch: the cache lines that are due.</summary>
        public TileFetch TakeFetch(int tiles)
        {
            Credit += AheadBytes / Calls;
            bool parts = AheadError >= AheadErrorEnd && PartBytes < PixelBytes;
            nint bytes = parts ? PartBytes : (nint)(Credit / (tiles * Caches.LineBytes) * Caches.LineBytes);
            nint step = parts ? PixelBytes : bytes;
            byte* from = bytes > 0 && Credit >= bytes * tiles ? Next(step * tiles) : null;
            if (from == null) return default;
            Credit -= bytes * tiles;
            return new TileFetch { Start = from, Bytes = bytes, Step = step };
        }

        /// <summary>What a call of the tile kernel prefetches, as <see cref="TileArguments.Ahead"/>.</summary>
        public nint TakeAhead(in TileArguments tile, int width)
        {
            nint bytes = tile.Inner * tile.Middle * tile.Outer * width * sizeof(float);
            Credit += AheadBytes / Calls;
            if (Credit <= 0) return 0;
            Credit -= bytes;
            byte* from = Next(bytes);
            return from == null ? 0 : (nint)(from - (byte*)tile.B);
        }

        /// <summary>Takes the next bytes to prefetch: their address, or null where there are none.</summary>
        private byte* Next(nint bytes)
        {
            bool errors = AheadError < AheadErrorEnd;
            if (!errors && AheadX >= AheadXEnd) return null;
            ref byte* next = ref errors ? ref AheadError : ref AheadX;
            byte* from = next;
            next += bytes;
            return from;
        }
    }
}

/// <summary>Adds the sums of the other splits to those of the first, in order.</summary>
internal unsafe struct SplitSums : IParallelJob
{
    private const int ItemFloats = 16 * 1024;

    public CpuKernels* Kernels;
    public float* Total;
    public float* Partials;
    public int Count;
    public long Length;

    public readonly int Items => WorkItems.Checked(Rounding.DivideUp(Length, ItemFloats));

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
