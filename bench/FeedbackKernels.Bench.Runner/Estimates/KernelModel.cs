using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench.Estimates;

/// <summary>The work of a launch, by the arguments that its kernel is given.</summary>
internal static class KernelModel
{
    /// <summary>The work of a launch.</summary>
    /// <exception cref="NotSupportedException">There is no model for a kernel with these arguments.</exception>
    public static KernelWork WorkOf(in LaunchFacts launch, object arguments, object sizes) => arguments switch
    {
        HopperConvolution.ConvGatherArguments a => HopperWork.Gather(launch, a, (ConvShape)sizes),
        HopperConvolution.GradientArguments a => HopperWork.Gradient(launch, a, (ConvShape)sizes),
        FewChannelsConvolution.FewChannelsForwardArguments a => TileWork.FewChannelsForward(a, (ConvShape)sizes),
        FewChannelsConvolution.FewChannelsGradientArguments a => TileWork.FewChannelsGradient(launch, a, (ConvShape)sizes),
        ConvForwardArguments a => TileWork.Forward(launch, a, (ConvShape)sizes),
        ConvFeedbackArguments a => TileWork.Feedback(launch, a, (ConvShape)sizes),
        ConvWeightGradientArguments => TileWork.Gradient(launch, (ConvShape)sizes),
        CudaBackend.SplitKSumArguments a => TileWork.SumOfSplits(a),
        CudaBackend.MirrorRespondArguments a => MirrorWork.Respond(launch, a),
        CudaBackend.MirrorCorrelateArguments a => MirrorWork.Correlate(launch, a),

        CudaBackend.ColumnSumsArguments a => NormWork.ColumnSums(launch, a),
        CudaBackend.BackwardSumsArguments a => NormWork.BackwardSums(launch, a),
        CudaBackend.StatisticsFinishArguments a => NormWork.Finish("norm finish", a.Chunks, a.Channels),
        CudaBackend.BackwardFinishArguments a => NormWork.Finish("norm finish", a.Chunks, a.Channels),
        CudaBackend.BiasFinishArguments a => NormWork.Finish("bias gradient", a.Chunks, a.Channels),
        CudaBackend.MergeArguments a => NormWork.Merge(a.Parts, a.Channels),
        CudaBackend.BackwardMeansArguments a => NormWork.Means(a.Channels),
        CudaBackend.FoldArguments a => NormWork.Fold(a.Channels),
        CudaBackend.ChannelAffineArguments a => NormWork.Affine(launch, a),
        CudaBackend.BackwardApplyArguments a => NormWork.BackwardApply(launch, a),

        CudaBackend.MaxPoolForwardArguments a => ElementWork.Pool(launch, a.Shape, sizeof(int), backward: false),
        CudaBackend.MaxPoolBackwardArguments a => ElementWork.Pool(launch, a.Shape, sizeof(int), backward: true),
        CudaBackend.AveragePoolArguments a => ElementWork.Pool(launch, a.Shape, 0, launch.Operation.Contains("Backward", StringComparison.Ordinal)),
        CudaBackend.ActivationForwardArguments a => ElementWork.Elements("activation", a.Length, 2 * launch.Bytes),
        CudaBackend.ActivationBackwardArguments a => ElementWork.Elements("activation", a.Length, 3 * launch.Bytes),
        CudaBackend.CrossEntropyArguments a => ElementWork.Loss(launch, a),
        CudaBackend.AugmentArguments a => ElementWork.Images(launch, a),
        CudaBackend.FillArguments a => ElementWork.Elements("fill", a.Length, ElementWork.BytesOf(launch.Kernel)),
        CudaBackend.FillGaussianArguments a => ElementWork.Elements("fill", a.Length, sizeof(float)),
        CudaBackend.ConvertArguments a => ElementWork.Elements("conversion", a.Length, ElementWork.BytesConverted(launch.Kernel)),

        CudaBackend.SgdUpdateArguments a => WeightWork.Update(launch, a),
        CudaBackend.SgdUpdateTransposedArguments a => WeightWork.UpdateTransposed(launch, a),
        CudaBackend.SgdUpdateSlabArguments a => WeightWork.UpdateSlab(launch, a, ((CudaBackend.Elements)sizes).Count),
        CudaBackend.SgdUpdateCoupledSlabArguments a => WeightWork.UpdateCoupled(launch, a, ((CudaBackend.Elements)sizes).Count),
        CudaBackend.ClipFactorArguments a => WeightWork.Finish("clip", a.Blocks),
        CudaBackend.TransposedCombineArguments a => WeightWork.Combine(launch, a),
        CudaBackend.SignTransposedArguments a => WeightWork.Sign(launch, a),
        CudaBackend.AlignArguments a => WeightWork.Align(a),
        CudaBackend.CompareArguments a => WeightWork.Compare(launch, a),
        CudaBackend.AlignmentFinishArguments a => WeightWork.Finish("comparison", a.Blocks),
        _ => throw new NotSupportedException($"the estimate has no model for kernel {launch.Kernel}, which takes {arguments.GetType().Name}"),
    };
}
