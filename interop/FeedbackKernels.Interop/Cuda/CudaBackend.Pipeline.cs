using System.Runtime.CompilerServices;

namespace FeedbackKernels.Interop;

// native/conv_forward_pipelined.cu, conv_feedback_pipelined.cu, conv_weight_gradient_pipelined.cu
public sealed unsafe partial class CudaBackend
{
    /// <summary>The one tile that pipelines use, which tests set; null for what the table of
    /// <see cref="PipelineConvolution"/> says.</summary>
    internal PipelineTile? OnlyTile { get; init; }

    /// <summary>Whether pipelines take the shape and what is given: a copy moves 16 bytes from a multiple of 16.</summary>
    private bool PipelineServes(in ConvShape shape, ConvPass pass, out PipelineConvolution plan, params ReadOnlySpan<BufferView> views)
    {
        plan = PlansOf(shape, pass).Pipeline;
        return plan.Refusal is null && AllowWide(views);
    }

    private void LaunchPipeline<TArguments>(
        string file, string kernel, in PipelineConvolution plan, long layers, in TArguments arguments, in ConvShape shape,
        [CallerMemberName] string operation = "")
        where TArguments : unmanaged =>
        Launch(
            file, $"{kernel}_{plan.Tile.Rows}_{plan.Tile.Columns}", new Grid(plan.Tiles, 1, layers), PipelineConvolution.BlockThreads, arguments, shape,
            plan.Tile.SharedBytes, operation);
}
