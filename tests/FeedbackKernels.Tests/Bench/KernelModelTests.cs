using FeedbackKernels.Bench.Estimates;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Bench;

/// <summary>The work of each kernel, by hand: bytes, products, and loads that wait for each other.</summary>
public unsafe class KernelModelTests
{
    private static readonly void* Given = (void*)64;

    // Sizes that differ: 2 images of 10x12 with 8 channels, 3x2 taps of stride 2 and padding 1 make 5x7 with 16 channels.
    private static readonly ConvShape Strided = new(2, 10, 12, 8, 16, 3, 2, 2, 1);

    [Fact]
    public void Norms()
    {
        // 100 rows in chunks of 40 are three; 8 threads share the rows of a chunk and have 4 loads in flight; two numbers for each chunk.
        AssertWork(
            new KernelWork("norm statistics", 2 * 1000 + 3 * 10 * 8) { Rounds = 2 },
            Bf16("column_sums_bf16", nameof(CudaBackend.BatchNormStatisticsCore)),
            new CudaBackend.ColumnSumsArguments { Rows = 100, Channels = 10, RowsPerChunk = 40 });
        AssertWork(
            new KernelWork("bias gradient", 4 * 1000 + 3 * 10 * 8) { Rounds = 2 },
            Fp32("column_sums_fp32", nameof(CudaBackend.BiasGradientCore)),
            new CudaBackend.ColumnSumsArguments { Rows = 100, Channels = 10, RowsPerChunk = 40 });
        // x and dy; y as well where it says which outputs were positive.
        AssertWork(
            new KernelWork("norm backward sums", 2 * 2 * 1000 + 240) { Rounds = 2 }, Bf16("batch_norm_backward_sums_bf16_2"),
            new CudaBackend.BackwardSumsArguments { Rows = 100, Channels = 10, RowsPerChunk = 40 });
        AssertWork(
            new KernelWork("norm backward sums", 3 * 2 * 1000 + 240) { Rounds = 2 }, Bf16("batch_norm_backward_sums_bf16_2"),
            new CudaBackend.BackwardSumsArguments { Rows = 100, Channels = 10, RowsPerChunk = 40, Y = Given });
        // 600 chunks by 64 threads of 4 loads are two and a third rounds; two more to add up the threads.
        var finish = new KernelWork("norm finish", 8 * 600 * 10) { Rounds = 3 + 2 };
        AssertWork(finish, Bf16("batch_norm_finish"), new CudaBackend.StatisticsFinishArguments { Chunks = 600, Channels = 10 });
        AssertWork(finish, Bf16("batch_norm_backward_finish"), new CudaBackend.BackwardFinishArguments { Chunks = 600, Channels = 10 });
        AssertWork(
            finish with { Kind = "bias gradient" }, Bf16("bias_finish"), new CudaBackend.BiasFinishArguments { Chunks = 600, Channels = 10 });
        // Six vectors, and five.
        AssertWork(
            new KernelWork("norm fold", 6 * 4 * 10) { Rounds = 2 }, Bf16("batch_norm_fold"),
            new CudaBackend.FoldArguments { Channels = 10 });
        AssertWork(
            new KernelWork("norm backward means", 5 * 4 * 10) { Rounds = 2 }, Bf16("batch_norm_backward_means"),
            new CudaBackend.BackwardMeansArguments { Channels = 10 });
        // Mean and variance of nine processes, read twice; four vectors of results. Nine loads, four at a time, twice.
        AssertWork(
            new KernelWork("norm merge", (2 * 2 * 9 + 4) * 4 * 10) { Rounds = 2 * 3 + 1 }, Bf16("batch_norm_merge"),
            new CudaBackend.MergeArguments { Parts = 9, Channels = 10 });
    }

    [Fact]
    public void Norms_applied()
    {
        var forward = new CudaBackend.ChannelAffineArguments { Rows = 100, Channels = 10 };
        AssertWork(new KernelWork("norm forward", 2 * 2 * 1000), Bf16("channel_affine_bf16_8"), forward);
        forward.Residual = Given;
        AssertWork(new KernelWork("norm forward", 3 * 4 * 1000), Fp32("channel_affine_fp32_8"), forward);

        // x, dy and dx; y and the errors of a residual path where there are some.
        var backward = new CudaBackend.BackwardApplyArguments { Rows = 100, Channels = 10 };
        AssertWork(new KernelWork("norm backward apply", 3 * 2 * 1000), Bf16("batch_norm_backward_apply_bf16_8"), backward);
        backward.Y = Given;
        AssertWork(new KernelWork("norm backward apply", 4 * 2 * 1000), Bf16("batch_norm_backward_apply_bf16_8"), backward);
        backward.DResidual = Given;
        AssertWork(new KernelWork("norm backward apply", 5 * 4 * 1000), Fp32("batch_norm_backward_apply_fp32_8"), backward);
    }

    [Fact]
    public void Elements_of_activations()
    {
        // 2 images of 7x9 with 5 channels, windows of 3x3 with stride 2 and padding 1: 4x5.
        var pool = new NativePoolShape(new PoolShape(2, 7, 9, 5, 3, 3, 2, 1));
        const int inputs = 2 * 7 * 9 * 5, outputs = 2 * 4 * 5 * 5;
        AssertWork(
            new KernelWork("pooling", 2 * (inputs + outputs) + 4 * outputs, Figure.PoolForwardHbm), Bf16("max_pool_forward_bf16"),
            new CudaBackend.MaxPoolForwardArguments { Shape = pool });
        AssertWork(
            new KernelWork("pooling", 4 * (inputs + outputs) + 4 * outputs, Figure.PoolBackwardHbm), Fp32("max_pool_backward_fp32"),
            new CudaBackend.MaxPoolBackwardArguments { Shape = pool });
        AssertWork(
            new KernelWork("pooling", 2 * (inputs + outputs), Figure.PoolForwardHbm),
            Bf16("average_pool_forward_bf16", nameof(CudaBackend.AveragePoolForwardCore)),
            new CudaBackend.AveragePoolArguments { Shape = pool });
        AssertWork(
            new KernelWork("pooling", 2 * (inputs + outputs), Figure.PoolBackwardHbm),
            Bf16("average_pool_backward_bf16", nameof(CudaBackend.AveragePoolBackwardCore)),
            new CudaBackend.AveragePoolArguments { Shape = pool });
        AssertWork(
            new KernelWork("activation", 2 * 2 * 100), Bf16("activation_forward_bf16"),
            new CudaBackend.ActivationForwardArguments { Length = 100 });
        AssertWork(
            new KernelWork("activation", 3 * 4 * 100), Fp32("activation_backward_fp32"),
            new CudaBackend.ActivationBackwardArguments { Length = 100 });
        // Bytes in, activations out.
        AssertWork(
            new KernelWork("images", (1 + 2) * 2 * 8 * 9 * 3), Bf16("augment_bf16"),
            new CudaBackend.AugmentArguments { N = 2, H = 8, W = 9, C = 3 });
        AssertWork(new KernelWork("fill", 4 * 100), Bf16("fill_fp32"), new CudaBackend.FillArguments { Length = 100 });
        AssertWork(new KernelWork("fill", 2 * 100), Fp32("fill_bf16"), new CudaBackend.FillArguments { Length = 100 });
        AssertWork(new KernelWork("fill", 4 * 100), Bf16("fill_gaussian"), new CudaBackend.FillGaussianArguments { Length = 100 });
        AssertWork(new KernelWork("conversion", (4 + 2) * 100), Fp32("convert_fp32_to_bf16"), new CudaBackend.ConvertArguments { Length = 100 });
        AssertWork(new KernelWork("conversion", (2 + 2) * 100), Fp32("convert_bf16_to_bf16"), new CudaBackend.ConvertArguments { Length = 100 });
    }

    [Fact]
    public void Loss()
    {
        // Logits may be binary32 beside errors in bf16. In an evaluation there are no errors.
        var loss = new CudaBackend.CrossEntropyArguments { Rows = 7, Classes = 10 };
        AssertWork(new KernelWork("loss", 2 * 70) { Rounds = 4 }, Bf16("cross_entropy_bf16_bf16"), loss);
        loss.DLogits = Given;
        AssertWork(new KernelWork("loss", (4 + 2) * 70) { Rounds = 4 }, Bf16("cross_entropy_fp32_bf16"), loss);
        AssertWork(new KernelWork("loss", (2 + 2) * 70) { Rounds = 4 }, Bf16("cross_entropy_bf16_bf16"), loss);
    }

    [Fact]
    public void Updates()
    {
        // Value and velocity are read and written, the gradient is read; a copy in bf16 where products need one.
        AssertWork(new KernelWork("update", 5 * 4 * 100), Bf16("sgd_update"), new CudaBackend.SgdUpdateArguments { Length = 100 });
        AssertWork(
            new KernelWork("update", (5 * 4 + 2) * 100), Bf16("sgd_update"),
            new CudaBackend.SgdUpdateArguments { Length = 100, Copy = Given });
        AssertWork(
            new KernelWork("update", (5 * 4 + 2) * 100), Bf16("sgd_update_slab"),
            new CudaBackend.SgdUpdateSlabArguments { Copies = Given }, new CudaBackend.Elements(100));
        // Kolen-Pollack: B and its velocity beside W and its velocity, and one gradient.
        AssertWork(
            Transposing("update", (9 * 4 + 2 + 2) * 100), Bf16("sgd_update_coupled_slab"),
            new CudaBackend.SgdUpdateCoupledSlabArguments { Copies = Given, FeedbackCopies = Given }, new CudaBackend.Elements(100));
        AssertWork(
            Transposing("update", 9 * 4 * 100), Fp32("sgd_update_coupled_slab"), default(CudaBackend.SgdUpdateCoupledSlabArguments),
            new CudaBackend.Elements(100));

        // 3x2 taps from 8 to 16 channels.
        const int weights = 6 * 8 * 16;
        var shape = new NativeTransposedShape(Strided);
        AssertWork(
            Transposing("update", (5 * 4 + 2) * weights), Bf16("sgd_update_transposed"),
            new CudaBackend.SgdUpdateTransposedArguments { Shape = shape, Copy = Given });
        // B = alpha W reads W; B = alpha W + beta R reads R too.
        AssertWork(
            Transposing("feedback weights", 2 * 4 * weights), Bf16("transposed_combine"),
            new CudaBackend.TransposedCombineArguments { Shape = shape });
        AssertWork(
            Transposing("feedback weights", (3 * 4 + 2) * weights), Bf16("transposed_combine"),
            new CudaBackend.TransposedCombineArguments { Shape = shape, Beta = 1, Copy = Given });
        AssertWork(
            Transposing("feedback weights", 2 * 4 * weights), Bf16("sign_transposed"),
            new CudaBackend.SignTransposedArguments { Shape = shape });
        AssertWork(
            Transposing("feedback weights", (3 * 4 + 2) * weights), Bf16("sign_transposed"),
            new CudaBackend.SignTransposedArguments { Shape = shape, Magnitudes = (float*)Given, Copy = Given });
        AssertWork(Transposing("comparison", 2 * 4 * weights), Bf16("align"), new CudaBackend.AlignArguments { Shape = shape });

        // Tiles of a transposition are read, and written.
        static KernelWork Transposing(string kind, double bytes) => new(kind, bytes, Figure.TransposeHbm) { Rounds = 2 };
    }

    [Fact]
    public void Comparisons()
    {
        // 256 threads go over the 1000 elements of a block. A norm is an inner product with itself.
        var compare = new CudaBackend.CompareArguments { Length = 3000, ElementsPerBlock = 1000, A = Given, B = (void*)128 };
        AssertWork(new KernelWork("comparison", 2 * 4 * 3000) { Rounds = 4 }, Bf16("compare_fp32"), compare);
        compare.B = compare.A;
        AssertWork(new KernelWork("comparison", 2 * 3000) { Rounds = 4 }, Fp32("compare_bf16"), compare);
        AssertWork(new KernelWork("clip", 4 * 3000) { Rounds = 4 }, Bf16("compare_fp32", nameof(CudaBackend.ClipFactorCore)), compare);
        // Three sums of each of 600 blocks, by 256 threads, and two steps to add those.
        AssertWork(
            new KernelWork("clip", 3 * 8 * 600) { Rounds = 3 + 2 }, Bf16("clip_factor"),
            new CudaBackend.ClipFactorArguments { Blocks = 600 });
        AssertWork(
            new KernelWork("comparison", 3 * 8 * 600) { Rounds = 3 + 2 }, Bf16("compare_finish"),
            new CudaBackend.AlignmentFinishArguments { Blocks = 600 });
    }

    [Fact]
    public void Forward_convolutions_by_tiles()
    {
        // The classifier on the portable kernel: tiles of 128x64 in steps of 16 of the 3*2*8 = 48 inputs of a filter.
        ConvForwardArguments arguments = new() { Shape = new NativeConvShape(Strided) };
        const double touched = 2 * 10 * 12 * 8, weights = 48 * 16, outputs = 2 * 5 * 7 * 16, flops = 2 * 48.0 * outputs;
        var expected = new KernelWork("forward convolution", 2 * (touched + weights + outputs), Figure.ProductHbm)
        {
            L2 = 3 * 48 * (128 + 64) * 2 + 2 * outputs,
            Flops = flops,
            Executed = 2 * 3 * 48 * 128 * 64,
            Products = Figure.PortableTensor,
            Steps = 3,
            Registers = 168,
        };
        AssertWork(expected, Bf16("conv_forward_bf16_8_8", nameof(CudaBackend.ConvForwardCore), 3), arguments, Strided);
        // Pipelined: four stages of depth 32, so two steps, and 64 inputs with padding.
        AssertWork(
            expected with { L2 = 3 * 64 * (64 + 64) * 2 + 2 * outputs, Executed = 2 * 3 * 64 * 64 * 64, Products = Figure.Mma64x64, Steps = 0.5 },
            Bf16("conv_forward_pipelined_64_64", nameof(CudaBackend.ConvForwardCore), 3), arguments, Strided);
        AssertWork(
            expected with { L2 = 3 * 64 * (128 + 64) * 2 + 2 * outputs, Executed = 2 * 3 * 64 * 128 * 64, Products = Figure.Mma128x64, Steps = 0.5 },
            Bf16("conv_forward_pipelined_128_64", nameof(CudaBackend.ConvForwardCore), 3), arguments, Strided);
        AssertWork(
            expected with { L2 = 3 * 64 * (128 + 128) * 2 + 2 * outputs, Executed = 2 * 3 * 64 * 128 * 128, Products = Figure.Mma128x128, Steps = 0.5 },
            Bf16("conv_forward_pipelined_128_128", nameof(CudaBackend.ConvForwardCore), 3), arguments, Strided);
        // Binary32, on vector units.
        AssertWork(
            expected with { Hbm = 4 * (touched + weights + outputs), L2 = 3 * 48 * (128 + 64) * 4 + 4 * outputs, Products = Figure.PortableVector },
            Fp32("conv_forward_fp32_8_8", nameof(CudaBackend.ConvForwardCore), 3), arguments, Strided);
        // Results in binary32 of operands in bf16.
        AssertWork(
            expected with { Hbm = 2 * (touched + weights) + 4 * outputs, L2 = 3 * 48 * (128 + 64) * 2 + 4 * outputs },
            Bf16("conv_forward_bf16_to_fp32_8_8", nameof(CudaBackend.ConvForwardCore), 3), arguments, Strided);
        // A residual is read, and one tile of the 70 pixels writes two statistics of 16 channels.
        arguments.Residual = Given;
        arguments.Partials = (float*)Given;
        const double more = 2 * outputs + 2 * 4 * 16;
        AssertWork(
            expected with { Hbm = expected.Hbm + more, L2 = expected.L2 + more },
            Bf16("conv_forward_bf16_8_8", nameof(CudaBackend.ConvForwardCore), 3), arguments, Strided);
    }

    [Fact]
    public void Feedback_convolutions_and_weight_gradients_by_tiles()
    {
        const double inputs = 2 * 10 * 12 * 8, weights = 48 * 16, outputs = 2 * 5 * 7 * 16, flops = 2 * 48.0 * outputs;
        // Four classes of pixels: of 6 taps by 16 channels each has 24 on average, two steps of 16.
        var feedback = new ConvFeedbackArguments { Shape = new NativeConvShape(Strided) };
        var expected = new KernelWork("feedback convolution", 2 * (inputs + weights + outputs), Figure.ProductHbm)
        {
            L2 = 4 * 32 * (128 + 64) * 2 + 2 * inputs,
            Flops = flops,
            Executed = 2 * 4 * 32 * 128 * 64,
            Products = Figure.PortableTensor,
            Steps = 2,
            Registers = 168,
        };
        AssertWork(expected, Bf16("conv_feedback_bf16_8_8", nameof(CudaBackend.ConvFeedbackCore), 4), feedback, Strided);
        feedback.Accumulate = 1;
        AssertWork(
            expected with { Hbm = expected.Hbm + 2 * inputs, L2 = expected.L2 + 2 * inputs },
            Bf16("conv_feedback_bf16_8_8", nameof(CudaBackend.ConvFeedbackCore), 4), feedback, Strided);

        // Split in five, each of 14 of the 70 pixels: one step. Every split writes its sums in binary32.
        AssertWork(
            new KernelWork("weight gradient", 2 * (inputs + outputs) + 5 * 4 * weights, Figure.ProductHbm)
            {
                L2 = 10 * 16 * (128 + 64) * 2 + 5 * 4 * weights,
                Flops = flops,
                Executed = 2 * 10 * 16 * 128 * 64,
                Products = Figure.PortableTensor,
                Steps = 1,
                Registers = 168,
            },
            new LaunchFacts("conv_weight_gradient_bf16_8_8", nameof(CudaBackend.ConvWeightGradientCore), new CudaBackend.Grid(2L, 1, 5), 2),
            default(ConvWeightGradientArguments), Strided);
        // Five splits and the sum are read or written, and dW where it is added to; eight loads in flight.
        AssertWork(
            new KernelWork("sum of splits", 4 * (5 + 1) * 100) { Rounds = 5 / 8.0 + 1 }, Bf16("split_k_sum"),
            new CudaBackend.SplitKSumArguments { Splits = 5, Length = 100 });
        AssertWork(
            new KernelWork("sum of splits", 4 * (5 + 2) * 100) { Rounds = 5 / 8.0 + 1 }, Bf16("split_k_sum"),
            new CudaBackend.SplitKSumArguments { Splits = 5, Length = 100, Accumulate = 1 });
    }

    [Fact]
    public void Filters_smaller_than_their_stride_skip_pixels()
    {
        // One tap of stride 2 in 10x11 rows and columns: 5x6 of them.
        Assert.Equal(2 * 5 * 6 * 8, ConvTraffic.Touched(new ConvShape(2, 10, 11, 8, 16, 1, 1, 2, 0)));
        // 2x3 taps of stride 3 in 11x11: 4 times 2 rows, and 3 times 3 columns without a gap.
        Assert.Equal(4 * 2 * 9 * 8, ConvTraffic.Touched(new ConvShape(1, 11, 11, 8, 16, 2, 3, 3, 0)));
        Assert.Equal(2 * 10 * 12 * 8, ConvTraffic.Touched(Strided));
    }

    [Fact]
    public void Few_channels()
    {
        // 2 images of 16x32 with 3 channels, 3x3 taps with padding 1: 2x2 boxes of 8x16 pixels in each image, one for each block.
        var shape = new ConvShape(2, 16, 32, 3, 16, 3, 3, 1, 1);
        const double inputs = 2 * 16 * 32 * 3, weights = 27 * 16, outputs = 2 * 16 * 32 * 16, flops = 2 * 27 * outputs;
        var forward = default(FewChannelsConvolution.FewChannelsForwardArguments);
        var expected = new KernelWork("forward convolution", 2 * (inputs + weights + outputs), Figure.ProductHbm)
        {
            Flops = flops,
            Executed = flops,
            Products = Figure.FewChannels,
            Rounds = 1,
            Registers = 168,
        };
        AssertWork(expected, Bf16("conv_forward_few_channels_32"), forward, shape);
        forward.Forward.Residual = Given;
        forward.Forward.Partials = (float*)Given;
        // 8 boxes write two statistics of 16 channels.
        double bytes = expected.Hbm + 2 * outputs + 8 * 2 * 4 * 16;
        AssertWork(expected with { Hbm = bytes, L2 = bytes }, Bf16("conv_forward_few_channels_32"), forward, shape);
        bytes = 2 * (inputs + outputs) + 3 * 4 * weights;
        AssertWork(
            expected with { Kind = "weight gradient", Hbm = bytes, L2 = bytes, Rounds = 7 },
            new LaunchFacts("conv_weight_gradient_few_channels_64", "", new CudaBackend.Grid(3L, 2, 3), 2),
            new FewChannelsConvolution.FewChannelsGradientArguments { BoxesPerSplit = 7 }, shape);
    }

    [Fact]
    public void Mirror()
    {
        // The noise is made in registers: of the operands of a tile, 64 columns are loaded.
        const double weights = 48 * 16, outputs = 2 * 5 * 7 * 16, flops = 2 * 48.0 * outputs;
        var shape = new NativeConvShape(Strided);
        var expected = new KernelWork("mirror", 2 * (weights + outputs), Figure.ProductHbm)
        {
            L2 = 3 * 48 * 64 * 2 + 2 * (weights + outputs),
            Flops = flops,
            Executed = 2 * 3 * 48 * 128 * 64,
            Products = Figure.MirrorTensor,
            Steps = 3,
            Registers = 168,
        };
        AssertWork(expected, Bf16("mirror_respond_bf16_8_8", "", 3), new CudaBackend.MirrorRespondArguments { Shape = shape });
        AssertWork(
            expected with { Hbm = 2 * expected.Hbm, L2 = 2 * expected.L2, Products = Figure.MirrorVector },
            Fp32("mirror_respond_fp32_8_8", "", 3), new CudaBackend.MirrorRespondArguments { Shape = shape });
        // 70 samples in two splits of 35, which are three steps of 16.
        double bytes = 2 * outputs + 2 * 4 * weights;
        AssertWork(
            expected with { Hbm = bytes, L2 = 6 * 48 * 64 * 2 + bytes, Executed = 2 * 6 * 48 * 128 * 64 },
            new LaunchFacts("mirror_correlate_bf16_8_8", "", new CudaBackend.Grid(3L, 1, 2), 2),
            new CudaBackend.MirrorCorrelateArguments { Shape = shape });
    }

    [Fact]
    public void Hopper_reads_the_taps_that_reach_a_class_of_pixels()
    {
        // 8 images of 56x56 with 64 channels to 28x28 with 128, and back: the four classes of pixels have 1, 2, 2 and 4 taps, two boxes of 64
        // channels each, and 8 x 28 x 28 pixels in 49 boxes of 128.
        var shape = new ConvShape(8, 56, 56, 64, 128, 3, 3, 2, 1);
        PaperLaunch launch = FirstOf(Step("resnet18", 8), "r18_3x3s2_64-128@56", "feedback convolution");
        Assert.Equal("conv_gather_sm90_transposed_64", launch.Kernel);
        const double pixels = 8 * 56 * 56 * 64, errors = 8 * 28 * 28 * 128, weights = 9 * 64 * 128, stages = (1 + 2 + 2 + 4) * 2 * 49;
        Assert.Equal(
            new KernelWork("feedback convolution", 2 * (errors + weights + pixels), Figure.ProductHbm)
            {
                L2 = stages * (128 + 64) * 64 * 2 + 2 * pixels,
                Flops = 2.0 * 9 * 64 * errors,
                Executed = 2 * stages * 128 * 64 * 64,
                Products = Figure.Wgmma64,
                Steps = 4 * 2 / 4.0,
                Registers = 112,
            },
            launch.Work);
        Assert.Equal(launch.Work.Flops, shape.Flops);

        // The projection beside it adds to the class that its tap reaches: reads and writes a quarter of the pixels.
        launch = FirstOf(Step("resnet18", 8), "r18_1x1s2_64-128@56", "feedback convolution");
        Assert.Equal(2 * (errors + 64 * 128 + 2 * pixels / 4), launch.Work.Hbm);
        Assert.Equal(2 * 49 * (128 + 64) * 64 * 2 + 2 * 2 * pixels / 4, launch.Work.L2);
    }

    [Fact]
    public void Hopper_divides_a_weight_gradient_by_pairs_of_taps()
    {
        // 3x3 taps of 64 channels are five pairs, of which one is half empty; 8 images of 56x56 pixels in boxes of 64.
        PaperLaunch launch = FirstOf(Step("resnet18", 8), "r18_3x3_64-64@56", "weight gradient");
        Assert.Equal("conv_weight_gradient_sm90_64", launch.Kernel);
        double splits = launch.Blocks / 5.0, map = 8 * 56 * 56 * 64, written = splits * 4 * 9 * 64 * 64;
        // 392 boxes of 64 pixels over all splits.
        double each = Math.Ceiling(392 / splits);
        Assert.Equal(Math.Ceiling(392 / each), splits);
        Assert.Equal(
            new KernelWork("weight gradient", 2 * (map + map) + written, Figure.ProductHbm)
            {
                L2 = 5.0 * 392 * 64 * (128 + 64) * 2 + written,
                Flops = 2.0 * 9 * 64 * map,
                Executed = 2.0 * 5 * 392 * 64 * 128 * 64,
                Products = Figure.WgmmaGradient64,
                Steps = each / 4,
                Registers = 112,
            },
            launch.Work);
    }

    [Fact]
    public void Tiles_of_Hopper_have_the_rates_of_their_columns()
    {
        (string End, Figure Rate, int Stages)[] gather = [("_64", Figure.Wgmma64, 4), ("_128", Figure.Wgmma128, 3), ("_256", Figure.Wgmma256, 4)];
        IReadOnlyList<PaperLaunch> step = Step("resnet50", 256);
        foreach ((string end, Figure rate, int stages) in gather)
        {
            PaperLaunch[] launches = [.. step.Where(l => l.Kernel == "conv_gather_sm90" + end && l.Subject.StartsWith("r50_1x1_", StringComparison.Ordinal))];
            Assert.NotEmpty(launches);
            Assert.All(launches, l => Assert.Equal(rate, l.Work.Products));
            // One tap: boxes of 64 channels, and so many are in the ring.
            Assert.All(launches.Where(l => l.Work.Kind == "forward convolution"), l => Assert.Equal(InputsOf(l.Subject) / 64.0 / stages, l.Work.Steps));
        }

        Assert.All(step.Where(l => l.Kernel == "conv_weight_gradient_sm90_128"), l => Assert.Equal(Figure.WgmmaGradient128, l.Work.Products));
        Assert.Contains(step, l => l.Kernel == "conv_weight_gradient_sm90_128");

        static int InputsOf(string layer) => int.Parse(layer.Split('_')[2].Split('-')[0]);
    }

    [Fact]
    public void Rates_of_the_data_sheets()
    {
        (string Name, double[] Values)[] sheets =
        [
            ("h200", [132, 4.8e12, 989e12, 67e12, 228 * 1024]), ("h100", [132, 3.35e12, 989e12, 67e12, 228 * 1024]),
            ("a100", [108, 2.04e12, 312e12, 19.5e12, 164 * 1024]),
        ];
        Figure[] figures = [Figure.Multiprocessors, Figure.HbmBytes, Figure.TensorFlops, Figure.VectorFlops, Figure.SharedBytes];
        foreach ((string name, double[] values) in sheets) Assert.Equal(values, figures.Select(f => Card.Named(name)[f]));
    }

    [Fact]
    public void Products_take_their_share_of_the_peak_of_their_units()
    {
        Card card = Card.Named("h200").With(new Dictionary<Figure, double>
        {
            [Figure.VectorFlops] = 1e12,
            [Figure.TensorFlops] = 1e15,
            [Figure.PortableVector] = 0.5,
            [Figure.MirrorVector] = 0.25,
            [Figure.MirrorTensor] = 0.5,
        });
        Assert.Equal(4e-3, ProductsBy(Figure.PortableVector), 1e-12);
        Assert.Equal(8e-3, ProductsBy(Figure.MirrorVector), 1e-12);
        Assert.Equal(4e-6, ProductsBy(Figure.MirrorTensor), 1e-12);
        // Two blocks on each of 132 multiprocessors: 400 blocks take two waves, which have places for 528.
        Assert.Equal(528 / 400.0 * 4e-6, ProductsBy(Figure.MirrorTensor, blocks: 400), 1e-12);

        double ProductsBy(Figure figure, long blocks = 264) => LaunchCost.Of(
            new PaperLaunch("k", "s", blocks, 288, 100_000, new KernelWork("k", 1) { Executed = 2e9, Products = figure }), card).Products;
    }

    [Theory]
    // Threads (2,048 of a multiprocessor), registers (65,536), shared memory (228 KiB, 1 KiB more for each block), blocks (32).
    [InlineData(512, 16, 0, 4)]
    [InlineData(512, 64, 0, 2)]
    [InlineData(128, 168, 0, 3)]
    [InlineData(64, 32, 58_000, 3)]
    [InlineData(64, 32, 0, 32)]
    [InlineData(1024, 128, 0, 1)]
    public void Blocks_of_a_multiprocessor(int threads, int registers, int sharedBytes, int expected)
    {
        var launch = new PaperLaunch("k", "s", 1, threads, sharedBytes, new KernelWork("k", 0) { Registers = registers });
        Assert.Equal(132 * expected, LaunchCost.PlacesOf(launch, Card.Named("h200")));
    }

    private static LaunchFacts Bf16(string kernel, string operation = "", long blocks = 1) => new(kernel, operation, new CudaBackend.Grid(blocks), 2);

    private static LaunchFacts Fp32(string kernel, string operation = "", long blocks = 1) => new(kernel, operation, new CudaBackend.Grid(blocks), 4);

    private static void AssertWork<TArguments>(KernelWork expected, LaunchFacts launch, TArguments arguments, object? sizes = null)
        where TArguments : unmanaged => Assert.Equal(expected, KernelModel.WorkOf(launch, arguments, sizes ?? Strided));

    private static PaperLaunch FirstOf(IEnumerable<PaperLaunch> step, string layer, string kind) => step.First(l => l.Subject == layer && l.Work.Kind == kind);

    private static IReadOnlyList<PaperLaunch> Step(string model, int images) => EstimateTests.LaunchesOf(model, "backprop", images, "h200", steps: 1);
}
