namespace FeedbackKernels.Interop;

/// <summary>
/// An entry of the CPU's list of convolution kernels. <see cref="CpuBackend"/> walks the list for an operation and for
/// <see cref="Backend.Explain(in ConvShape, ConvPass)"/>; the first entry that does not refuse the request serves it.
/// </summary>
internal abstract unsafe class CpuConvKernel
{
    /// <summary>The list, in order of preference. The last entry serves every request.</summary>
    public static ReadOnlySpan<CpuConvKernel> All => List;

    private static readonly CpuConvKernel[] List = [new Winograd(), new Pointwise(), new Direct()];

    /// <summary>Name of the kernel in explanations.</summary>
    public abstract string Name { get; }

    /// <summary>Why the kernel does not serve a request; null where it does.</summary>
    /// <param name="request">What is asked for.</param>
    /// <param name="tiles">The tiles of the SIMD level.</param>
    public abstract string? Refusal(in ConvRequest request, in TileSet tiles);

    /// <summary>What the kernel is for a request that it serves, and why.</summary>
    /// <param name="request">What is asked for.</param>
    /// <param name="tile">Micro-kernel and SIMD level, in words.</param>
    public abstract ConvExplanation Explain(in ConvRequest request, string tile);

    public void Run(CpuBackend backend, in ConvCall call)
    {
        switch (call.Request.Pass)
        {
            case ConvPass.Forward:
                RunForward(backend, call);
                break;
            case ConvPass.Feedback:
                RunFeedback(backend, call);
                break;
            default:
                RunWeightGradient(backend, call);
                break;
        }
    }

    protected abstract void RunForward(CpuBackend backend, in ConvCall call);

    protected abstract void RunFeedback(CpuBackend backend, in ConvCall call);

    protected abstract void RunWeightGradient(CpuBackend backend, in ConvCall call);

    /// <summary>Packs W and computes the forward pass as one gather.</summary>
    protected static void RunForward(CpuBackend backend, in ConvCall call, in ConvGeometry geometry, in GatherPlan plan)
    {
        CpuKernels* kernels = backend.Kernels;
        var output = new ConvOutput(kernels, call.Y, geometry, call.Accumulate, call.Epilogue);
        float* panels = backend.Pack(WeightPacking.Forward(kernels, call.Request.Shape, call.Weights, plan.Layout));
        var gather = new GatherConvolution(kernels, geometry, plan, call.X, output, panels);
        RunGather(backend, ref gather, call.Epilogue.Statistics);
    }

    /// <summary>Packs the weights of a residue class and computes its input pixels as one gather.</summary>
    protected static void RunFeedback(
        CpuBackend backend, in ConvCall call, in ResidueClass rows, in ResidueClass columns, in ConvGeometry geometry, in GatherPlan plan,
        bool clearsBetween = false)
    {
        CpuKernels* kernels = backend.Kernels;
        var output = new ConvOutput(kernels, call.X, geometry, call.Accumulate, default);
        float* panels = backend.Pack(
            WeightPacking.Feedback(kernels, call.Request.Shape, rows, columns, call.Weights, call.Layout, plan.Layout));
        var gather = new GatherConvolution(kernels, geometry, plan, call.Y, output, panels) { ClearsBetween = clearsBetween };
        RunGather(backend, ref gather, default);
    }

    /// <summary>Computes the weight gradient as a product whose reduction runs over pixels.</summary>
    protected static void RunWeightGradient(CpuBackend backend, in ConvCall call, bool pointwise)
    {
        var plan = new WeightGradientPlan(call.Request.Shape, backend.Kernels->Tiles, backend.Threads, pointwise);
        var gradient = new WeightGradientConvolution(backend.Kernels, plan)
        {
            X = call.X,
            Dy = call.Y,
            Dw = call.Weights,
            Accumulate = call.Accumulate,
            Blocks = backend.Scratch.Floats(ScratchUse.GradientBlocks, backend.Threads * plan.BlockFloats),
            Partials = backend.Scratch.Floats(ScratchUse.SplitSums, plan.PartialFloats),
        };
        gradient.Run(backend.Pool);
    }

    private static void RunGather(CpuBackend backend, ref GatherConvolution gather, in BatchStatistics statistics)
    {
        (long spread, long products) = (gather.Plan.SpreadFloats, gather.Plan.ProductFloats);
        if (spread > 0) gather.Spread = backend.Scratch.Floats(ScratchUse.SpreadPixels, backend.Threads * spread);
        if (products > 0) gather.Products = backend.Scratch.Floats(ScratchUse.ProductPixels, backend.Threads * products);
        backend.RunChunked(ref gather, gather.Plan.Layout.Columns, statistics);
    }
}
