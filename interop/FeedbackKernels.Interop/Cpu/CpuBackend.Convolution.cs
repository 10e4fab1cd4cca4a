using System.Diagnostics;

namespace FeedbackKernels.Interop;

public sealed unsafe partial class CpuBackend
{
    // The kernel of each request so far, and the scratch memory that it needs where that is limited. The list is walked once for each,
    // because a refusal is a text and a step allocates nothing.
    private readonly Dictionary<ConvRequest, (CpuConvKernel Kernel, long ScratchBytes)> _serving = [];

    internal override ConvExplanation ExplainCore(in ConvRequest request)
    {
        RequireIndexable(request.Shape);
        ConvRequest asked = request with { Exact = request.Exact || Exact };
        CpuConvKernel kernel = Choose(asked, out string refusals);
        int width = _kernels->Tiles.Panels(asked.Pass == ConvPass.Feedback ? asked.Shape.C : asked.Shape.K).Width(0);
        ConvExplanation explanation = kernel.Explain(asked, $"{_kernels->Tiles.MaxRows(width)}x{width}, {Level}");
        return explanation with { Reason = explanation.Reason + refusals };
    }

    internal override void ConvForwardCore(in ConvShape shape, BufferView x, BufferView w, BufferView y, in ConvEpilogue epilogue) =>
        RunConvolution(new ConvCall
        {
            Request = RequestOf(shape, ConvPass.Forward),
            X = x.Floats,
            Weights = w.Floats,
            Y = y.Floats,
            Epilogue = epilogue,
        });

    internal override void ConvFeedbackCore(
        in ConvShape shape, BufferView dy, BufferView weights, FeedbackLayout layout, BufferView dx, bool accumulate) =>
        RunConvolution(new ConvCall
        {
            Request = RequestOf(shape, ConvPass.Feedback),
            X = dx.Floats,
            Weights = weights.Floats,
            Y = dy.Floats,
            Layout = layout,
            Accumulate = accumulate,
        });

    internal override void ConvWeightGradientCore(in ConvShape shape, BufferView x, BufferView dy, BufferView dw) =>
        RunConvolution(new ConvCall
        {
            Request = RequestOf(shape, ConvPass.WeightGradient),
            X = x.Floats,
            Weights = dw.Floats,
            Y = dy.Floats,
        });

    /// <summary>Packs weights into panels, in scratch memory.</summary>
    internal float* Pack(WeightPacking packing)
    {
        packing.Panels = _scratch.Floats(ScratchUse.Panels, packing.PanelFloats);
        _pool.Run(packing.Items, ref packing);
        return packing.Panels;
    }

    /// <summary>Runs a convolution, and merges the statistics of its chunks where they are wanted.</summary>
    internal void RunChunked<T>(ref T convolution, int columns, in BatchStatistics statistics)
        where T : struct, IChunkedConvolution
    {
        if (statistics.IsAbsent)
        {
            convolution.Run(_pool, null);
            return;
        }

        int chunks = convolution.Chunks;
        int* chunkPixels = _scratch.Ints(ScratchUse.ChunkRows, chunks);
        for (int i = 0; i < chunks; i++) chunkPixels[i] = convolution.ChunkPixels(i);
        float* chunkStatistics = _scratch.Floats(ScratchUse.ChunkResults, (long)chunks * 3 * columns);
        convolution.Run(_pool, chunkStatistics);
        MergeStatistics(chunkStatistics, chunkPixels, chunks, columns, statistics);
    }

    private ConvRequest RequestOf(in ConvShape shape, ConvPass pass) => ConvRequest.Of(shape, pass, ElementType.Float32) with { Exact = Exact };

    private void RunConvolution(in ConvCall call)
    {
        RequireIndexable(call.Request.Shape);
        if (!_serving.TryGetValue(call.Request, out (CpuConvKernel Kernel, long ScratchBytes) serving))
        {
            serving = (Choose(call.Request, out _), _scratch.IsLimited ? ScratchBytesOf(call.Request) : 0);
            _serving.Add(call.Request, serving);
        }

        _scratch.Require(serving.ScratchBytes);
        serving.Kernel.Run(this, call);
    }

    /// <summary>Scratch memory of a convolution. A forward pass includes the statistics of the batch, whether they are wanted or not.</summary>
    internal long ScratchBytesOf(ConvRequest request) => MeasureScratch(backend => backend.RunConvolution(new ConvCall
    {
        Request = request,
        Epilogue = request.Pass == ConvPass.Forward
            ? new ConvEpilogue(Statistics: new BatchStatistics(BufferView.FromPointer(1, 1), BufferView.FromPointer(1, 1)))
            : default,
    }));

    /// <summary>The first kernel of the list that serves a request, and the refusals of those before it.</summary>
    private CpuConvKernel Choose(in ConvRequest request, out string refusals)
    {
        refusals = "";
        foreach (CpuConvKernel kernel in CpuConvKernel.All)
        {
            string? refusal = kernel.Refusal(request, _kernels->Tiles);
            if (refusal is null) return kernel;
            refusals += $"; not {kernel.Name}: {refusal}";
        }

        throw new UnreachableException("the last kernel of the list refuses nothing");
    }

    /// <summary>The kernels count all pixels of a batch in 32 bits.</summary>
    private static void RequireIndexable(in ConvShape shape)
    {
        long pixels = shape.N * Math.Max((long)shape.H * shape.W, (long)shape.P * shape.Q);
        if (pixels > int.MaxValue)
            throw new NotSupportedException($"the convolution {shape} has {pixels} pixels; the CPU kernels count to {int.MaxValue}");
    }
}
