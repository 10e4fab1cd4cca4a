namespace FeedbackKernels.Interop;

/// <summary>An entry of the list of convolution kernels.</summary>
/// <param name="Name">What explanations call it.</param>
/// <param name="Refusal">Why it does not serve a request on this backend; null where it does.</param>
/// <param name="Prepare">Makes the plan of a request that it serves.</param>
internal sealed record CudaConvKernel(
    string Name, Func<CudaBackend, ConvRequest, string?> Refusal, Func<CudaBackend, ConvRequest, CudaConvolution> Prepare);

/// <summary>
/// The kernels of convolutions in the order of preference. The first that does not refuse a request serves it, in a run and in an
/// explanation alike.
/// </summary>
internal sealed class CudaConvKernels(CudaBackend backend)
{
    // Texts and plans are made once for each request: a step allocates nothing.
    private readonly Dictionary<ConvRequest, CudaConvolution> _prepared = [];

    /// <summary>The list. The last kernel refuses nothing.</summary>
    public static IReadOnlyList<CudaConvKernel> List { get; } =
        [HopperConvolution.Kernel, FewChannelsConvolution.Kernel, PipelinedConvolution.Kernel, PortableConvolution.Kernel];

    /// <summary>The kernel that serves a request, with its plan.</summary>
    public CudaConvolution For(in ConvRequest request)
    {
        if (_prepared.TryGetValue(request, out CudaConvolution? known)) return known;
        CudaConvolution chosen = Choose(request, []);
        _prepared.Add(request, chosen);
        return chosen;
    }

    /// <summary>The kernel that serves a request, and why those before it in the list do not.</summary>
    public ConvExplanation Explain(in ConvRequest request)
    {
        var refused = new List<(string Kernel, string Refusal)>();
        ConvExplanation served = Choose(request, refused).Explain();
        IEnumerable<string> refusals = refused.GroupBy(r => r.Refusal, r => r.Kernel).Select(r => $"; not {string.Join(", ", r)}: {r.Key}");
        return served with { Reason = served.Reason + string.Concat(refusals) };
    }

    private CudaConvolution Choose(in ConvRequest request, List<(string Kernel, string Refusal)> refused)
    {
        foreach (CudaConvKernel kernel in List.SkipWhile(k => k.Name != backend.FirstKernel))
        {
            if (kernel.Refusal(backend, request) is not { } refusal) return kernel.Prepare(backend, request);
            refused.Add((kernel.Name, refusal));
        }

        throw new InvalidOperationException($"no kernel serves {request}");
    }
}

/// <summary>A kernel that serves one request, with its plan.</summary>
internal abstract class CudaConvolution(CudaBackend backend, in ConvRequest request)
{
    /// <summary>Refusals that several kernels have.</summary>
    protected const string Float32Operands = "operands are fp32", Float32Result = "y is fp32", Misaligned = "an address is not a multiple of 16";

    private readonly ConvRequest _request = request;

    protected CudaBackend Backend => backend;

    protected ConvShape Shape => _request.Shape;

    protected ConvPass Pass => _request.Pass;

    /// <summary>Which kernel this is, and why it serves.</summary>
    public abstract ConvExplanation Explain();

    public virtual void Forward(BufferView x, BufferView w, BufferView y, in ConvEpilogue epilogue) => throw Unserved();

    public virtual void Feedback(BufferView dy, BufferView weights, FeedbackLayout layout, BufferView dx, bool accumulate) => throw Unserved();

    public virtual void WeightGradient(BufferView x, BufferView dy, BufferView dw) => throw Unserved();

    /// <summary>Whether all tensors of a request start on multiples of 16 bytes.</summary>
    protected static bool IsAligned(in ConvRequest request) => request.Alignment % 16 == 0 && request.XAlignment % 16 == 0;

    /// <summary>Queues a kernel of this convolution.</summary>
    protected void Launch<TArguments>(CudaKernel kernel, CudaBackend.Grid grid, int threads, in TArguments arguments, int sharedBytes = 0)
        where TArguments : unmanaged =>
        backend.Launch(kernel, grid, threads, arguments, Shape, sharedBytes, Operation);

    /// <summary>Scratch memory for the statistics of tiles; null where none are wanted.</summary>
    protected unsafe float* Partials(in ConvEpilogue epilogue, long tiles) =>
        epilogue.Statistics.IsAbsent
            ? null
            : (float*)backend.Scratch.Get(ScratchPurpose.ChannelPartials, tiles * 2 * Shape.K * sizeof(float));

    /// <summary>Scratch memory for the number of rows of each tile; null where no statistics are wanted.</summary>
    protected unsafe int* Counts(in ConvEpilogue epilogue, long tiles) =>
        epilogue.Statistics.IsAbsent ? null : (int*)backend.Scratch.Get(ScratchPurpose.TileCounts, tiles * sizeof(int));

    /// <summary>Merges the statistics of tiles where they are wanted.</summary>
    protected unsafe void FinishStatistics(in ConvEpilogue epilogue, long tiles, int rowsPerTile, float* partials, int* counts)
    {
        if (epilogue.Statistics.IsAbsent) return;
        backend.FinishStatistics(
            (long)Shape.N * Shape.P * Shape.Q, Shape.K, tiles, rowsPerTile, partials, epilogue.Statistics, counts, Operation);
    }

    /// <summary>Where the splits of a weight gradient are written.</summary>
    protected NativeSplitK SplitTarget(in SplitK split, BufferView dw) => backend.SplitTarget(Shape, split, dw, accumulate: false);

    /// <summary>Adds the partial sums of the splits of a weight gradient.</summary>
    protected void AddSplits(in SplitK split, BufferView dw) => backend.AddSplits(Shape, split, dw, accumulate: false, Operation);

    private string Operation => Pass switch
    {
        ConvPass.Forward => nameof(CudaBackend.ConvForwardCore),
        ConvPass.Feedback => nameof(CudaBackend.ConvFeedbackCore),
        _ => nameof(CudaBackend.ConvWeightGradientCore),
    };

    private InvalidOperationException Unserved() => new($"{GetType().Name} does not serve this pass of {_request}");
}
