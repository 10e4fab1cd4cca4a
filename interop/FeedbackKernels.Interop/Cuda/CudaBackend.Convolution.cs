using System.Runtime.CompilerServices;
using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

// native/conv_forward.cu, conv_feedback.cu, conv_weight_gradient.cu
public sealed unsafe partial class CudaBackend
{
    // Of native/product_tile.cuh.
    private const int TileRows = 128, TileColumns = 64, TileDepth = 16, TileThreads = 128;

    private readonly Dictionary<(ConvShape Shape, ConvPass Pass), ConvolutionPlans> _plans = [];

    internal override ConvExplanation ExplainCore(in ConvShape shape, ConvPass pass)
    {
        RequireIndexable(shape);
        if (Precision != CudaPrecision.Bf16) return ExplainPortable(shape, pass);
        (HopperConvolution plan, FewChannelsConvolution few, PipelineConvolution pipeline) = PlansOf(shape, pass);
        if (plan.Refusal is null) return plan.Explain(pass, ClassesOf(shape));
        ConvExplanation other = few.Refusal is null ? few.Explain(pass)
            : pipeline.Refusal is null ? pipeline.Explain(pass, ClassesOf(shape), SlicesOf(shape, pipeline).Count)
            : ExplainPortable(shape, pass);
        string refusal = pipeline.Refusal is null || pipeline.Refusal == plan.Refusal ? "" : $"; no copies ahead: {pipeline.Refusal}";
        return other with { Reason = $"{other.Reason}{refusal}; not by wgmma: {plan.Refusal}" };
    }

    /// <summary>What the tables say of a convolution on this device, asked once: a refusal is a text, and a step makes none.</summary>
    private ConvolutionPlans PlansOf(in ConvShape shape, ConvPass pass)
    {
        const string otherProducts = "products are in fp32";
        if (_plans.TryGetValue((shape, pass), out ConvolutionPlans plans)) return plans;
        bool tensorCores = Precision == CudaPrecision.Bf16;
        plans = new ConvolutionPlans(
            HopperConvolution.Choose(_device.Architecture, shape, pass),
            tensorCores ? FewChannelsConvolution.Choose(shape, pass) : new(otherProducts),
            tensorCores ? PipelineConvolution.Choose(shape, pass, OnlyTile) : new(otherProducts));
        _plans.Add((shape, pass), plans);
        return plans;
    }

    private ConvExplanation ExplainPortable(in ConvShape shape, ConvPass pass)
    {
        string tile = $"implicit GEMM {TileRows}x{TileColumns}x{TileDepth}, {(Precision == CudaPrecision.Bf16 ? "bf16 tensor cores" : "fp32")}";
        return pass switch
        {
            ConvPass.Forward => new(tile, "gathers taps into shared memory; epilogue and batch norm sums in the same pass"),
            ConvPass.Feedback when shape.Stride > 1 => new(
                $"{tile}, by residue class", $"{ClassesOf(shape)} classes of input pixels, each with the taps that reach it"),
            ConvPass.Feedback => new(tile, "gathers taps into shared memory, in reverse"),
            _ when SlicesOf(shape).Count == 1 => new(tile, "inputs by channels, reduced over all pixels"),
            _ => new($"{tile}, {SlicesOf(shape).Count} slices of the pixels", "inputs by channels, reduced over pixels; slices added in order"),
        };
    }

    internal override void ConvForwardCore(in ConvShape shape, BufferView x, BufferView w, BufferView y, in ConvEpilogue epilogue)
    {
        RequireIndexable(shape);
        BufferView weights = Operand(w, shape.WeightLength);
        if (HopperServes(shape, ConvPass.Forward, out HopperConvolution plan, x, weights, y, epilogue.Residual)
            && AllowWide(epilogue.Scale, epilogue.Bias))
        {
            HopperForward(plan, shape, x, weights, y, epilogue);
            return;
        }

        if (FewChannelsServe(shape, ConvPass.Forward, out FewChannelsConvolution few, x, weights, y, epilogue.Residual))
        {
            FewChannelsForward(few, shape, x, weights, y, epilogue);
            return;
        }

        bool piped = PipelineServes(shape, ConvPass.Forward, out PipelineConvolution pipeline, x, weights, y, epilogue.Residual);
        int tileRows = piped ? pipeline.Tile.Rows : TileRows;
        long pixels = (long)shape.N * shape.P * shape.Q, tiles = DivideUp(pixels, tileRows);
        string to = y.Type == ActivationType ? "" : $"_to_{NameOf(y.Type)}";
        ConvForwardArguments arguments = StartForward(shape, x, weights, y, epilogue, tiles);
        if (piped)
        {
            LaunchPipeline("conv_forward_pipelined", $"conv_forward_pipelined{to}", pipeline, 1, arguments, shape);
        }
        else
        {
            Launch(
                "conv_forward", $"conv_forward_{ProductName}{to}_{WidthOf(shape.C, x)}_{WidthOf(shape.K, weights, y, epilogue.Residual)}",
                new Grid(tiles, DivideUp(shape.K, TileColumns)), TileThreads, arguments, shape);
        }

        if (!epilogue.Statistics.IsAbsent) FinishStatistics(pixels, shape.K, tiles, tileRows, arguments.Partials, epilogue.Statistics);
    }

    private ConvForwardArguments StartForward(
        in ConvShape shape, BufferView x, BufferView weights, BufferView y, in ConvEpilogue epilogue, long tiles) => new()
        {
            Shape = new NativeConvShape(shape),
            Activation = (int)epilogue.Activation,
            X = x.Pointer,
            W = weights.Pointer,
            Y = y.Pointer,
            Scale = epilogue.Scale.Floats,
            Bias = epilogue.Bias.Floats,
            Residual = epilogue.Residual.Pointer,
            Partials = epilogue.Statistics.IsAbsent
                ? null
                : (float*)_scratch.Get(ScratchPurpose.ChannelPartials, tiles * 2 * shape.K * sizeof(float)),
        };

    internal override void ConvFeedbackCore(
        in ConvShape shape, BufferView dy, BufferView weights, FeedbackLayout layout, BufferView dx, bool accumulate)
    {
        RequireIndexable(shape);
        weights = Operand(weights, shape.WeightLength);
        if (HopperServes(shape, ConvPass.Feedback, out HopperConvolution plan, dy, weights, dx))
        {
            HopperFeedback(plan, shape, dy, weights, layout, dx, accumulate);
            return;
        }

        var arguments = new ConvFeedbackArguments
        {
            Shape = new NativeConvShape(shape),
            Accumulate = accumulate ? 1 : 0,
            Dy = dy.Pointer,
            Weights = weights.Pointer,
            Dx = dx.Pointer,
        };
        bool transposed = layout == FeedbackLayout.Forward;
        if (PipelineServes(shape, ConvPass.Feedback, out PipelineConvolution pipeline, dy, weights, dx))
        {
            LaunchPipeline(
                "conv_feedback_pipelined", transposed ? "conv_feedback_transposed_pipelined" : "conv_feedback_pipelined", pipeline,
                ClassesOf(shape), arguments, shape);
            return;
        }

        // The first class has the most pixels.
        long pixels = shape.N * DivideUp(shape.H, shape.Stride) * DivideUp(shape.W, shape.Stride);
        int widthDy = transposed ? WidthOf(shape.K, dy, weights) : WidthOf(shape.K, dy);
        int widthC = transposed ? WidthOf(shape.C, dx) : WidthOf(shape.C, dx, weights);
        Launch(
            "conv_feedback", $"conv_feedback_{(transposed ? "transposed_" : "")}{ProductName}_{widthDy}_{widthC}",
            new Grid(DivideUp(pixels, TileRows), DivideUp(shape.C, TileColumns), ClassesOf(shape)), TileThreads, arguments, shape);
    }

    internal override void ConvWeightGradientCore(in ConvShape shape, BufferView x, BufferView dy, BufferView dw)
    {
        RequireIndexable(shape);
        if (HopperServes(shape, ConvPass.WeightGradient, out HopperConvolution plan, x, dy) && AllowWide(dw))
        {
            HopperWeightGradient(plan, shape, x, dy, dw);
            return;
        }

        if (FewChannelsServe(shape, ConvPass.WeightGradient, out FewChannelsConvolution few, x, dy) && AllowWide(dw))
        {
            FewChannelsWeightGradient(few, shape, x, dy, dw);
            return;
        }

        bool piped = PipelineServes(shape, ConvPass.WeightGradient, out PipelineConvolution pipeline, x, dy, dw);
        // Where only the addresses are not for a pipeline, the slices are those that it would have: no bit depends on addresses.
        Slices slices = SlicesOf(shape, pipeline);
        var arguments = new ConvWeightGradientArguments
        {
            Shape = new NativeConvShape(shape),
            X = x.Pointer,
            Dy = dy.Pointer,
            Slices = StartSlices(shape, slices, dw, accumulate: false),
        };
        if (piped)
        {
            LaunchPipeline("conv_weight_gradient_pipelined", "conv_weight_gradient_pipelined", pipeline, slices.Count, arguments, shape);
        }
        else
        {
            Launch(
                "conv_weight_gradient", $"conv_weight_gradient_{ProductName}_{WidthOf(shape.C, x)}_{WidthOf(shape.K, dy, dw)}",
                GradientGrid(shape, slices), TileThreads, arguments, shape);
        }

        AddSlices(shape, slices, dw, accumulate: false);
    }

    private static long ClassesOf(in ConvShape shape) => (long)Math.Min(shape.Stride, shape.H) * Math.Min(shape.Stride, shape.W);

    /// <summary>Activations that a load moves: 16 bytes of them, or one where channels or addresses do not allow that.</summary>
    private int WidthOf(int channels, params ReadOnlySpan<BufferView> views)
    {
        int wide = 16 / ActivationType.Size();
        return channels % wide == 0 && AllowWide(views) ? wide : 1;
    }

    /// <summary>Weights as products read them: a Float32 operand of products in another type is rounded first.</summary>
    private BufferView Operand(BufferView weights, long length)
    {
        if (weights.Type == ActivationType) return weights;
        BufferView rounded = BufferView.FromPointer(
            _scratch.Get(ScratchPurpose.RoundedWeights, length * ActivationType.Size()), length, ActivationType);
        ConvertCore(length, weights, rounded);
        return rounded;
    }

    private static Grid GradientGrid(in ConvShape shape, Slices slices) =>
        new(DivideUp(shape.FanIn, TileRows), DivideUp(shape.K, TileColumns), slices.Count);

    /// <summary>
    /// How the pixels are cut: into as many slices as it takes to give a large device a block for each place, as long as a
    /// slice is worth a block. By the shape alone, so that sums have the same order on every device.
    /// </summary>
    private static Slices SlicesOf(in ConvShape shape)
    {
        const int blocksWanted = 264, fewestPixels = 128;
        long pixels = (long)shape.N * shape.P * shape.Q;
        long tiles = DivideUp(shape.FanIn, TileRows) * DivideUp(shape.K, TileColumns);
        long wanted = Math.Clamp(DivideUp(blocksWanted, tiles), 1, DivideUp(pixels, fewestPixels));
        long each = DivideUp(DivideUp(pixels, wanted), TileDepth) * TileDepth;
        return new Slices(checked((int)each), checked((int)DivideUp(pixels, each)));
    }

    private static Slices SlicesOf(in ConvShape shape, in PipelineConvolution pipeline) =>
        pipeline.Refusal is null && pipeline.PixelsPerSlice > 0
            ? new Slices(pipeline.PixelsPerSlice, checked((int)DivideUp((long)shape.N * shape.P * shape.Q, pipeline.PixelsPerSlice)))
            : SlicesOf(shape);

    private NativeGradientSlices StartSlices(in ConvShape shape, Slices slices, BufferView dw, bool accumulate) => new()
    {
        PixelsPerSlice = slices.Pixels,
        Accumulate = accumulate && slices.Count == 1 ? 1 : 0,
        Dw = slices.Count == 1
            ? dw.Floats
            : (float*)_scratch.Get(ScratchPurpose.GradientSlices, slices.Count * shape.WeightLength * sizeof(float)),
    };

    private void AddSlices(
        in ConvShape shape, Slices slices, BufferView dw, bool accumulate, [CallerMemberName] string operation = "")
    {
        if (slices.Count == 1) return;
        const int sumThreads = 256;
        var arguments = new SumSlicesArguments
        {
            Partials = (float*)_scratch.Get(ScratchPurpose.GradientSlices, slices.Count * shape.WeightLength * sizeof(float)),
            Dw = dw.Floats,
            Length = shape.WeightLength,
            Slices = slices.Count,
            Accumulate = accumulate ? 1 : 0,
        };
        Launch(
            "conv_weight_gradient", "sum_slices", new Grid(DivideUp(shape.WeightLength, sumThreads)), sumThreads, arguments, shape,
            operation: operation);
    }

    /// <summary>Inside one image, over all pixels and over all taps the kernels count in 32 bits.</summary>
    private static void RequireIndexable(in ConvShape shape)
    {
        Require("N*P*Q + a tile", (double)shape.N * shape.P * shape.Q + TileRows, shape);
        Require("N*H*W + a tile", (double)shape.N * shape.H * shape.W + TileRows, shape);
        Require("H*W*C", (double)shape.H * shape.W * shape.C, shape);
        Require("P*Q*K", (double)shape.P * shape.Q * shape.K, shape);
        Require("R*S*C + a tile", (double)shape.R * shape.S * shape.C + TileRows, shape);
        Require("R*S*K + a tile", (double)shape.R * shape.S * shape.K + TileRows, shape);

        static void Require(string what, double value, in ConvShape shape)
        {
            if (value > int.MaxValue)
                throw new NotSupportedException($"{what} of the convolution {shape} is {value:0}; the CUDA kernels count to {int.MaxValue}");
        }
    }

    private readonly record struct ConvolutionPlans(HopperConvolution Hopper, FewChannelsConvolution FewChannels, PipelineConvolution Pipeline);

    private readonly record struct Slices(int Pixels, int Count);

    private struct NativeGradientSlices
    {
        public int PixelsPerSlice, Accumulate;
        public float* Dw;
    }

    private struct ConvForwardArguments
    {
        public NativeConvShape Shape;
        public int Activation;
        public void* X, W, Y;
        public float* Scale, Bias;
        public void* Residual;
        public float* Partials;
    }

    private struct ConvFeedbackArguments
    {
        public NativeConvShape Shape;
        public int Accumulate;
        public void* Dy, Weights, Dx;
    }

    private struct ConvWeightGradientArguments
    {
        public NativeConvShape Shape;
        public fixed byte Hole[4];
        public void* X, Dy;
        public NativeGradientSlices Slices;
    }

    private struct SumSlicesArguments
    {
        public float* Partials, Dw;
        public long Length;
        public int Slices, Accumulate;
    }
}
