namespace FeedbackKernels.Interop;

/// <summary>The portable kernel, which serves every convolution: it forms each sum from its products, without im2col.</summary>
internal sealed unsafe class Direct : CpuConvKernel
{
    public override string Name => "direct";

    public override string? Refusal(in ConvRequest request, in TileSet tiles) => null;

    public override ConvExplanation Explain(in ConvRequest request, string tile) => request.Pass switch
    {
        ConvPass.WeightGradient => new(
            $"direct {tile}", "tiles of C by K, reduced over pixels; taps on the padding are left out"),
        ConvPass.Feedback when request.Shape.Stride > 1 => new(
            $"direct {tile}", $"{ResidueClass.Classes(request.Shape)} residue classes of input pixels, each with the taps that reach it"),
        _ => new($"direct {tile}", "no im2col: a run of (column, channel) for each filter row; taps on the padding are left out"),
    };

    protected override void RunForward(CpuBackend backend, in ConvCall call)
    {
        ConvGeometry geometry = ConvGeometry.Forward(call.Request.Shape);
        RunForward(backend, call, geometry, GatherPlan.Of(geometry, backend.Kernels->Tiles));
    }

    protected override void RunFeedback(CpuBackend backend, in ConvCall call)
    {
        ConvShape shape = call.Request.Shape;
        for (int row = 0; row < ResidueClass.RowClasses(shape); row++)
        {
            for (int column = 0; column < ResidueClass.ColumnClasses(shape); column++) RunClass(backend, call, row, column);
        }
    }

    protected override void RunWeightGradient(CpuBackend backend, in ConvCall call) => RunWeightGradient(backend, call, pointwise: false);

    /// <summary>Computes the input pixels of a residue class. A class that no tap reaches is cleared, and left alone where results are added.</summary>
    public static void RunClass(CpuBackend backend, in ConvCall call, int row, int column)
    {
        ConvShape shape = call.Request.Shape;
        ResidueClass rows = ResidueClass.OfRows(shape, row), columns = ResidueClass.OfColumns(shape, column);
        if (rows.Taps * columns.Taps == 0 && call.Accumulate) return;
        ConvGeometry geometry = ConvGeometry.Feedback(shape, rows, columns);
        ref readonly TileSet tiles = ref backend.Kernels->Tiles;
        // A class that one tap reaches without padding is a 1x1 convolution of its own.
        GatherPlan plan = geometry.IsPointwise ? GatherPlan.Pointwise(geometry, tiles) : GatherPlan.Of(geometry, tiles);
        RunFeedback(backend, call, rows, columns, geometry, plan);
    }
}
