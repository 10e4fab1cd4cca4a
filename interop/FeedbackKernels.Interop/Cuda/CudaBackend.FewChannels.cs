using System.Runtime.CompilerServices;

namespace FeedbackKernels.Interop;

// native/conv_forward_few_channels.cu, conv_weight_gradient_few_channels.cu
public sealed unsafe partial class CudaBackend
{
    /// <summary>Whether the kernels for few channels take the shape and what is given: bf16, and but for x on multiples of 16
    /// bytes.</summary>
    private bool FewChannelsServe(
        in ConvShape shape, ConvPass pass, out FewChannelsConvolution plan, BufferView x, params ReadOnlySpan<BufferView> views)
    {
        plan = PlansOf(shape, pass).FewChannels;
        if (plan.Refusal is not null || x.Type != ElementType.BFloat16) return false;
        foreach (BufferView view in views)
        {
            if (!view.IsAbsent && view.Type != ElementType.BFloat16) return false;
        }

        return AllowWide(views);
    }

    private void FewChannelsForward(
        in FewChannelsConvolution plan, in ConvShape shape, BufferView x, BufferView w, BufferView y, in ConvEpilogue epilogue,
        [CallerMemberName] string operation = "")
    {
        bool statistics = !epilogue.Statistics.IsAbsent;
        ConvForwardArguments forward = StartForward(shape, x, w, y, epilogue, plan.Boxes);
        int* counts = statistics ? (int*)_scratch.Get(ScratchPurpose.TileCounts, (long)plan.Boxes * sizeof(int)) : null;
        Launch(
            "conv_forward_few_channels", $"conv_forward_few_channels_{plan.Columns}", new Grid(plan.Tiles * plan.Blocks),
            FewChannelsConvolution.BlockThreads, new FewChannelsForwardArguments { Forward = forward, Counts = counts }, shape, plan.SharedBytes,
            operation);
        if (statistics)
        {
            FinishStatistics(
                (long)shape.N * shape.P * shape.Q, shape.K, plan.Boxes, 0, forward.Partials, epilogue.Statistics, counts, operation);
        }
    }

    private void FewChannelsWeightGradient(
        in FewChannelsConvolution plan, in ConvShape shape, BufferView x, BufferView dy, BufferView dw, [CallerMemberName] string operation = "")
    {
        var slices = new Slices(plan.BoxesPerBlock, plan.Blocks);
        var arguments = new FewChannelsGradientArguments
        {
            Shape = new NativeConvShape(shape),
            X = x.Pointer,
            Dy = dy.Pointer,
            Dw = StartSlices(shape, slices, dw, accumulate: false).Dw,
            BoxesPerSlice = plan.BoxesPerBlock,
        };
        Launch(
            "conv_weight_gradient_few_channels", $"conv_weight_gradient_few_channels_{plan.Rows}", new Grid(plan.Tiles, 1, plan.Blocks),
            FewChannelsConvolution.BlockThreads, arguments, shape, plan.SharedBytes, operation);
        AddSlices(shape, slices, dw, accumulate: false, operation);
    }

    private struct FewChannelsForwardArguments
    {
        public ConvForwardArguments Forward;
        public int* Counts;
    }

    private struct FewChannelsGradientArguments
    {
        public NativeConvShape Shape;
        public fixed byte Hole[4];
        public void* X, Dy;
        public float* Dw;
        public int BoxesPerSlice;
        public fixed byte End[4];
    }
}
