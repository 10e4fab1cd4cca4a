using System.Runtime.Intrinsics.X86;

namespace FeedbackKernels.Interop;

/// <summary>
/// dW[r,s,c,k] = sum over pixels of x * dy, as tiles of input channels by output channels whose reduction runs over the
/// pixels. Blocks of pixels are first copied to where a tile streams them: x in strips of one cache line of channels, dy in
/// panels. (Read in place, neighbouring pixels lie C or K floats apart, at 4 KiB in one set of L1.)
/// An item is a share of the images, a group of channels and a group of panels. Shares are cut by the shape alone and added up in order, so the
/// sum does not depend on the number of threads.
/// </summary>
internal unsafe struct WeightGradient : IParallelJob
{
    // A strip of x holds one cache line a pixel: the rows of one tall tile or of several low ones.
    private const int StripFloats = 16;

    // The pixels of a block, a panel of dy and a strip of x, stay in L1 while all taps pass over them, and leave a fifth of it to dW.
    private static readonly long BlockBytes = Caches.Level1 * 4 / 5;

    // Where dW is so large, reading and writing it once a block costs more than reading panels from L2: blocks are twice as long
    // if L2 holds as much, and otherwise by a quarter, which fills L1.
    private const long LargeWeightBytes = 1024 * 1024, LargeBlockLevel2 = 1024 * 1024;

    // Panels of dy that are copied together: neighbours in memory, as many as leave most of L2 to the rest.
    private static readonly long ErrorBytes = Caches.Level2 / 4;

    // Strips of x that an item takes at a time: half of L2.
    private static readonly long GroupBytes = Caches.Level2 / 2;

    // Most memory for the shares' partial sums, and most shares. Each is one more pass over dW, a few percent of the time that
    // so many pixels take.
    private const long PartialBytes = 4 * 1024 * 1024;
    private const int MostShares = 16, SharePixels = 1536;

    // Items a thread, where there are not more shares than that: every group of panels packs x for itself, which costs more than
    // an uneven end.
    private const int ItemsPerThread = 1;

    public CpuKernels* Kernels;
    public ConvShape Shape;
    public float* X;

    /// <summary>Error at the output.</summary>
    public float* Dy;
    public float* Dw;

    /// <summary>Whether dW is added to.</summary>
    public bool Accumulate;

    /// <summary>Partial sums of the shares but the first, [shares - 1][R*S*C][K].</summary>
    public float* Partials;

    /// <summary>Packed blocks, <see cref="BlockFloats"/> a worker.</summary>
    public float* Blocks;
    public PanelLayout Layout;

    private int _panelGroups, _channelGroups, _rowsPerBlock, _imagesPerBlock;

    /// <summary>Shares that the images are cut into.</summary>
    public int Shares { get; private set; }

    public readonly long PartialFloats => (Shares - 1) * Shape.WeightLength;

    public readonly int Items => WorkItems.Checked((long)Shares * _panelGroups * _channelGroups);

    /// <summary>Floats of the packed blocks of one worker.</summary>
    public readonly long BlockFloats => ErrorOffset + (long)ErrorPanels * ErrorStride;

    // Few channels fill no tile; then the (tap column, channel) pairs of a filter row are the rows of the tiles, over rows
    // of x that are padded with zeros.
    private readonly bool ByFilterRow => Shape.C < StripFloats || (Shape.C < 2 * StripFloats && Shape.S > 1);

    private readonly bool Pointwise => !ByFilterRow && Shape is { R: 1, S: 1, Padding: 0 };

    // Tiles of few registers fetch nothing in their loops, but before. An item that takes only a part of the panels would fetch what
    // it does not read.
    private readonly bool FetchesPixels => !Kernels->Tiles.FetchesAhead && _panelGroups == 1;

    private readonly bool FetchesParts => FetchesPixels && _channelGroups > 1;

    private readonly int StripRows => Kernels->Tiles.MaxRows(Layout.FullWidth) is > StripFloats / 2 and var tall ? Math.Min(tall, StripFloats) : StripFloats;

    // Rows of dW that the tiles share out: a tap's channels, or a filter row's (tap column, channel) pairs.
    private readonly int TileRows => ByFilterRow ? Shape.S * Shape.C : Shape.C;

    private readonly int Strips => Rounding.DivideUp32(TileRows, StripRows);

    private readonly int MostStrips => Rounding.DivideUp32(Strips, _channelGroups);

    // A 1x1 convolution sees no neighbours: just the pixels that it reads are packed.
    private readonly int Step => Pointwise ? 1 : Shape.Stride;

    private readonly int PackedRows => Pointwise ? _rowsPerBlock : (_rowsPerBlock - 1) * Shape.Stride + Shape.R;

    private readonly nint PackedRowFloats => ByFilterRow
        ? (nint)(Shape.W + 2 * Shape.Padding) * Shape.C
        : (nint)(Pointwise ? Shape.Q : Shape.W) * StripFloats;

    // One line more than the strips need: strips a multiple of 4 KiB apart would share one set of L1.
    private readonly nint StripStride => _imagesPerBlock * PackedRows * PackedRowFloats + StripFloats;

    private readonly nint ErrorOffset => ByFilterRow ? StripStride : MostStrips * StripStride;

    // One more line, as for the strips.
    private readonly nint ErrorStride => (nint)_imagesPerBlock * _rowsPerBlock * Shape.Q * Layout.FullWidth + StripFloats;

    private readonly int ErrorPanels => (int)Math.Clamp(ErrorBytes / (ErrorStride * sizeof(float)), 1, Layout.Count);

    /// <summary>Cuts the work into items. Called once the sizes are set, before anything else is asked.</summary>
    public void Plan(int threads)
    {
        long weightBytes = Shape.WeightLength * sizeof(float);
        long worthwhile = Math.Max(1, (long)Shape.N * Shape.P * Shape.Q / SharePixels);
        Shares = (int)Math.Clamp(PartialBytes / weightBytes + 1, 1, Math.Min(worthwhile, Math.Min(Shape.N, MostShares)));
        int pixels = (int)(BlockBytes / ((StripFloats + Layout.FullWidth) * sizeof(float)));
        if (weightBytes >= LargeWeightBytes) pixels = Caches.Level2 >= LargeBlockLevel2 ? 2 * pixels : pixels * 5 / 4;
        _rowsPerBlock = Math.Clamp(pixels / Shape.Q, 1, Shape.P);
        _imagesPerBlock = Math.Clamp(pixels / (_rowsPerBlock * Shape.Q), 1, Rounding.DivideUp32(Shape.N, Shares));
        long groupStrips = Math.Max(1, GroupBytes / (StripStride * sizeof(float)));
        _channelGroups = ByFilterRow ? 1 : (int)Rounding.DivideUp(Strips, groupStrips);
        int parts = Shares * _channelGroups;
        _panelGroups = Math.Clamp(Rounding.DivideUp32(ItemsPerThread * threads, parts), 1, Layout.Count);
    }

    public readonly void Run(int item, int worker)
    {
        int panelGroup = item % _panelGroups, channelGroup = item / _panelGroups % _channelGroups, share = item / _panelGroups / _channelGroups;
        int firstPanel = Layout.Count * panelGroup / _panelGroups, endPanel = Layout.Count * (panelGroup + 1) / _panelGroups;
        int firstImage = (int)((long)Shape.N * share / Shares), endImage = (int)((long)Shape.N * (share + 1) / Shares);
        float* dw = share == 0 ? Dw : Partials + (share - 1) * Shape.WeightLength;
        var block = new PixelBlock { X = Blocks + worker * BlockFloats, FirstRow = FirstGroupRow(channelGroup), Rows = GroupRows(channelGroup) };
        block.Strips = Rounding.DivideUp32(block.Rows, StripRows);
        block.Calls = (long)block.Strips * (endPanel - firstPanel) * Shape.R * (ByFilterRow ? 1 : Shape.S);
        // Where every tap has pixels in every block, the first block overwrites what is there.
        block.Overwrites = Pointwise && (share > 0 || !Accumulate);
        if (!Pointwise && (share > 0 || !Accumulate)) ClearPart(dw, block, firstPanel, endPanel);
        for (block.Image = firstImage; block.Image < endImage; block.Image += block.Images)
        {
            block.Images = Math.Min(_imagesPerBlock, endImage - block.Image);
            for (block.FirstP = 0; block.FirstP < Shape.P; block.FirstP = block.EndP)
            {
                block.EndP = Math.Min(block.FirstP + _rowsPerBlock, Shape.P);
                FetchAhead(ref block);
                PackInput(block);
                for (int panel = firstPanel; panel < endPanel; panel++)
                {
                    int inGroup = (panel - firstPanel) % ErrorPanels;
                    if (inGroup == 0) PackErrors(block, panel, Math.Min(panel + ErrorPanels, endPanel));
                    block.Error = block.X + ErrorOffset + inGroup * ErrorStride;
                    for (int r = 0; r < Shape.R; r++) AddFilterRow(dw, ref block, panel, r);
                }

                block.Overwrites = false;
            }
        }
    }

    /// <summary>
    /// Notes where x and dy of the next block lie. Copying them is bound by memory and could overlap nothing; so the tiles of
    /// this block fetch them on the way.
    /// </summary>
    private readonly void FetchAhead(ref PixelBlock block)
    {
        bool imagesEnd = block.EndP == Shape.P;
        nint image = block.Image + (imagesEnd ? block.Images : 0), rows = (nint)block.Images * _rowsPerBlock;
        nint p = image * Shape.P + (imagesEnd ? 0 : block.EndP), h = image * Shape.H + (imagesEnd ? 0 : (nint)block.EndP * Shape.Stride);

        if (Step == Shape.Stride)
        {
            block.AheadX = (byte*)(X + h * Shape.W * Shape.C + (FetchesParts ? block.FirstRow : 0));
            block.AheadXEnd = block.AheadX + rows * Shape.Stride * Shape.W * Shape.C * sizeof(float);
        }
        else if (image < Shape.N)
        {
            FetchPixels(h, Math.Min(rows, Shape.P - p % Shape.P), block);
        }

        block.AheadError = (byte*)(Dy + p * Shape.Q * Shape.K);
        block.AheadErrorEnd = (byte*)(Dy + (p + rows) * Shape.Q * Shape.K);
        block.PixelBytes = (nint)Shape.C * sizeof(float);
        block.PartBytes = FetchesParts ? (nint)block.Rows * sizeof(float) : block.PixelBytes;
        block.AheadBytes = (block.AheadXEnd - block.AheadX) / block.PixelBytes * block.PartBytes + (block.AheadErrorEnd - block.AheadError);
        block.Credit = 0;
    }

    /// <summary>
    /// Asks for the pixels that a strided 1x1 convolution reads, of some rows of outputs whose first is on a row of x. A run
    /// of memory that holds them is mostly others.
    /// </summary>
    private readonly void FetchPixels(nint inputRow, nint rows, in PixelBlock block)
    {
        if (!Sse.IsSupported) return;
        for (nint p = 0; p < rows; p++)
        {
            float* pixel = X + (inputRow + p * Shape.Stride) * Shape.W * Shape.C + block.FirstRow;
            for (int q = 0; q < Shape.Q; q++, pixel += (nint)Shape.Stride * Shape.C) Caches.FetchIntoLevel2(pixel, block.Rows);
        }
    }

    private readonly void AddFilterRow(float* dw, ref PixelBlock block, int panel, int r)
    {
        (int firstP, int endP) = Inside(block.FirstP, block.EndP, r - Shape.Padding, Shape.H);
        if (endP <= firstP) return;
        int width = Layout.Width(panel);
        var tile = default(TileArguments);
        tile.ARow = 1;
        tile.AInner = Step * (nint)(ByFilterRow ? Shape.C : StripFloats);
        tile.AMiddle = Step * PackedRowFloats;
        tile.AOuter = PackedRows * PackedRowFloats;
        tile.BMiddle = (nint)Shape.Q * width;
        tile.BOuter = (block.EndP - block.FirstP) * tile.BMiddle;
        tile.Middle = endP - firstP;
        tile.Outer = block.Images;
        tile.CRow = Shape.K;
        tile.Accumulate = !block.Overwrites;
        int inputRow = Pointwise ? firstP - block.FirstP : firstP * Shape.Stride + r - Shape.Padding - FirstInputRow(block);
        float* x = block.X + inputRow * PackedRowFloats;
        float* error = block.Error + (firstP - block.FirstP) * tile.BMiddle;
        float* taps = dw + (nint)r * Shape.S * Shape.C * Shape.K + Layout.FirstColumn(panel);
        if (ByFilterRow)
        {
            tile.Inner = Shape.Q;
            tile.B = error;
            AddTap(tile, x, 1, taps, panel, ref block);
            return;
        }

        for (int s = 0; s < Shape.S; s++, taps += (nint)Shape.C * Shape.K)
        {
            (int firstQ, int endQ) = Inside(0, Shape.Q, s - Shape.Padding, Shape.W);
            if (endQ <= firstQ) continue;
            tile.Inner = endQ - firstQ;
            tile.B = error + firstQ * width;
            AddTap(Pointwise ? AsOneRow(tile, block) : tile, x + (firstQ * Step + s - Shape.Padding) * StripFloats, StripStride, taps, panel, ref block);
        }
    }

    /// <summary>A 1x1 convolution's pixels lie one after another, whatever their rows and images.</summary>
    private readonly TileArguments AsOneRow(TileArguments tile, in PixelBlock block)
    {
        if (block.Images > 1 && block.EndP - block.FirstP < PackedRows) return tile;
        tile.Inner *= tile.Middle * tile.Outer;
        tile.Middle = tile.Outer = 1;
        return tile;
    }

    /// <summary>All tiles of a tap, or of a filter row, one below the other.</summary>
    private readonly void AddTap(TileArguments tile, float* x, nint stripStride, float* dw, int panel, ref PixelBlock block)
    {
        int width = Layout.Width(panel), valid = Layout.ValidColumns(panel), tall = Kernels->Tiles.MaxRows(width);
        float* scratch = stackalloc float[valid < width ? tall * width : 1];
        for (int i = 0; i < block.Strips; i++)
        {
            (int first, int rows) = Strip(block, i);
            float* strip = x + (stripStride == 1 ? first : i * stripStride + first - StripStart(first));
            int tiles = Rounding.DivideUp32(rows, tall);
            if (FetchesPixels) tile.Fetch = block.TakeFetch(tiles);
            // Tiles of one height take one call.
            tile.Tiles = valid == width && rows % tiles == 0 ? tiles : 1;
            for (int t = 0; t < tiles; t += (int)tile.Tiles)
            {
                int top = rows * t / tiles, height = rows * (t + 1) / tiles - top;
                tile.A = strip + top;
                tile.C = dw + (nint)(first + top) * Shape.K;
                tile.ATile = height;
                tile.CTile = (nint)height * Shape.K;
                if (Kernels->Tiles.FetchesAhead) tile.Ahead = block.TakeAhead(tile, width);
                tile.NextC = tile.C + tile.CTile;
                if (valid < width) RunNarrow(&tile, height, width, valid, scratch);
                else Kernels->Tiles.Run(height, width, &tile);
                tile.Fetch.Skip(tile.Tiles);
            }
        }
    }

    /// <summary>A tile that is wider than what is left of K goes through scratch.</summary>
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

    // Groups are cut between strips, so that all strips but the last are full: tiles of one height take one call.
    private readonly int FirstGroupRow(int channelGroup) =>
        Math.Min((int)((long)Strips * channelGroup / _channelGroups) * StripRows, TileRows);

    private readonly int GroupRows(int channelGroup) => FirstGroupRow(channelGroup + 1) - FirstGroupRow(channelGroup);

    private static (int First, int Rows) Strip(in PixelBlock block, int i)
    {
        int first = block.Rows * i / block.Strips;
        return (block.FirstRow + first, block.Rows * (i + 1) / block.Strips - first);
    }

    // The last strip starts so early that a whole line of channels can be copied.
    private readonly int StripStart(int firstChannel) => Math.Min(firstChannel, Shape.C - StripFloats);

    private readonly int FirstInputRow(in PixelBlock block) => block.FirstP * Shape.Stride - Shape.Padding;

    /// <summary>Input rows of the block: rows outside x are not read by any tile and stay as they are.</summary>
    private readonly void PackInput(in PixelBlock block)
    {
        int rows = Pointwise ? block.EndP - block.FirstP : PackedRows;
        int* starts = stackalloc int[block.Strips];
        var copy = new StripArguments
        {
            SourceStride = (nint)(Pointwise ? Shape.Stride : 1) * Shape.C,
            Pixels = Pointwise ? Shape.Q : Shape.W,
            Floats = StripFloats,
            Starts = starts,
            Strips = block.Strips,
            StripStride = StripStride,
        };
        if (!ByFilterRow)
        {
            for (int i = 0; i < block.Strips; i++) starts[i] = StripStart(Strip(block, i).First);
        }

        for (int i = 0; i < block.Images; i++)
        {
            for (int row = 0; row < rows; row++)
            {
                int h = Pointwise ? (block.FirstP + row) * Shape.Stride : FirstInputRow(block) + row;
                if (h < 0 || h >= Shape.H) continue;
                copy.Source = X + ((nint)(block.Image + i) * Shape.H + h) * Shape.W * Shape.C;
                copy.Destination = block.X + (i * PackedRows + row) * PackedRowFloats;
                if (ByFilterRow) PadRow(copy.Source, copy.Destination);
                else Kernels->CopyStrip(&copy);
            }
        }
    }

    private readonly void PadRow(float* source, float* destination)
    {
        int halo = Shape.Padding * Shape.C, length = Shape.W * Shape.C;
        new Span<float>(destination, halo).Clear();
        new ReadOnlySpan<float>(source, length).CopyTo(new Span<float>(destination + halo, length));
        new Span<float>(destination + halo + length, halo).Clear();
    }

    private readonly void PackErrors(in PixelBlock block, int firstPanel, int endPanel)
    {
        float* errors = block.X + ErrorOffset;
        int whole = Math.Max(0, Math.Min(endPanel, Layout.WholePanels) - firstPanel);
        PackErrors(block, firstPanel, whole, Layout.FullWidth, 0, errors);
        for (int panel = firstPanel + whole; panel < endPanel; panel++)
            PackErrors(block, panel, 1, Layout.Width(panel), Layout.ValidColumns(panel), errors + (panel - firstPanel) * ErrorStride);
    }

    private readonly void PackErrors(in PixelBlock block, int panel, int panels, int width, int valid, float* destination)
    {
        int pixels = (block.EndP - block.FirstP) * Shape.Q;
        var copy = new StripArguments
        {
            SourceStride = Shape.K,
            Pixels = pixels,
            Strips = panels,
            StripStride = ErrorStride,
            Floats = width,
            Valid = valid,
        };
        for (int i = 0; i < block.Images; i++)
        {
            copy.Source = Dy + (((nint)(block.Image + i) * Shape.P) + block.FirstP) * Shape.Q * Shape.K + Layout.FirstColumn(panel);
            copy.Destination = destination + (nint)i * pixels * width;
            Kernels->CopyStrip(&copy);
        }
    }

    /// <summary>The part of [first, end) of output positions whose input position, offset + i * stride, is inside.</summary>
    private readonly (int First, int End) Inside(int first, int end, int offset, int inputs)
    {
        if (offset < 0) first = Math.Max(first, Rounding.DivideUp32(-offset, Shape.Stride));
        int reach = inputs - 1 - offset;
        return (first, reach < 0 ? first : Math.Min(end, reach / Shape.Stride + 1));
    }

    private readonly void ClearPart(float* dw, in PixelBlock block, int firstPanel, int endPanel)
    {
        int first = Layout.FirstColumn(firstPanel), columns = Layout.FirstColumn(endPanel - 1) + Layout.ValidColumns(endPanel - 1) - first;
        int parts = ByFilterRow ? Shape.R : Shape.R * Shape.S;
        for (int part = 0; part < parts; part++)
        {
            float* row = dw + ((nint)part * TileRows + block.FirstRow) * Shape.K + first;
            for (int i = 0; i < block.Rows; i++, row += Shape.K) new Span<float>(row, columns).Clear();
        }
    }

    /// <summary>Some rows of some images, packed, and the part of dW's rows that they go into.</summary>
    private struct PixelBlock
    {
        public float* X, Error;
        public int Image, Images, FirstP, EndP;
        public int FirstRow, Rows, Strips;
        public bool Overwrites;
        public byte* AheadX, AheadXEnd, AheadError, AheadErrorEnd;

        /// <summary>Bytes of a pixel of x, and of the part of it that the item reads.</summary>
        public nint PixelBytes, PartBytes;

        /// <summary>Bytes to fetch, and how many of them are due.</summary>
        public long AheadBytes, Credit, Calls;

        /// <summary>What the tiles of a strip are to fetch: as many lines as are due with it.</summary>
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

        /// <summary>What a call of the tile kernel is to fetch, as <see cref="TileArguments.Ahead"/>.</summary>
        public nint TakeAhead(in TileArguments tile, int width)
        {
            nint bytes = tile.Inner * tile.Middle * tile.Outer * width * sizeof(float);
            Credit += AheadBytes / Calls;
            if (Credit <= 0) return 0;
            Credit -= bytes;
            byte* from = Next(bytes);
            return from == null ? 0 : (nint)(from - (byte*)tile.B);
        }

        /// <summary>Where the next bytes to fetch lie; null where there are none.</summary>
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

/// <summary>Adds the partial sums of the shares to the first one's, in order.</summary>
internal unsafe struct PartialSums : IParallelJob
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
