using System.Runtime.CompilerServices;
using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

// native/batch_norm.cu
public sealed unsafe partial class CudaBackend
{
    private const int ChannelLanes = 32, ColumnThreads = 256, FinishLanes = 8, FinishThreads = 512, ElementThreads = 256;

    private static readonly CudaKernelTable<ElementType> StatisticsKernels = new(
        "batch_norm", (ElementType.Float32, "batch_norm_statistics_fp32"), (ElementType.BFloat16, "batch_norm_statistics_bf16"));

    private static readonly CudaKernelTable<ElementType> ColumnSumsKernels = new(
        "batch_norm", (ElementType.Float32, "column_sums_fp32"), (ElementType.BFloat16, "column_sums_bf16"));

    private static readonly CudaKernelTable<(ElementType Type, int Width)> ChannelAffineKernels = new(
        "batch_norm",
        ((ElementType.Float32, 4), "channel_affine_fp32_4"), ((ElementType.Float32, 1), "channel_affine_fp32_1"),
        ((ElementType.BFloat16, 8), "channel_affine_bf16_8"), ((ElementType.BFloat16, 1), "channel_affine_bf16_1"));

    private static readonly CudaKernelTable<(ElementType Type, int Width)> BackwardSumsKernels = new(
        "batch_norm",
        ((ElementType.Float32, 1), "batch_norm_backward_sums_fp32_1"),
        ((ElementType.BFloat16, 1), "batch_norm_backward_sums_bf16_1"), ((ElementType.BFloat16, 2), "batch_norm_backward_sums_bf16_2"));

    private static readonly CudaKernelTable<(ElementType Type, int Width)> BackwardApplyKernels = new(
        "batch_norm",
        ((ElementType.Float32, 4), "batch_norm_backward_apply_fp32_4"), ((ElementType.Float32, 1), "batch_norm_backward_apply_fp32_1"),
        ((ElementType.BFloat16, 8), "batch_norm_backward_apply_bf16_8"), ((ElementType.BFloat16, 1), "batch_norm_backward_apply_bf16_1"));

    private static readonly CudaKernel
        StatisticsFinishKernel = new("batch_norm", "batch_norm_finish"),
        FoldKernel = new("batch_norm", "batch_norm_fold"),
        BackwardFinishKernel = new("batch_norm", "batch_norm_backward_finish"),
        BackwardMeansKernel = new("batch_norm", "batch_norm_backward_means"),
        MergeKernel = new("batch_norm", "batch_norm_merge"),
        BiasFinishKernel = new("batch_norm", "bias_finish");

    private static IEnumerable<CudaKernel> BatchNormKernels =>
    [
        .. StatisticsKernels.All, .. ColumnSumsKernels.All, .. ChannelAffineKernels.All, .. BackwardSumsKernels.All, .. BackwardApplyKernels.All,
        StatisticsFinishKernel, MergeKernel, FoldKernel, BackwardFinishKernel, BackwardMeansKernel, BiasFinishKernel,
    ];

    internal override void BatchNormStatisticsCore(long rows, int channels, BufferView x, in BatchStatistics statistics)
    {
        Chunks chunks = ChunksOf(rows);
        ColumnSumsArguments sums = StartSums(rows, channels, chunks, x);
        Launch(
            StatisticsKernels[ActivationType], ColumnGrid(channels, chunks.Count), ColumnThreads, sums,
            new RowsOfChannels(rows, channels));
        FinishStatistics(rows, channels, chunks.Count, chunks.Rows, sums.Partials, statistics);
    }

    internal override void BiasGradientCore(long rows, int channels, BufferView dy, BufferView db)
    {
        Chunks chunks = ChunksOf(rows);
        ColumnSumsArguments sums = StartSums(rows, channels, chunks, dy);
        var sizes = new RowsOfChannels(rows, channels);
        Launch(ColumnSumsKernels[ActivationType], ColumnGrid(channels, chunks.Count), ColumnThreads, sums, sizes);
        var finish = new BiasFinishArguments { Channels = channels, Chunks = chunks.Count, Partials = sums.Partials, Db = db.Floats };
        Launch(BiasFinishKernel, FinishGrid(channels), FinishThreads, finish, sizes);
    }

    internal override void BatchNormFoldCore(
        int channels, BufferView gamma, BufferView beta, BufferView mean, BufferView variance, float epsilon, BufferView scale, BufferView bias)
    {
        var arguments = new FoldArguments
        {
            Channels = channels,
            Epsilon = epsilon,
            Gamma = gamma.Floats,
            Beta = beta.Floats,
            Mean = mean.Floats,
            Variance = variance.Floats,
            Scale = scale.Floats,
            Bias = bias.Floats,
        };
        Launch(
            FoldKernel, new Grid(DivideUp(channels, ElementThreads)), ElementThreads, arguments,
            new RowsOfChannels(1, channels));
    }

    internal override void ChannelAffineCore(
        long rows, int channels, BufferView x, BufferView scale, BufferView bias, BufferView residual, Activation activation, BufferView y)
    {
        int rowsPerBlock = RowsPerBlock(channels);
        var arguments = new ChannelAffineArguments
        {
            Rows = rows,
            Channels = channels,
            RowsPerBlock = rowsPerBlock,
            Activation = (int)activation,
            X = x.Pointer,
            Scale = scale.Floats,
            Bias = bias.Floats,
            Residual = residual.Pointer,
            Y = y.Pointer,
        };
        Launch(
            ChannelAffineKernels[(ActivationType, WidthOf(channels, x, scale, bias, residual, y))],
            new Grid(DivideUp(rows, rowsPerBlock)), ElementThreads, arguments, new RowsOfChannels(rows, channels));
    }

    // One kernel less than the two halves: the sums of the chunks also give what the error of each element needs.
    internal override void BatchNormBackwardCore(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy,
        BufferView dx, BufferView dGamma, BufferView dBeta, BufferView dResidual)
    {
        BackwardVectors vectors = BackwardSums(rows, channels, x, state, relu, y, dy, dGamma, dBeta);
        BackwardApply(rows, channels, x, state, relu, y, dy, vectors, dx, dResidual);
    }

    internal override void BatchNormBackwardSumsCore(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy, BufferView dGamma, BufferView dBeta) =>
        BackwardSums(rows, channels, x, state, relu, y, dy, dGamma, dBeta);

    internal override void BatchNormBackwardErrorsCore(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy,
        BufferView dGamma, BufferView dBeta, BufferView dx, BufferView dResidual)
    {
        BackwardVectors vectors = TakeVectors(channels);
        var arguments = new BackwardMeansArguments
        {
            Rows = rows,
            Channels = channels,
            Epsilon = state.Epsilon,
            Variance = state.Variance.Floats,
            DGamma = dGamma.Floats,
            DBeta = dBeta.Floats,
            MeanError = vectors.MeanError.Floats,
            ErrorSlope = vectors.ErrorSlope.Floats,
        };
        Launch(BackwardMeansKernel, new Grid(DivideUp(channels, ElementThreads)), ElementThreads, arguments, new RowsOfChannels(rows, channels));
        BackwardApply(rows, channels, x, state, relu, y, dy, vectors, dx, dResidual);
    }

    internal override void BatchNormMergeCore(in SharedRows rows, int channels, BufferView parts, in BatchStatistics statistics)
    {
        var arguments = new MergeArguments
        {
            Images = rows.Images,
            Parts = rows.Parts,
            RowsPerImage = rows.RowsPerImage,
            Channels = channels,
            Momentum = statistics.Momentum,
            Statistics = parts.Floats,
            Mean = statistics.Mean.Floats,
            Variance = statistics.Variance.Floats,
            RunningMean = statistics.RunningMean.Floats,
            RunningVariance = statistics.RunningVariance.Floats,
        };
        Launch(MergeKernel, new Grid(DivideUp(channels, ElementThreads)), ElementThreads, arguments, new RowsOfChannels(rows.All, channels));
    }

    private BackwardVectors BackwardSums(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy, BufferView dGamma, BufferView dBeta)
    {
        Chunks chunks = ChunksOf(rows);
        var sums = new BackwardSumsArguments
        {
            Rows = rows,
            Channels = channels,
            RowsPerChunk = chunks.Rows,
            ReluAfter = relu == ReluPosition.After ? 1 : 0,
            X = x.Pointer,
            Y = y.Pointer,
            Dy = dy.Pointer,
            Mean = state.Mean.Floats,
            Scale = state.Scale.Floats,
            Bias = state.Bias.Floats,
            Partials = (float*)Scratch.Get(ScratchPurpose.ChannelPartials, 2L * chunks.Count * channels * sizeof(float)),
        };
        // A lane takes a pair of channels where that is a load of 4 bytes and leaves no lane of a block idle. The order of the sums is
        // the same.
        bool paired = Precision == CudaPrecision.Bf16 && channels % 2 == 0 && channels >= 2 * ChannelLanes
            && AllowWide(x, y, dy, state.Mean, state.Scale, state.Bias);
        int width = paired ? 2 : 1;
        Launch(
            BackwardSumsKernels[(ActivationType, width)], ColumnGrid(DivideUp(channels, width), chunks.Count), ColumnThreads, sums,
            new RowsOfChannels(rows, channels), operation: nameof(BatchNormBackwardCore));
        return FinishBackwardSums(sums, chunks.Count, state, dGamma, dBeta);
    }

    private void BackwardApply(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy, in BackwardVectors vectors,
        BufferView dx, BufferView dResidual)
    {
        int rowsPerBlock = RowsPerBlock(channels);
        int width = WidthOf(channels, x, y, dy, state.Mean, state.Scale, state.Bias, dx, dResidual);
        var apply = new BackwardApplyArguments
        {
            Rows = rows,
            Channels = channels,
            RowsPerBlock = rowsPerBlock,
            ReluAfter = relu == ReluPosition.After ? 1 : 0,
            ReluBefore = relu == ReluPosition.Before ? 1 : 0,
            X = x.Pointer,
            Y = y.Pointer,
            Dy = dy.Pointer,
            Mean = state.Mean.Floats,
            Scale = state.Scale.Floats,
            Bias = state.Bias.Floats,
            MeanError = vectors.MeanError.Floats,
            ErrorSlope = vectors.ErrorSlope.Floats,
            Dx = dx.Pointer,
            DResidual = dResidual.Pointer,
        };
        Launch(
            BackwardApplyKernels[(ActivationType, width)], new Grid(DivideUp(rows, rowsPerBlock)), ElementThreads, apply,
            new RowsOfChannels(rows, channels), operation: nameof(BatchNormBackwardCore));
    }

    /// <summary>Adds the sums of the chunks: dGamma, dBeta, and the two vectors of K elements that the error of each element needs.</summary>
    private BackwardVectors FinishBackwardSums(
        in BackwardSumsArguments sums, int chunks, in BatchNormState state, BufferView dGamma, BufferView dBeta)
    {
        int channels = sums.Channels;
        BackwardVectors vectors = TakeVectors(channels);
        var finish = new BackwardFinishArguments
        {
            Rows = sums.Rows,
            Channels = channels,
            Chunks = chunks,
            Epsilon = state.Epsilon,
            Partials = sums.Partials,
            Variance = state.Variance.Floats,
            DGamma = dGamma.Floats,
            DBeta = dBeta.Floats,
            MeanError = vectors.MeanError.Floats,
            ErrorSlope = vectors.ErrorSlope.Floats,
        };
        Launch(
            BackwardFinishKernel, FinishGrid(channels), FinishThreads, finish, new RowsOfChannels(sums.Rows, channels),
            operation: nameof(BatchNormBackwardCore));
        return vectors;
    }

    private BackwardVectors TakeVectors(int channels)
    {
        // Both vectors start on a multiple of 16 bytes.
        long padded = DivideUp(channels, 4) * 4;
        BufferView meanError = BufferView.FromPointer(Scratch.Get(ScratchPurpose.ChannelVectors, 2 * padded * sizeof(float)), channels);
        return new BackwardVectors(meanError, BufferView.FromPointer(meanError.Address + (nint)padded * sizeof(float), channels));
    }

    private ColumnSumsArguments StartSums(long rows, int channels, Chunks chunks, BufferView x) => new()
    {
        Rows = rows,
        Channels = channels,
        RowsPerChunk = chunks.Rows,
        X = x.Pointer,
        Partials = (float*)Scratch.Get(ScratchPurpose.ChannelPartials, 2L * chunks.Count * channels * sizeof(float)),
    };

    /// <summary>Merges the statistics of the chunks of a tensor.</summary>
    /// <param name="rows">Rows of all chunks.</param>
    /// <param name="channels">K.</param>
    /// <param name="chunks">Number of chunks.</param>
    /// <param name="rowsPerChunk">Rows of each chunk but the last one; not used where there are counts.</param>
    /// <param name="partials">[chunks][2][channels].</param>
    /// <param name="statistics">Where the result goes.</param>
    /// <param name="counts">[chunks]: rows of each chunk; or null.</param>
    /// <param name="operation">Name of the operation in errors.</param>
    internal void FinishStatistics(
        long rows, int channels, long chunks, int rowsPerChunk, float* partials, in BatchStatistics statistics, int* counts = null,
        [CallerMemberName] string operation = "")
    {
        var arguments = new StatisticsFinishArguments
        {
            Rows = rows,
            Channels = channels,
            Chunks = checked((int)chunks),
            RowsPerChunk = rowsPerChunk,
            Momentum = statistics.Momentum,
            Partials = partials,
            Counts = counts,
            Mean = statistics.Mean.Floats,
            Variance = statistics.Variance.Floats,
            RunningMean = statistics.RunningMean.Floats,
            RunningVariance = statistics.RunningVariance.Floats,
        };
        Launch(
            StatisticsFinishKernel, FinishGrid(channels), FinishThreads, arguments, new RowsOfChannels(rows, channels),
            operation: operation);
    }

    private static Grid ColumnGrid(long lanes, int chunks) => new(DivideUp(lanes, ChannelLanes), chunks);

    private static Grid FinishGrid(int channels) => new(DivideUp(channels, FinishLanes));

    /// <summary>Chunks of 512 rows, or of more where a grid cannot hold so many chunks.</summary>
    private static Chunks ChunksOf(long rows)
    {
        const int usual = 512, mostChunks = 65_535;
        long each = Math.Max(usual, DivideUp(rows, mostChunks));
        return new Chunks(checked((int)each), checked((int)DivideUp(rows, each)));
    }

    /// <summary>So many rows that a block has about 4096 elements.</summary>
    private static int RowsPerBlock(int channels) => Math.Max(1, 4096 / channels);

    private readonly record struct Chunks(int Rows, int Count);

    private readonly record struct BackwardVectors(BufferView MeanError, BufferView ErrorSlope);

    internal struct ColumnSumsArguments
    {
        public long Rows;
        public int Channels, RowsPerChunk;
        public void* X;
        public float* Partials;
    }

    internal struct BackwardSumsArguments
    {
        public long Rows;
        public int Channels, RowsPerChunk, ReluAfter;
        public fixed byte Hole[4];
        public void* X, Y, Dy;
        public float* Mean, Scale, Bias, Partials;
    }

    internal struct StatisticsFinishArguments
    {
        public long Rows;
        public int Channels, Chunks, RowsPerChunk;
        public float Momentum;
        public float* Partials;
        public int* Counts;
        public float* Mean, Variance, RunningMean, RunningVariance;
    }

    internal struct BackwardFinishArguments
    {
        public long Rows;
        public int Channels, Chunks;
        public float Epsilon;
        public fixed byte Hole[4];
        public float* Partials, Variance, DGamma, DBeta, MeanError, ErrorSlope;
    }

    internal struct BackwardMeansArguments
    {
        public long Rows;
        public int Channels;
        public float Epsilon;
        public float* Variance, DGamma, DBeta, MeanError, ErrorSlope;
    }

    internal struct MergeArguments
    {
        public long Images;
        public int Parts, RowsPerImage, Channels;
        public float Momentum;
        public float* Statistics, Mean, Variance, RunningMean, RunningVariance;
    }

    internal struct BiasFinishArguments
    {
        public int Channels, Chunks;
        public float* Partials, Db;
    }

    internal struct FoldArguments
    {
        public int Channels;
        public float Epsilon;
        public float* Gamma, Beta, Mean, Variance, Scale, Bias;
    }

    internal struct ChannelAffineArguments
    {
        public long Rows;
        public int Channels, RowsPerBlock, Activation;
        public fixed byte Hole[4];
        public void* X;
        public float* Scale, Bias;
        public void* Residual, Y;
    }

    internal struct BackwardApplyArguments
    {
        public long Rows;
        public int Channels, RowsPerBlock, ReluAfter, ReluBefore;
        public void* X, Y, Dy;
        public float* Mean, Scale, Bias, MeanError, ErrorSlope;
        public void* Dx, DResidual;
    }
}
