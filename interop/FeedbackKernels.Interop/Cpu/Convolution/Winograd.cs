using System.Diagnostics;
using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>3x3 convolutions of stride 1 by Winograd's algorithm, where the products that it saves cost more than its transforms.</summary>
internal sealed unsafe class Winograd : CpuConvKernel
{
    // With fewer channels or output pixels, the transforms and the calls of 36 small products cost what the products save.
    private const int FewestChannels = 16, SmallestMap = 7, FewestPixels = 512, MostPadding = 2;

    public override string Name => "Winograd";

    public override string? Refusal(in ConvRequest request, in TileSet tiles)
    {
        ConvShape shape = request.Shape;
        long pixels = (long)shape.N * shape.P * shape.Q;
        if (request.Exact) return "exact sums are wanted";
        if (shape is not { R: 3, S: 3, Stride: 1, Padding: <= MostPadding })
            return $"{shape.R}x{shape.S} filters, stride {shape.Stride}, padding {shape.Padding} (wanted 3x3, stride 1, padding up to {MostPadding})";
        if (tiles.Lanes == 1) return "it needs vectors of channels";
        if (Math.Min(shape.C, shape.K) < FewestChannels) return $"{shape.C} and {shape.K} channels (wanted at least {FewestChannels})";
        if (shape.C % tiles.Lanes != 0 || shape.K % tiles.Lanes != 0)
            return $"{shape.C} and {shape.K} channels are not both multiples of a vector's {tiles.Lanes}";
        if (Math.Min(shape.P, shape.Q) < SmallestMap) return $"outputs of {shape.P}x{shape.Q} (wanted at least {SmallestMap}x{SmallestMap})";
        return pixels < FewestPixels ? $"{pixels} output pixels (wanted at least {FewestPixels})" : null;
    }

    public override ConvExplanation Explain(in ConvRequest request, string tile)
    {
        ConvShape shape = request.Shape;
        (int height, int width) = request.Pass == ConvPass.Feedback ? (shape.H, shape.W) : (shape.P, shape.Q);
        return new TileGrid(shape.N, height, width).IsMixed
            ? new(
                $"Winograd F(4x4 3x3) + F(3x3 3x3) {tile}",
                "3x3, stride 1: 36 products for a 4x4 tile of outputs instead of 144, and 25 instead of 81 at the end of the map")
            : new($"Winograd F(4x4 3x3) {tile}", "3x3, stride 1: 36 products for a 4x4 tile of outputs instead of 144");
    }

    protected override void RunForward(CpuBackend backend, in ConvCall call)
    {
        CpuKernels* kernels = backend.Kernels;
        ConvShape shape = call.Request.Shape;
        ConvGeometry geometry = ConvGeometry.Forward(shape);
        WinogradPlan plan = WinogradPlan.Of(geometry, kernels->Tiles);
        Run(
            backend, plan, call.X, new ConvOutput(kernels, call.Y, geometry, call.Accumulate, call.Epilogue),
            WeightPacking.Forward(kernels, shape, call.Weights, plan.Layout), call.Epilogue.Statistics);
    }

    protected override void RunFeedback(CpuBackend backend, in ConvCall call)
    {
        CpuKernels* kernels = backend.Kernels;
        ConvShape shape = call.Request.Shape;
        ResidueClass rows = ResidueClass.OfRows(shape, 0), columns = ResidueClass.OfColumns(shape, 0);
        ConvGeometry geometry = ConvGeometry.Feedback(shape, rows, columns);
        WinogradPlan plan = WinogradPlan.Of(geometry, kernels->Tiles);
        Run(
            backend, plan, call.Y, new ConvOutput(kernels, call.X, geometry, call.Accumulate, default),
            WeightPacking.Feedback(kernels, shape, rows, columns, call.Weights, call.Layout, plan.Layout), default);
    }

    protected override void RunWeightGradient(CpuBackend backend, in ConvCall call)
    {
        Debug.Assert(!call.Accumulate, "only the weight mirror accumulates, and it asks for exact sums");
        ConvShape shape = call.Request.Shape;
        var plan = new WinogradGradientPlan(shape, backend.Kernels->Tiles);
        float* zeros = Zeros(backend, Math.Max(shape.C, shape.K));
        WinogradMap input = WinogradMap.Of(call.X, shape.H, shape.W, shape.C, plan.Grid, zeros);
        input.OriginRow = input.OriginColumn = shape.Padding;
        WinogradMap error = WinogradMap.Of(call.Y, shape.P, shape.Q, shape.K, plan.Grid, zeros);
        error.Overlap = 0;
        var gradient = new WinogradGradientConvolution
        {
            Kernels = backend.Kernels,
            Plan = plan,
            Input = input,
            Error = error,
            Dw = call.Weights,
            Tiles = backend.Scratch.Floats(ScratchUse.WinogradTiles, plan.TileFloats(backend.Threads)),
            Errors = backend.Scratch.Floats(ScratchUse.WinogradProducts, plan.ErrorFloats(backend.Threads)),
            Sums = backend.Scratch.Floats(ScratchUse.WinogradSums, plan.SumFloats),
        };
        gradient.Run(backend.Pool);
    }

    private static void Run(
        CpuBackend backend, in WinogradPlan plan, float* input, in ConvOutput output, in WeightPacking packing, in BatchStatistics statistics)
    {
        var winograd = new WinogradConvolution(backend.Kernels, plan, input, output, packing, Zeros(backend, plan.Geometry.InputChannels))
        {
            Weights = backend.Scratch.Floats(ScratchUse.WinogradWeights, plan.WeightFloats(backend.Threads)),
            Tiles = backend.Scratch.Floats(ScratchUse.WinogradTiles, plan.TileFloats(backend.Threads)),
            Products = backend.Scratch.Floats(ScratchUse.WinogradProducts, plan.ProductFloats(backend.Threads)),
        };
        backend.RunChunked(ref winograd, plan.Layout.Columns, statistics);
    }

    private static float* Zeros(CpuBackend backend, int channels)
    {
        long count = WinogradMap.ZeroFloats(channels);
        float* zeros = backend.Scratch.Floats(ScratchUse.WinogradZeros, count);
        NativeMemory.Clear(zeros, checked((nuint)count * sizeof(float)));
        return zeros;
    }
}
