namespace FeedbackKernels.Interop;

/// <summary>
/// 1x1 convolutions without padding, linear layers among them. Rows and images do not matter, so all pixels of the batch are one row of a
/// matrix product; a stride only chooses the pixels.
/// </summary>
internal sealed unsafe class Pointwise : CpuConvKernel
{
    public override string Name => "pointwise";

    public override string? Refusal(in ConvRequest request, in TileSet tiles)
    {
        ConvShape shape = request.Shape;
        if (shape is not { R: 1, S: 1, Padding: 0 }) return $"{shape.R}x{shape.S} filters, padding {shape.Padding} (wanted 1x1 without padding)";
        return request.Pass == ConvPass.WeightGradient && WeightGradientPlan.FillsNoStrip(shape)
            ? $"{shape.C} input channels do not fill a strip of {WeightGradientPlan.StripFloats}"
            : null;
    }

    public override ConvExplanation Explain(in ConvRequest request, string tile) => request.Pass == ConvPass.WeightGradient
        ? new($"pointwise {tile}", "tiles of C by K, reduced over the pixels of the batch as one row")
        : new($"pointwise {tile}", "1x1: all pixels of the batch as one row");

    protected override void RunForward(CpuBackend backend, in ConvCall call)
    {
        ConvGeometry geometry = ConvGeometry.Forward(call.Request.Shape);
        RunForward(backend, call, geometry, GatherPlan.Pointwise(geometry, backend.Kernels->Tiles));
    }

    protected override void RunFeedback(CpuBackend backend, in ConvCall call)
    {
        // The one tap reaches the first residue class. It clears the pixels of the others on the way where it scatters its results.
        ConvShape shape = call.Request.Shape;
        ResidueClass rows = ResidueClass.OfRows(shape, 0), columns = ResidueClass.OfColumns(shape, 0);
        ConvGeometry geometry = ConvGeometry.Feedback(shape, rows, columns);
        GatherPlan plan = GatherPlan.Pointwise(geometry, backend.Kernels->Tiles);
        bool clears = plan.Scatters && !call.Accumulate;
        RunFeedback(backend, call, rows, columns, geometry, plan, clears);
        if (clears) return;
        for (int row = 0; row < ResidueClass.RowClasses(shape); row++)
        {
            for (int column = row == 0 ? 1 : 0; column < ResidueClass.ColumnClasses(shape); column++) Direct.RunClass(backend, call, row, column);
        }
    }

    protected override void RunWeightGradient(CpuBackend backend, in ConvCall call) => RunWeightGradient(backend, call, pointwise: true);
}
