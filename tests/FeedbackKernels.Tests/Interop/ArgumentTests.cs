using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Interop;

/// <summary>Bad input: the exception names the argument, and nothing is written.</summary>
public sealed class ArgumentTests : IDisposable
{
    private static readonly ConvShape Shape = new(2, 5, 5, 3, 4, 3, 3, 1, 1);

    private readonly CpuBackend _backend = new(2);
    private readonly DeviceBuffer _x, _w, _y;

    public ArgumentTests()
    {
        _x = _backend.Allocate(Shape.InputLength, "x");
        _w = _backend.Allocate(Shape.WeightLength, "w");
        _y = _backend.Allocate(Shape.OutputLength, "y");
        _backend.Fill(_y, 42);
    }

    public void Dispose()
    {
        _x.Dispose();
        _w.Dispose();
        _y.Dispose();
        _backend.Dispose();
    }

    [Fact]
    public void Short_buffers_are_named_with_both_lengths()
    {
        var e = Assert.Throws<ArgumentException>(() => _backend.ConvForward(Shape, _x.Slice(0, 10), _w, _y));
        Assert.Equal("x", e.ParamName);
        Assert.Contains("10", e.Message);
        Assert.Contains($"{Shape.InputLength}", e.Message);
        Assert.Equal("w", Assert.Throws<ArgumentException>(() => _backend.ConvForward(Shape, _x, _w.Slice(0, 3), _y)).ParamName);
        Assert.Equal("y", Assert.Throws<ArgumentException>(() => _backend.ConvForward(Shape, _x, _w, _y.Slice(0, 3))).ParamName);
        Assert.Equal(
            "epilogue.Bias",
            Assert.Throws<ArgumentException>(() => _backend.ConvForward(Shape, _x, _w, _y, new ConvEpilogue(Bias: _x.Slice(0, 1)))).ParamName);
        NothingWasWritten();
    }

    [Fact]
    public void Absent_buffers_are_named()
    {
        Assert.Equal("w", Assert.Throws<ArgumentNullException>(() => _backend.ConvForward(Shape, _x, default, _y)).ParamName);
        Assert.Equal("dw", Assert.Throws<ArgumentNullException>(() => _backend.ConvWeightGradient(Shape, _x, _y, null)).ParamName);
        NothingWasWritten();
    }

    [Fact]
    public void Overlapping_buffers_are_refused()
    {
        var e = Assert.Throws<ArgumentException>(() => _backend.ConvForward(ConvShape.Linear(2, 4, 4), _y, _w, _y));
        Assert.Equal("y", e.ParamName);
        NothingWasWritten();
    }

    [Fact]
    public void Element_types_are_checked()
    {
        using DeviceBuffer labels = _backend.Allocate(Shape.InputLength, "labels", ElementType.Int32);
        var e = Assert.Throws<ArgumentException>(() => _backend.ConvForward(Shape, labels, _w, _y));
        Assert.Contains("Int32", e.Message);
        Assert.Throws<ArgumentException>(() => labels.HostSpan<float>());
        Assert.Throws<ArgumentException>(() => _backend.Upload<double>([1.0], _x));
        NothingWasWritten();
    }

    [Fact]
    public void Types_of_activations_and_weights_are_checked()
    {
        using var backend = new ReferenceBackend(ElementType.BFloat16);
        using DeviceBuffer x = backend.Allocate(Shape.InputLength, "x", ElementType.BFloat16), y = backend.Allocate(Shape.OutputLength, "y", ElementType.BFloat16);
        using DeviceBuffer floats = backend.Allocate(Shape.OutputLength, "floats"), labels = backend.Allocate(Shape.OutputLength, "labels", ElementType.Int32);
        var e = Assert.Throws<ArgumentException>(() => backend.ConvForward(Shape, floats, floats, y));
        Assert.Equal("x", e.ParamName);
        Assert.Contains("holds Float32, wanted BFloat16", e.Message);
        e = Assert.Throws<ArgumentException>(() => backend.ConvForward(Shape, x, labels, y));
        Assert.Equal("w", e.ParamName);
        Assert.Contains("holds Int32, wanted Float32 or BFloat16", e.Message);
        // The residual has the type of the output.
        e = Assert.Throws<ArgumentException>(() => backend.ConvForward(Shape, x, floats, y, new ConvEpilogue(Residual: floats)));
        Assert.Equal("epilogue.Residual", e.ParamName);
        Assert.Contains("holds BFloat16", Assert.Throws<ArgumentException>(() => backend.SgdUpdate(10, y, floats, floats, new SgdStep(1))).Message);

        // A backend whose products read the masters has neither bf16 nor copies.
        Assert.Contains("holds BFloat16, wanted Float32", Assert.Throws<ArgumentException>(() => _backend.ConvForward(Shape, x, _w, _y)).Message);
        e = Assert.Throws<ArgumentException>(() => _backend.SgdUpdate(10, _x, _w, _y, new SgdStep(1), _x));
        Assert.Equal("copy", e.ParamName);
        Assert.Contains("wanted none", e.Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => new ReferenceBackend(ElementType.Int32));
        NothingWasWritten();
    }

    [Fact]
    public void Disposed_buffers_are_refused_by_name()
    {
        DeviceBuffer gone = _backend.Allocate(Shape.WeightLength, "the weights");
        DeviceBuffer slice = gone.Slice(1, 2);
        gone.Dispose();
        gone.Dispose();
        Assert.Contains("the weights", Assert.Throws<ObjectDisposedException>(() => _backend.ConvForward(Shape, _x, gone, _y)).Message);
        Assert.Throws<ObjectDisposedException>(() => slice.Address);
        NothingWasWritten();
    }

    [Fact]
    public void Slices_outside_a_buffer_are_refused()
    {
        Assert.Equal("offset", Assert.Throws<ArgumentOutOfRangeException>(() => _x.Slice(-1, 2)).ParamName);
        Assert.Equal("length", Assert.Throws<ArgumentOutOfRangeException>(() => _x.Slice(1, Shape.InputLength)).ParamName);
    }

    [Theory]
    [InlineData(0, 5, 5, 3, 4, 3, 3, 1, 1, "n")]
    [InlineData(2, 0, 5, 3, 4, 3, 3, 1, 1, "h")]
    [InlineData(2, 5, -5, 3, 4, 3, 3, 1, 1, "w")]
    [InlineData(2, 5, 5, 0, 4, 3, 3, 1, 1, "c")]
    [InlineData(2, 5, 5, 3, 0, 3, 3, 1, 1, "k")]
    [InlineData(2, 5, 5, 3, 4, 9, 3, 1, 1, "r")]
    [InlineData(2, 5, 5, 3, 4, 3, 9, 1, 1, "s")]
    [InlineData(2, 5, 5, 3, 4, 3, 3, 0, 1, "stride")]
    [InlineData(2, 5, 5, 3, 4, 3, 3, 1, -1, "padding")]
    [InlineData(int.MaxValue, int.MaxValue, int.MaxValue, int.MaxValue, 1, 1, 1, 1, 0, "N*H*W*C")]
    [InlineData(2, 5, 5, int.MaxValue, int.MaxValue, 3, 3, 1, 1, "R*S*C*K")]
    [InlineData(1, 7, 7, 1, 1, 1, 1, 1, int.MaxValue, "padding")]
    [InlineData(1, 7, 7, 1, 1, 1, 1, 1, 1 << 30, "padding")]
    [InlineData(1, 7, 7, 1, 1, 1, 1, 1, (1 << 30) - 4, "N*P*Q*K")]
    [InlineData(1, 7, 7, 1, 1, 1, 1, int.MaxValue, 0, "stride")]
    [InlineData(1, 7, 7, 1, 1, 1, 1, int.MaxValue, int.MaxValue, "padding")]
    public void Impossible_convolutions_are_refused(int n, int h, int w, int c, int k, int r, int s, int stride, int padding, string name) =>
        Assert.Equal(name, Assert.Throws<ArgumentOutOfRangeException>(() => new ConvShape(n, h, w, c, k, r, s, stride, padding)).ParamName);

    [Fact]
    public void A_shape_without_sizes_is_refused()
    {
        Assert.Equal("shape", Assert.Throws<ArgumentException>(() => _backend.ConvForward(default, _x, _w, _y)).ParamName);
        Assert.Equal("shape", Assert.Throws<ArgumentException>(() => _backend.Explain(default, ConvPass.Forward)).ParamName);
        Assert.Equal("pass", Assert.Throws<ArgumentOutOfRangeException>(() => _backend.Explain(Shape, (ConvPass)7)).ParamName);
    }

    [Fact]
    public void Impossible_pools_are_refused() =>
        Assert.Equal("padding", Assert.Throws<ArgumentOutOfRangeException>(() => new PoolShape(1, 4, 4, 1, 2, 2, 2, 2)).ParamName);

    [Fact]
    public void Mirror_settings_are_checked()
    {
        var noise = new MirrorNoise(NoiseKind.Gaussian, Shape.FanIn, 1, 1, 1);
        using DeviceBuffer b = _backend.Allocate(Shape.WeightLength, "b");
        Assert.Throws<ArgumentOutOfRangeException>(() => _backend.MirrorCorrelate(new MirrorStep(Shape, noise, 0, 0), _w, b));
        Assert.Throws<ArgumentOutOfRangeException>(() => _backend.MirrorCorrelate(new MirrorStep(Shape, noise, -1, 4), _w, b));
        Assert.Throws<ArgumentException>(() => _backend.MirrorCorrelate(new MirrorStep(Shape, noise, 0, 4, MirrorForm.FullMap), _w, b));
        Assert.Throws<ArgumentException>(() => _backend.MirrorCorrelate(new MirrorStep(Shape, noise, 0, 4), _w, _w));
        Assert.Throws<ArgumentOutOfRangeException>(() => new MirrorNoise(NoiseKind.Sign, 0, 1, 1, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new MirrorNoise(NoiseKind.Sign, 5, float.NaN, 1, 1));
    }

    [Fact]
    public void Levels_and_threads_that_are_not_to_be_had_are_refused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new CpuBackend(-1));
        Assert.Contains("supported", Assert.Throws<PlatformNotSupportedException>(() => new CpuBackend(1, (SimdLevel)99)).Message);
    }

    [Theory]
    [InlineData(ElementType.UInt8)]
    [InlineData(ElementType.Int32)]
    public void Floats_go_to_numbers_alone(ElementType type)
    {
        using DeviceBuffer bytes = _backend.Allocate(8, "bytes", type);
        var e = Assert.Throws<ArgumentException>(() => _backend.UploadFloats([1, 2, 3, 4, 5, 6, 7, 8], bytes));
        Assert.Equal("destination", e.ParamName);
        Assert.Contains($"holds {type}, wanted Float32 or BFloat16", e.Message);
        Assert.Equal("source", Assert.Throws<ArgumentException>(() => _backend.DownloadFloats(bytes, new float[8])).ParamName);
        Assert.Throws<ArgumentException>(() => _backend.Download(bytes));
    }

    [Fact]
    public void Sizes_whose_product_overflows_are_refused()
    {
        Assert.Equal("rows", Assert.Throws<ArgumentOutOfRangeException>(() => _backend.BiasGradient(1L << 62, 4, _x, _y)).ParamName);
        Assert.Equal("rows", Assert.Throws<ArgumentOutOfRangeException>(() => _backend.BiasGradient(1L << 61, 8, _x, _y)).ParamName);
        Assert.Equal("N*K", Assert.Throws<ArgumentOutOfRangeException>(
            () => _backend.CrossEntropy(LossKind.SoftmaxCrossEntropy, int.MaxValue, int.MaxValue, _x, _x, 0, _x, default)).ParamName);
        using DeviceBuffer pixels = _backend.Allocate(8, "pixels", ElementType.UInt8), numbers = _backend.Allocate(8, "numbers", ElementType.Int32);
        using DeviceBuffer table = _backend.Allocate(256 * 4, "table");
        // 2^64 bytes.
        var images = new ImageAugmentation(1 << 30, 1 << 30, 4);
        Assert.Equal("N*H*W*C", Assert.Throws<ArgumentOutOfRangeException>(() => _backend.AugmentImages(images, 4, pixels, numbers, table, _y)).ParamName);
        Assert.Equal("N*H*W*C", Assert.Throws<ArgumentOutOfRangeException>(() => new PoolShape(int.MaxValue, 4, 4, int.MaxValue, 2, 2, 2, 0)).ParamName);
        Assert.Equal("R*S*C", Assert.Throws<ArgumentOutOfRangeException>(
            () => new ConvShape(1, 1 << 11, 1 << 11, 1 << 10, 1, 1 << 11, 1 << 11, 1, 0)).ParamName);
        var map = new ConvShape(1, 1 << 11, 1 << 11, 1 << 10, 1, 1, 1, 1, 0);
        Assert.Equal("H*W*C", Assert.Throws<ArgumentOutOfRangeException>(() => MirrorStep.SampleLength(map, MirrorForm.FullMap)).ParamName);
        Assert.Equal("H*W", Assert.Throws<ArgumentOutOfRangeException>(() => new PoolShape(1, 1 << 16, 1 << 15, 1, 2, 2, 2, 0)).ParamName);
        Assert.Equal("padding", Assert.Throws<ArgumentOutOfRangeException>(
            () => new PoolShape(1, 7, 7, 1, int.MaxValue, int.MaxValue, 1, int.MaxValue - 1)).ParamName);
        Assert.Equal("H*W*C", Assert.Throws<ArgumentOutOfRangeException>(() => new ImageAugmentation(1 << 30, 1 << 30, 1 << 30).ImageLength).ParamName);
        Assert.Throws<ArgumentOutOfRangeException>(() => default(ImageAugmentation).ImageLength);
        Assert.Throws<InvalidOperationException>(() => new ImageAugmentation(4, 4, 1, int.MaxValue).Draw(0));
        var noise = new MirrorNoise(NoiseKind.Sign, 1 << 30, 1, 1, 1);
        Assert.Equal("N*P*Q", Assert.Throws<ArgumentOutOfRangeException>(
            () => new MirrorStep(new ConvShape(1, 1 << 15, 1 << 15, 1, 1, 1, 1, 1, 0), noise, 0, int.MaxValue, MirrorForm.FullMap).Positions).ParamName);
        Assert.Throws<ArgumentOutOfRangeException>(() => noise.Fill(new float[1 << 10], 1L << 32));
        // Pooling has no weights, so their number cannot be too large.
        Assert.Equal(2048, PoolShape.Global(1, 1024, 1024, 2048).OutputLength);
        NothingWasWritten();
    }

    [Fact]
    public void Convolutions_of_more_pixels_than_the_kernels_count_are_refused()
    {
        var shape = new ConvShape(2, 1 << 15, 1 << 15, 1, 1, 1, 1, 1, 0);
        // The addresses are never dereferenced.
        BufferView x = BufferView.FromPointer((nint)1 << 40, shape.InputLength), y = BufferView.FromPointer((nint)1 << 41, shape.InputLength);
        foreach (Action use in (Action[])[
            () => _backend.ConvForward(shape, x, _w, y), () => _backend.ConvFeedback(shape, x, _w, FeedbackLayout.Feedback, y),
            () => _backend.ConvWeightGradient(shape, x, y, _w), () => _backend.Explain(shape, ConvPass.Forward)])
        {
            Assert.Contains("2147483648 pixels", Assert.Throws<NotSupportedException>(use).Message);
        }

        BufferView stream = BufferView.FromPointer((nint)1 << 40, (1L << 34) + 1);
        Assert.Contains("17179869184", Assert.Throws<ArgumentException>(() => _backend.FillGaussian(stream, default, 1)).Message);
    }

    [Fact]
    public void Values_of_enums_without_a_name_are_refused_outside_operations_too()
    {
        using var arena = new Arena(_backend);
        Assert.Equal("type", Assert.Throws<ArgumentOutOfRangeException>(() => BufferView.FromPointer(64, 1, (ElementType)9)).ParamName);
        Assert.Equal("type", Assert.Throws<ArgumentOutOfRangeException>(() => arena.Rent(1, "x", (ElementType)9)).ParamName);
        Assert.Equal("form", Assert.Throws<ArgumentOutOfRangeException>(() => MirrorStep.SampleLength(Shape, (MirrorForm)9)).ParamName);
        Assert.Equal("kind", Assert.Throws<ArgumentOutOfRangeException>(() => MirrorNoise.CycleLengthOf((NoiseKind)9, 4)).ParamName);
        Assert.Equal("kind", Assert.Throws<ArgumentOutOfRangeException>(() => new MirrorNoise((NoiseKind)9, 4, 1, 1, 1)).ParamName);
        Assert.Equal("precision", Assert.Throws<ArgumentOutOfRangeException>(() => new CudaBackend(precision: (CudaPrecision)9)).ParamName);
        Assert.Equal("activationType", Assert.Throws<ArgumentOutOfRangeException>(() => new ReferenceBackend((ElementType)9)).ParamName);
    }

    [Fact]
    public void A_label_that_is_no_class_is_named_with_its_row_and_the_classes()
    {
        using DeviceBuffer labels = _backend.Allocate(3, "labels", ElementType.Int32), losses = _backend.Allocate(3, "losses");
        _backend.Upload<int>([1, 9, 10], labels);
        var e = Assert.Throws<ArgumentOutOfRangeException>(
            () => _backend.CrossEntropy(LossKind.SoftmaxCrossEntropy, 3, 10, _x, labels, 0, losses, _y));
        Assert.Equal(("labels", 10), (e.ParamName, e.ActualValue));
        Assert.Contains("row 2 ", e.Message);
        Assert.Contains("0 to 9", e.Message);
        NothingWasWritten();
    }

    [Fact]
    public void Indices_are_found_wherever_they_stand()
    {
        foreach (int length in (int[])[1, 7, 16, 33])
        {
            for (int at = 0; at < length; at++)
            {
                foreach (int outside in (int[])[-1, 5, int.MinValue, int.MaxValue])
                {
                    var indices = new int[length];
                    Assert.Equal(-1, IndexRange.FirstOutside(indices, 5));
                    Array.Fill(indices, 4);
                    Assert.Equal(-1, IndexRange.FirstOutside(indices, 5));
                    indices[at] = indices[^1] = outside;
                    Assert.Equal(at, IndexRange.FirstOutside(indices, 5));
                }
            }
        }
    }

    [Fact]
    public void Lengths_out_of_range_are_refused()
    {
        foreach (long length in (long[])[-1, 0])
        {
            Assert.Throws<ArgumentOutOfRangeException>(() => _backend.ActivationForward(Activation.Relu, length, _x, _y));
            Assert.Throws<ArgumentOutOfRangeException>(() => _backend.ActivationBackward(Activation.Relu, length, _x, _x, _y));
            Assert.Throws<ArgumentOutOfRangeException>(() => _backend.SgdUpdate(length, _y, _x, _x, new SgdStep(1)));
            Assert.Throws<ArgumentOutOfRangeException>(() => _backend.Convert(length, _x, _y));
            Assert.Throws<ArgumentOutOfRangeException>(() => _backend.Compare(length, _x, _y));
        }

        using var arena = new Arena(_backend);
        foreach (long length in (long[])[-1, 0, 1L << 41, long.MaxValue])
        {
            Assert.Contains("buffer 'large'", Assert.Throws<ArgumentOutOfRangeException>(() => _backend.Allocate(length, "large")).Message);
            Assert.Contains("buffer 'large'", Assert.Throws<ArgumentOutOfRangeException>(() => arena.Rent(length, "large")).Message);
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => BufferView.FromPointer(64, long.MaxValue));
        NothingWasWritten();
    }

    [Fact]
    public void Poolings_check_their_shape_and_their_positions()
    {
        var shape = new PoolShape(1, 4, 4, 1, 2, 2, 2, 0);
        using DeviceBuffer room = _backend.Allocate(64, "room"), positions = _backend.Allocate(4, "positions", ElementType.Int32);
        DeviceBuffer x = room.Slice(0, 16), y = room.Slice(16, 4);
        BufferView onX = BufferView.FromPointer(x.Address + 32, 4, ElementType.Int32), onY = BufferView.FromPointer(y.Address, 4, ElementType.Int32);
        foreach (Action use in (Action[])[
            () => _backend.MaxPoolForward(default, x, y, positions), () => _backend.MaxPoolBackward(default, y, positions, x),
            () => _backend.AveragePoolForward(default, x, y), () => _backend.AveragePoolBackward(default, y, x)])
        {
            Assert.Equal("shape", Assert.Throws<ArgumentException>(use).ParamName);
        }

        Assert.Equal("positions", Assert.Throws<ArgumentException>(() => _backend.MaxPoolForward(shape, x, y, onX)).ParamName);
        Assert.Equal("positions", Assert.Throws<ArgumentException>(() => _backend.MaxPoolForward(shape, x, y, onY)).ParamName);
        Assert.Equal("dx", Assert.Throws<ArgumentException>(() => _backend.MaxPoolBackward(shape, y, onX, x)).ParamName);
    }

    [Fact]
    public void Results_over_an_operand_s_other_elements_are_refused()
    {
        using DeviceBuffer room = _backend.Allocate(64, "room");
        DeviceBuffer x = room.Slice(0, 32), shifted = room.Slice(1, 32), apart = room.Slice(32, 32);
        Assert.Equal("y", Assert.Throws<ArgumentException>(() => _backend.ActivationForward(Activation.Relu, 32, x, shifted)).ParamName);
        Assert.Equal("dx", Assert.Throws<ArgumentException>(() => _backend.ActivationBackward(Activation.Relu, 31, apart, x, shifted)).ParamName);
        Assert.Equal("y", Assert.Throws<ArgumentException>(
            () => _backend.ChannelAffine(8, 4, x, _y, _y, default, Activation.None, shifted)).ParamName);
        _backend.ActivationForward(Activation.Relu, 32, x, x);
        _backend.ActivationForward(Activation.Relu, 32, x, apart);
        NothingWasWritten();
    }

    [Fact]
    public void A_gradient_by_logits_of_another_type_lies_elsewhere()
    {
        using var backend = new ReferenceBackend(ElementType.BFloat16);
        using DeviceBuffer logits = backend.Allocate(8, "logits"), labels = backend.Allocate(2, "labels", ElementType.Int32);
        using DeviceBuffer losses = backend.Allocate(2, "losses");
        BufferView over = BufferView.FromPointer(logits.Address, 8, ElementType.BFloat16);
        Assert.Equal("dLogits", Assert.Throws<ArgumentException>(
            () => backend.CrossEntropy(LossKind.SoftmaxCrossEntropy, 2, 4, logits, labels, 0, losses, over)).ParamName);
        backend.CrossEntropy(LossKind.SoftmaxCrossEntropy, 2, 4, over, labels, 0, losses, over);
    }

    [Fact]
    public void Clipping_checks_its_arguments()
    {
        using DeviceBuffer factor = _backend.Allocate(1, "factor"), labels = _backend.Allocate(4, "labels", ElementType.Int32);
        foreach (float most in (float[])[0, -1, float.NaN, float.PositiveInfinity])
            Assert.Equal("most", Assert.Throws<ArgumentOutOfRangeException>(() => _backend.ClipFactor([_x], most, factor)).ParamName);
        Assert.Equal("gradients", Assert.Throws<ArgumentException>(() => _backend.ClipFactor([_x, labels], 1, factor)).ParamName);
        Assert.Equal("factor", Assert.Throws<ArgumentException>(() => _backend.ClipFactor([_x], 1, _x.Slice(3, 1))).ParamName);
        Assert.Throws<ArgumentException>(() => _backend.SgdUpdate(4, _y, _x, _w, new SgdStep(1, GradientFactor: labels)));
        NothingWasWritten();
    }

    [Fact]
    public unsafe void Memory_of_the_caller_is_used_in_place()
    {
        float[] x = [1, 2, 3, 4], w = [10, 1, 100, 2], y = new float[4];
        fixed (float* px = x, pw = w, py = y)
        {
            _backend.ConvForward(
                ConvShape.Linear(2, 2, 2), BufferView.FromPointer(px, 4), BufferView.FromPointer(pw, 4), BufferView.FromPointer(py, 4));
        }

        Assert.Equal([210, 5, 430, 11], y);
        Assert.Throws<ArgumentOutOfRangeException>(() => BufferView.FromPointer(null, 4));
    }

    private void NothingWasWritten() => Assert.All(_backend.Download(_y), v => Assert.Equal(42, v));
}
