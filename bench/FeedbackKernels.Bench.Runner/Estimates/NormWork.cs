using FeedbackKernels.Interop;
using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Bench.Estimates;

/// <summary>The work of native/batch_norm.cu.</summary>
internal static unsafe class NormWork
{
    // Of native/batch_norm.cu: threads that share the rows of a chunk, and the chunks of a channel; and loads in flight.
    private const double Strips = 8, FinishStrips = 64, InFlight = 4;

    // Two numbers for each chunk and channel.
    private const int PartialBytes = 2 * sizeof(float);

    public static KernelWork ColumnSums(in LaunchFacts launch, in CudaBackend.ColumnSumsArguments arguments) => Sums(
        launch, launch.Operation == nameof(CudaBackend.BiasGradientCore) ? "bias gradient" : "norm statistics", arguments.Rows, arguments.Channels,
        arguments.RowsPerChunk, passes: 1);

    public static KernelWork BackwardSums(in LaunchFacts launch, in CudaBackend.BackwardSumsArguments arguments) => Sums(
        launch, "norm backward sums", arguments.Rows, arguments.Channels, arguments.RowsPerChunk, arguments.Y == null ? 2 : 3);

    /// <summary>A block adds the sums of all chunks of 8 channels: few blocks, and many loads one after the other.</summary>
    public static KernelWork Finish(string kind, int chunks, int channels)
    {
        // The sums of the strips are added pairwise, and what a channel gets is computed from them.
        const int tail = 2;
        return new KernelWork(kind, (double)PartialBytes * chunks * channels) { Rounds = Math.Ceiling(chunks / FinishStrips / InFlight) + tail };
    }

    public static KernelWork Fold(int channels) => new("norm fold", 6.0 * sizeof(float) * channels) { Rounds = 2 };

    public static KernelWork Means(int channels) => new("norm backward means", 5.0 * sizeof(float) * channels) { Rounds = 2 };

    /// <summary>A thread reads the parts of its channel twice: for the mean, and for the deviations from it.</summary>
    public static KernelWork Merge(int parts, int channels) =>
        new("norm merge", (4.0 * parts + 4) * sizeof(float) * channels) { Rounds = 2 * Math.Ceiling(parts / InFlight) + 1 };

    public static KernelWork Affine(in LaunchFacts launch, in CudaBackend.ChannelAffineArguments arguments) => new(
        "norm forward", (double)launch.Bytes * arguments.Rows * arguments.Channels * (arguments.Residual == null ? 2 : 3));

    public static KernelWork BackwardApply(in LaunchFacts launch, in CudaBackend.BackwardApplyArguments arguments)
    {
        int passes = 3 + (arguments.Y == null ? 0 : 1) + (arguments.DResidual == null ? 0 : 1);
        return new KernelWork("norm backward apply", (double)launch.Bytes * arguments.Rows * arguments.Channels * passes);
    }

    private static KernelWork Sums(in LaunchFacts launch, string kind, long rows, int channels, int rowsPerChunk, int passes) =>
        new(kind, (double)launch.Bytes * rows * channels * passes + (double)PartialBytes * DivideUp(rows, rowsPerChunk) * channels)
        {
            Rounds = Math.Ceiling(rowsPerChunk / Strips / InFlight),
        };
}
