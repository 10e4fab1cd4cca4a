using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Interop;

/// <summary>Bad input: an exception that names the argument, and nothing written.</summary>
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
        // The residual is of the output's type.
        e = Assert.Throws<ArgumentException>(() => backend.ConvForward(Shape, x, floats, y, new ConvEpilogue(Residual: floats)));
        Assert.Equal("epilogue.Residual", e.ParamName);
        Assert.Contains("holds BFloat16", Assert.Throws<ArgumentException>(() => backend.SgdUpdate(10, y, floats, floats, new SgdStep(1))).Message);

        // Where products read the masters, there is neither bf16 nor a copy.
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
    public void Impossible_convolutions_are_refused(int n, int h, int w, int c, int k, int r, int s, int stride, int padding, string name) =>
        Assert.Equal(name, Assert.Throws<ArgumentOutOfRangeException>(() => new ConvShape(n, h, w, c, k, r, s, stride, padding)).ParamName);

    [Fact]
    public void A_shape_without_sizes_is_refused() =>
        Assert.Equal("shape", Assert.Throws<ArgumentException>(() => _backend.ConvForward(default, _x, _w, _y)).ParamName);

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
