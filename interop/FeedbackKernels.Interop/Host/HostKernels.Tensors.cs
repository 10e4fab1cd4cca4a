using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

// The same operations on tensors, which carry their own sizes. A tensor of weights has four dimensions, or two for a linear layer.
public sealed unsafe partial class HostKernels
{
    /// <summary>The shape of a convolution, from the sizes of its input and its weights.</summary>
    /// <param name="x">[N][H][W][C].</param>
    /// <param name="w">[R][S][C][K].</param>
    /// <param name="stride">Input pixels from one output pixel to the next.</param>
    /// <param name="padding">Rows and columns of zeros on each side.</param>
    /// <exception cref="ArgumentException">A tensor does not have four dimensions, or the two differ in C.</exception>
    /// <exception cref="ArgumentOutOfRangeException">As for <see cref="ConvShape(int, int, int, int, int, int, int, int, int)"/>.</exception>
    public static ConvShape ShapeOf(in ReadOnlyTensorSpan<float> x, in ReadOnlyTensorSpan<float> w, int stride = 1, int padding = 0)
    {
        RequireRank(x, 4, "[N][H][W][C]");
        RequireRank(w, 4, "[R][S][C][K]");
        if (x.Lengths[3] != w.Lengths[2])
            throw new ArgumentException($"has {w.Lengths[2]} input channels, x has {x.Lengths[3]}", nameof(w));
        return new ConvShape(
            Size(x.Lengths[0], nameof(x)), Size(x.Lengths[1], nameof(x)), Size(x.Lengths[2], nameof(x)), Size(x.Lengths[3], nameof(x)),
            Size(w.Lengths[3], nameof(w)), Size(w.Lengths[0], nameof(w)), Size(w.Lengths[1], nameof(w)), stride, padding);
    }

    /// <inheritdoc cref="Forward(in ConvShape, ReadOnlySpan{float}, ReadOnlySpan{float}, Span{float}, in HostEpilogue)"/>
    /// <param name="shape">Sizes, as from <see cref="ShapeOf"/>.</param>
    /// <param name="x">Input, [N][H][W][C].</param>
    /// <param name="w">Forward weights, [R][S][C][K].</param>
    /// <param name="y">Output, [N][P][Q][K].</param>
    /// <param name="epilogue">Operations on y before it leaves the cache.</param>
    /// <exception cref="ArgumentException">A tensor has other lengths, or gaps between its elements.</exception>
    public void Forward(
        in ConvShape shape, in ReadOnlyTensorSpan<float> x, in ReadOnlyTensorSpan<float> w, in TensorSpan<float> y, in HostEpilogue epilogue = default) =>
        Forward(shape, Elements(x, Input(shape)), Elements(w, Weights(shape)), Elements(y, Output(shape)), epilogue);

    /// <inheritdoc cref="Feedback(in ConvShape, ReadOnlySpan{float}, ReadOnlySpan{float}, FeedbackLayout, Span{float}, bool)"/>
    /// <param name="shape">Sizes of the forward convolution.</param>
    /// <param name="dy">Error at the output, [N][P][Q][K].</param>
    /// <param name="b">Feedback weights, [R][S][K][C].</param>
    /// <param name="dx">Error at the input, [N][H][W][C].</param>
    /// <param name="accumulate">Adds to dx instead of overwriting it.</param>
    /// <exception cref="ArgumentException">A tensor has other lengths, or gaps between its elements.</exception>
    public void Feedback(
        in ConvShape shape, in ReadOnlyTensorSpan<float> dy, in ReadOnlyTensorSpan<float> b, in TensorSpan<float> dx, bool accumulate = false) =>
        Feedback(shape, Elements(dy, Output(shape)), Elements(b, FeedbackWeights(shape)), FeedbackLayout.Feedback, Elements(dx, Input(shape)), accumulate);

    /// <inheritdoc cref="WeightGradient(in ConvShape, ReadOnlySpan{float}, ReadOnlySpan{float}, Span{float})"/>
    /// <param name="shape">Sizes.</param>
    /// <param name="x">Input, [N][H][W][C].</param>
    /// <param name="dy">Error at the output, [N][P][Q][K].</param>
    /// <param name="dw">Gradient, [R][S][C][K].</param>
    /// <exception cref="ArgumentException">A tensor has other lengths, or gaps between its elements.</exception>
    public void WeightGradient(
        in ConvShape shape, in ReadOnlyTensorSpan<float> x, in ReadOnlyTensorSpan<float> dy, in TensorSpan<float> dw) =>
        WeightGradient(shape, Elements(x, Input(shape)), Elements(dy, Output(shape)), Elements(dw, Weights(shape)));

    /// <inheritdoc cref="MirrorStep(in MirrorStep, ReadOnlySpan{float}, float, Span{float}, Span{float})"/>
    /// <exception cref="ArgumentException">A tensor has other lengths, or gaps between its elements.</exception>
    public void MirrorStep(
        in MirrorStep step, in ReadOnlyTensorSpan<float> w, float rate, in TensorSpan<float> correlation, in TensorSpan<float> b) =>
        MirrorStep(step, Elements(w, Weights(step.Layer)), rate, Elements(correlation, Weights(step.Layer)), Elements(b, FeedbackWeights(step.Layer)));

    /// <inheritdoc cref="MirrorCorrect(in MirrorStep, ReadOnlySpan{float}, float, Span{float})"/>
    /// <exception cref="ArgumentException">A tensor has other lengths, or gaps between its elements.</exception>
    public void MirrorCorrect(in MirrorStep step, in ReadOnlyTensorSpan<float> w, float rate, in TensorSpan<float> b) =>
        MirrorCorrect(step, Elements(w, Weights(step.Layer)), rate, Elements(b, FeedbackWeights(step.Layer)));

    /// <inheritdoc cref="KolenPollackStep(in ConvShape, Span{float}, ReadOnlySpan{float}, Span{float}, Span{float}, Span{float}, in SgdStep)"/>
    /// <exception cref="ArgumentException">A tensor has other lengths, or gaps between its elements.</exception>
    public void KolenPollackStep(
        in ConvShape shape, in TensorSpan<float> w, in ReadOnlyTensorSpan<float> dw, in TensorSpan<float> velocity, in TensorSpan<float> b,
        in TensorSpan<float> bVelocity, in SgdStep step) =>
        KolenPollackStep(
            shape, Elements(w, Weights(shape)), Elements(dw, Weights(shape)), Elements(velocity, Weights(shape)), Elements(b, FeedbackWeights(shape)), Elements(bVelocity, FeedbackWeights(shape)), step);

    /// <inheritdoc cref="SignSymmetryStep(in ConvShape, ReadOnlySpan{float}, float, Span{float}, ReadOnlySpan{float})"/>
    /// <param name="shape">Sizes of the layer; its N is not used.</param>
    /// <param name="w">Forward weights, [R][S][C][K].</param>
    /// <param name="scale">Finite.</param>
    /// <param name="b">Feedback weights, [R][S][K][C].</param>
    /// <exception cref="ArgumentException">A tensor has other lengths, or gaps between its elements.</exception>
    public void SignSymmetryStep(in ConvShape shape, in ReadOnlyTensorSpan<float> w, float scale, in TensorSpan<float> b) =>
        SignSymmetryStep(shape, Elements(w, Weights(shape)), scale, Elements(b, FeedbackWeights(shape)));

    private static TensorSizes Input(in ConvShape shape) => new(shape.N, shape.H, shape.W, shape.C);

    private static TensorSizes Output(in ConvShape shape) => new(shape.N, shape.P, shape.Q, shape.K);

    private static TensorSizes Weights(in ConvShape shape) => new(shape.R, shape.S, shape.C, shape.K);

    private static TensorSizes FeedbackWeights(in ConvShape shape) => new(shape.R, shape.S, shape.K, shape.C);

    private static ReadOnlySpan<float> Elements(
        in ReadOnlyTensorSpan<float> tensor, TensorSizes sizes, [CallerArgumentExpression(nameof(tensor))] string name = "")
    {
        int length = RequireDense(tensor, name, sizes.First, sizes.Second, sizes.Third, sizes.Fourth);
        return MemoryMarshal.CreateReadOnlySpan(in tensor.GetPinnableReference(), length);
    }

    private static Span<float> Elements(
        in TensorSpan<float> tensor, TensorSizes sizes, [CallerArgumentExpression(nameof(tensor))] string name = "")
    {
        int length = RequireDense(tensor, name, sizes.First, sizes.Second, sizes.Third, sizes.Fourth);
        return MemoryMarshal.CreateSpan(ref tensor.GetPinnableReference(), length);
    }

    /// <summary>Checks that a tensor has these lengths and no gaps, its last dimension contiguous, and returns the number of its elements. A
    /// linear layer's tensors may leave out the two dimensions of 1.</summary>
    private static int RequireDense(in ReadOnlyTensorSpan<float> tensor, string name, params ReadOnlySpan<int> wanted)
    {
        ReadOnlySpan<nint> lengths = tensor.Lengths, strides = tensor.Strides;
        // Weights [1][1][C][K] are [C][K], activations [N][1][1][C] are [N][C].
        Span<int> squeezed = [wanted[0] == 1 ? wanted[2] : wanted[0], wanted[3]];
        bool isMatrix = lengths.Length == 2 && wanted[1] == 1 && (wanted[0] == 1 || wanted[2] == 1);
        if (!HasLengths(lengths, isMatrix ? squeezed : wanted))
            throw new ArgumentException($"has the lengths {Text(lengths)}, wanted {string.Join(" x ", wanted.ToArray())}", name);
        long dense = 1;
        for (int i = lengths.Length - 1; i >= 0; i--)
        {
            // The stride of a dimension of 1 is never used.
            if (lengths[i] != 1 && strides[i] != dense)
            {
                throw new ArgumentException(
                    $"has the lengths {Text(lengths)} and the strides {Text(strides)}; wanted no gaps and the last dimension contiguous: copy it first", name);
            }

            dense *= lengths[i];
        }

        if (dense > int.MaxValue) throw new ArgumentException($"has {dense} elements, more than {int.MaxValue}: use the methods that take pointers", name);
        return (int)dense;
    }

    private static bool HasLengths(ReadOnlySpan<nint> lengths, ReadOnlySpan<int> wanted)
    {
        if (lengths.Length != wanted.Length) return false;
        for (int i = 0; i < wanted.Length; i++)
        {
            if (lengths[i] != wanted[i]) return false;
        }

        return true;
    }

    private static void RequireRank(in ReadOnlyTensorSpan<float> tensor, int rank, string layout, [CallerArgumentExpression(nameof(tensor))] string name = "")
    {
        if (tensor.Rank != rank) throw new ArgumentException($"has the lengths {Text(tensor.Lengths)}, wanted {layout}", name);
    }

    private static int Size(nint length, string name) =>
        length <= int.MaxValue ? (int)length : throw new ArgumentOutOfRangeException(name, length, $"wanted up to {int.MaxValue} in each dimension");

    private static string Text(ReadOnlySpan<nint> sizes) => string.Join(" x ", sizes.ToArray());

    /// <summary>Lengths of the four dimensions of a tensor.</summary>
    private readonly record struct TensorSizes(int First, int Second, int Third, int Fourth);
}
