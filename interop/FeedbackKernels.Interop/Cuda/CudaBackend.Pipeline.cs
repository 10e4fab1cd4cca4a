using System.Runtime.CompilerServices;

namespace FeedbackKernels.Interop;

// native/conv_forward_pipelined.cu, conv_feedback_pipelined.cu, conv_weight_gradient_pipelined.cu
public sealed unsafe partial class CudaBackend
{
    private readonly Dictionary<(ConvShape Shape, ConvPass Pass), PipelineConvolution> _pipelineConvolutions = [];

    /// <summary>The one tile that pipelines use, which tests set; null for what the table of
    /// <see cref="PipelineConvolution"/> says.</summary>
    internal PipelineTile? OnlyTile { get; init; }

    private PipelineConvolution PipelinePlan(in ConvShape shape, ConvPass pass)
    {
        if (!_pipelineConvolutions.TryGetValue((shape, pass), out PipelineConvolution plan))
        {
            plan = Precision == CudaPrecision.Bf16 ? PipelineConvolution.Choose(shape, pass, OnlyTile) : new("products are in fp32");
            _pipelineConvolutions.Add((shape, pass), plan);
        }

        return plan;
    }

    /// <summary>Whether pipelines take the shape and what is given: a copy moves 16 bytes from a multiple of 16.</summary>
    private bool PipelineServes(in ConvShape shape, ConvPass pass, out PipelineConvolution plan, params ReadOnlySpan<BufferView> views)
    {
        plan = PipelinePlan(shape, pass);
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
