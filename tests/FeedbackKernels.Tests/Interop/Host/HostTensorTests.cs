using System.Numerics.Tensors;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Conformance;

namespace FeedbackKernels.Tests.Interop.Host;

/// <summary>The kernels on tensors of System.Numerics.Tensors: the same bits as on spans, and lengths and strides are checked.</summary>
public sealed class HostTensorTests
{
    private static readonly nint[] Images = [2, 6, 5, 3], Filters = [3, 3, 3, 4], Outputs = [2, 3, 3, 4], FeedbackFilters = [3, 3, 4, 3];
    private static readonly ConvShape Shape = new(2, 6, 5, 3, 4, 3, 3, 2, 1);

    private readonly float[] _x = Values.Normal(Shape.InputLength, 1), _w = Values.Normal(Shape.WeightLength, 2);
    private readonly float[] _dy = Values.Normal(Shape.OutputLength, 3), _b = Values.Normal(Shape.WeightLength, 4);

    [Fact]
    public void The_shape_follows_from_the_tensors() => Assert.Equal(
        Shape, HostKernels.ShapeOf(new ReadOnlyTensorSpan<float>(_x, Images), new ReadOnlyTensorSpan<float>(_w, Filters), stride: 2, padding: 1));

    [Fact]
    public void Tensors_and_spans_give_the_same_bits()
    {
        using var kernels = new HostKernels(1 << 20);
        float[] y = new float[Shape.OutputLength], ySpan = new float[y.Length], dx = new float[Shape.InputLength], dxSpan = new float[dx.Length];
        float[] dw = new float[Shape.WeightLength], dwSpan = new float[dw.Length];
        kernels.Forward(
            Shape, new ReadOnlyTensorSpan<float>(_x, Images), new ReadOnlyTensorSpan<float>(_w, Filters), new TensorSpan<float>(y, Outputs),
            new HostEpilogue { Activation = Activation.Relu });
        kernels.Forward(Shape, _x, _w, ySpan, new HostEpilogue { Activation = Activation.Relu });
        Values.AssertSameBits(ySpan, y);
        kernels.Feedback(
            Shape, new ReadOnlyTensorSpan<float>(_dy, Outputs), new ReadOnlyTensorSpan<float>(_b, FeedbackFilters), new TensorSpan<float>(dx, Images));
        kernels.Feedback(Shape, _dy, _b, FeedbackLayout.Feedback, dxSpan);
        Values.AssertSameBits(dxSpan, dx);
        kernels.WeightGradient(
            Shape, new ReadOnlyTensorSpan<float>(_x, Images), new ReadOnlyTensorSpan<float>(_dy, Outputs), new TensorSpan<float>(dw, Filters));
        kernels.WeightGradient(Shape, _x, _dy, dwSpan);
        Values.AssertSameBits(dwSpan, dw);
    }

    [Fact]
    public void Steps_on_weights_take_tensors()
    {
        using var kernels = new HostKernels(1 << 20);
        var step = new MirrorStep(Shape, new MirrorNoise(NoiseKind.Balanced, Shape.FanIn, 1, 1, 1), 0, 32);
        float[] correlation = new float[_w.Length], b = new float[_w.Length], bSpan = new float[_w.Length];
        kernels.MirrorStep(step, new ReadOnlyTensorSpan<float>(_w, Filters), 1, new TensorSpan<float>(correlation, Filters), new TensorSpan<float>(b, FeedbackFilters));
        kernels.MirrorStep(step, _w, 1, correlation, bSpan);
        Values.AssertSameBits(bSpan, b);

        var part = step with { Samples = 5 };
        kernels.MirrorCorrect(part, new ReadOnlyTensorSpan<float>(Values.Normal(_w.Length, 6), Filters), 0.5f, new TensorSpan<float>(b, FeedbackFilters));
        kernels.MirrorCorrect(part, Values.Normal(_w.Length, 6), 0.5f, bSpan);
        Values.AssertSameBits(bSpan, b);

        kernels.SignSymmetryStep(Shape, new ReadOnlyTensorSpan<float>(_w, Filters), 0.5f, new TensorSpan<float>(b, FeedbackFilters));
        kernels.SignSymmetryStep(Shape, _w, 0.5f, bSpan);
        Values.AssertSameBits(bSpan, b);

        float[] w = (float[])_w.Clone(), wSpan = (float[])_w.Clone(), dw = Values.Normal(_w.Length, 5);
        float[] v = new float[_w.Length], vSpan = new float[_w.Length], bv = new float[_w.Length], bvSpan = new float[_w.Length];
        kernels.KolenPollackStep(
            Shape, new TensorSpan<float>(w, Filters), new ReadOnlyTensorSpan<float>(dw, Filters), new TensorSpan<float>(v, Filters),
            new TensorSpan<float>(b, FeedbackFilters), new TensorSpan<float>(bv, FeedbackFilters), new SgdStep(0.1f, 0.9f, 0.01f));
        kernels.KolenPollackStep(Shape, wSpan, dw, vSpan, bSpan, bvSpan, new SgdStep(0.1f, 0.9f, 0.01f));
        Values.AssertSameBits(wSpan, w);
        Values.AssertSameBits(bSpan, b);
        Values.AssertSameBits(bvSpan, bv);
    }

    [Fact]
    public void A_matrix_is_the_weights_of_a_linear_layer()
    {
        ConvShape linear = ConvShape.Linear(3, 5, 4);
        float[] x = Values.Normal(15, 1), w = Values.Normal(20, 2), y = new float[12], ySpan = new float[12];
        using var kernels = new HostKernels(HostKernels.WorkspaceBytes(linear));
        kernels.Forward(
            linear, new ReadOnlyTensorSpan<float>(x, [3, 5]), new ReadOnlyTensorSpan<float>(w, [5, 4]), new TensorSpan<float>(y, [3, 4]));
        kernels.Forward(linear, x, w, ySpan);
        Values.AssertSameBits(ySpan, y);
        ArgumentException e = Assert.Throws<ArgumentException>(() => kernels.Forward(
            linear, new ReadOnlyTensorSpan<float>(x, [3, 5]), new ReadOnlyTensorSpan<float>(w, [4, 5]), new TensorSpan<float>(y, [3, 4])));
        Assert.Equal("w", e.ParamName);
    }

    [Fact]
    public void Gaps_between_elements_are_refused()
    {
        using var kernels = new HostKernels(1 << 20);
        var y = new float[Shape.OutputLength];
        // Pixels of four numbers of which three are used; and channels first.
        foreach (nint[] strides in (nint[][])[[120, 20, 4, 1], [90, 5, 1, 30]])
        {
            ArgumentException e = Assert.Throws<ArgumentException>(() => kernels.Forward(
                Shape, new ReadOnlyTensorSpan<float>(new float[240], Images, strides), new ReadOnlyTensorSpan<float>(_w, Filters),
                new TensorSpan<float>(y, Outputs)));
            Assert.Equal("x", e.ParamName);
            Assert.Contains("has the lengths 2 x 6 x 5 x 3 and the strides " + string.Join(" x ", strides), e.Message);
        }

        Assert.All(y, value => Assert.Equal(0, value));
    }

    [Fact]
    public void The_stride_of_a_dimension_of_one_is_not_looked_at()
    {
        var shape = new ConvShape(1, 6, 5, 3, 4, 3, 3, 2, 1);
        float[] y = new float[shape.OutputLength], ySpan = new float[y.Length];
        using var kernels = new HostKernels(1 << 20);
        kernels.Forward(
            shape, new ReadOnlyTensorSpan<float>(_x, [1, 6, 5, 3], [0, 15, 3, 1]), new ReadOnlyTensorSpan<float>(_w, Filters),
            new TensorSpan<float>(y, [1, 3, 3, 4]));
        kernels.Forward(shape, _x, _w, ySpan);
        Values.AssertSameBits(ySpan, y);
    }

    [Fact]
    public void Other_lengths_are_refused()
    {
        using var kernels = new HostKernels(1 << 20);
        ArgumentException e = Assert.Throws<ArgumentException>(() => kernels.Feedback(
            Shape, new ReadOnlyTensorSpan<float>(_dy, Outputs), new ReadOnlyTensorSpan<float>(_b, Filters),
            new TensorSpan<float>(new float[_x.Length], Images)));
        Assert.Equal("b", e.ParamName);
        Assert.Contains("has the lengths 3 x 3 x 3 x 4, wanted 3 x 3 x 4 x 3", e.Message);
        e = Assert.Throws<ArgumentException>(
            () => HostKernels.ShapeOf(new ReadOnlyTensorSpan<float>(_x, Images), new ReadOnlyTensorSpan<float>(_w, FeedbackFilters)));
        Assert.Equal("w", e.ParamName);
        e = Assert.Throws<ArgumentException>(
            () => HostKernels.ShapeOf(new ReadOnlyTensorSpan<float>(_x, [12, 15]), new ReadOnlyTensorSpan<float>(_w, Filters)));
        Assert.Contains("wanted [N][H][W][C]", e.Message);
    }
}
