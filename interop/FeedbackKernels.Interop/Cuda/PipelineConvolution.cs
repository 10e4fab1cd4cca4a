using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

/// <summary>A tile of native/pipeline.cuh.</summary>
/// <param name="Rows">Output pixels, or inputs of a filter.</param>
/// <param name="Columns">Channels.</param>
internal readonly record struct PipelineTile(int Rows, int Columns)
{
    /// <summary>Indices of the reduction that a step takes, and steps in shared memory.</summary>
    public const int Depth = 32, Stages = 4;

    /// <summary>Shared memory of a block: first the operands of the steps under way, then the results in binary32.</summary>
    public int SharedBytes => Math.Max(Stages * (Rows + Columns) * Depth * sizeof(ushort), Rows * Columns * sizeof(float));

    /// <summary>How many tiles cover a matrix.</summary>
    public long Covering(long rows, int columns) => DivideUp(rows, Rows) * DivideUp(columns, Columns);

    /// <inheritdoc/>
    public override string ToString() => $"{Rows}x{Columns}";
}

/// <summary>
/// How the pipelines of copies and tensor cores (native/pipeline.cuh) cut a convolution, or why they do not take it. By the
/// shape alone, so that sums have the same order on every device.
/// </summary>
/// <param name="Refusal">Why they do not take it; null where they do.</param>
/// <param name="Tile">The tile of a block.</param>
/// <param name="Tiles">Tiles of the matrix; of a feedback convolution with a stride that of the largest class.</param>
/// <param name="Reason">Why this tile.</param>
/// <param name="PixelsPerSlice">Of a weight gradient: pixels that a block reduces over.</param>
internal readonly record struct PipelineConvolution(
    string? Refusal, PipelineTile Tile = default, long Tiles = 0, string Reason = "", int PixelsPerSlice = 0)
{
    /// <summary>Threads of a block.</summary>
    public const int BlockThreads = 128;

    // Two blocks for each multiprocessor of a large device.
    private const long ManyBlocks = 264;

    // What a slice of a weight gradient is worth a block for: it reads as much as it writes and somebody reads again.
    private const int FewestPixels = 256;

    // A filter's rows and columns are 16 bits each in a kernel, and the last step may go 4 rows too far.
    private const int MostTaps = 11;

    // Large tiles read each operand less often; small ones give every multiprocessor a block, and leave less of a tile empty.
    private static readonly (PipelineTile Tile, long LeastRows, int LeastColumns, long LeastBlocks)[] Table =
    [
        (new(128, 128), 65, 65, ManyBlocks),
        (new(128, 64), 65, 1, ManyBlocks),
        (new(64, 64), 1, 1, 1),
    ];

    /// <summary>All tiles that there are kernels for.</summary>
    public static IEnumerable<PipelineTile> AllTiles => Table.Select(line => line.Tile);

    /// <summary>The table: the first line that applies decides.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="pass">Which of the three convolutions.</param>
    /// <param name="only">A tile to use whatever the table says; null for none.</param>
    public static PipelineConvolution Choose(in ConvShape shape, ConvPass pass, PipelineTile? only = null)
    {
        if (shape.C % 8 != 0 || shape.K % 8 != 0) return new($"{shape.C} and {shape.K} channels are not both multiples of 8");
        if (Math.Max(shape.R, shape.S) > MostTaps) return new($"filters of {shape.R}x{shape.S} are larger than {MostTaps}x{MostTaps}");
        // How far a kernel moves in one step: up to 32 images of one pixel, and two more for carries.
        double image = (double)(shape.H + 2 * shape.Padding + shape.Stride) * (shape.W + 2 * shape.Padding + shape.Stride) * shape.C;
        if (Math.Max(34 * image, Math.Max((double)shape.P * shape.Q * shape.K, shape.WeightLength)) > int.MaxValue)
            return new("images or weights are too large for distances of 32 bits");

        long pixels = (long)shape.N * shape.P * shape.Q;
        (long rows, int columns, long times) = pass switch
        {
            ConvPass.Forward => (pixels, shape.K, 1),
            // The first class has the most pixels.
            ConvPass.Feedback => (
                shape.N * DivideUp(shape.H, shape.Stride) * DivideUp(shape.W, shape.Stride), shape.C,
                (long)Math.Min(shape.Stride, shape.H) * Math.Min(shape.Stride, shape.W)),
            _ => (shape.FanIn, shape.K, DivideUp(pixels, FewestPixels)),
        };
        (PipelineTile tile, string reason) = only is { } asked ? (asked, "as asked for") : FirstOf(rows, columns, times);
        long tiles = tile.Covering(rows, columns);
        if (tiles > int.MaxValue) return new("there are more tiles than a grid holds");
        if (pass != ConvPass.WeightGradient) return new(null, tile, tiles, reason);
        long slices = Math.Clamp(DivideUp(ManyBlocks, tiles), 1, times);
        long each = DivideUp(DivideUp(pixels, slices), PipelineTile.Depth) * PipelineTile.Depth;
        return new(null, tile, tiles, reason, checked((int)each));
    }

    /// <summary>What serves a pass, in words.</summary>
    /// <param name="pass">Which of the three convolutions.</param>
    /// <param name="classes">Of a feedback convolution: residue classes of the input pixels.</param>
    /// <param name="slices">Of a weight gradient.</param>
    public ConvExplanation Explain(ConvPass pass, long classes, int slices)
    {
        string kernel = $"implicit GEMM {Tile}x{PipelineTile.Depth}, bf16 tensor cores, {PipelineTile.Stages} stages by cp.async";
        return pass switch
        {
            ConvPass.Forward => new(kernel, $"{Reason}; epilogue and batch norm sums in the same pass"),
            ConvPass.Feedback when classes > 1 => new(
                $"{kernel}, by residue class", $"{Reason}; {classes} classes of input pixels, each with the taps that reach it"),
            ConvPass.Feedback => new(kernel, $"{Reason}; taps in reverse"),
            _ when slices == 1 => new(kernel, $"{Reason}; reduced over all pixels"),
            _ => new($"{kernel}, {slices} slices of the pixels", $"{Reason}; slices added in order"),
        };
    }

    private static (PipelineTile Tile, string Reason) FirstOf(long rows, int columns, long times)
    {
        string passed = "";
        foreach ((PipelineTile tile, long leastRows, int leastColumns, long leastBlocks) in Table)
        {
            long blocks = tile.Covering(rows, columns) * times;
            if (rows >= leastRows && columns >= leastColumns && blocks >= leastBlocks) return (tile, $"{passed}{tile} makes up to {blocks} blocks");
            passed += rows < leastRows ? $"{rows} rows leave {tile} half empty, "
                : columns < leastColumns ? $"{columns} columns leave {tile} half empty, "
                : $"{tile} makes {blocks} blocks of {leastBlocks} wanted, ";
        }

        throw new InvalidOperationException($"no line of the table takes {rows} rows and {columns} columns");
    }
}
