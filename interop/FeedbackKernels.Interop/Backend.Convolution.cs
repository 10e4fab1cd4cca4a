namespace FeedbackKernels.Interop;

public abstract partial class Backend
{
    /// <summary>Which kernel serves a convolution whose tensors have the backend's usual types, and why.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="pass">Which of the three convolutions.</param>
    /// <exception cref="ArgumentException">The shape is the default value.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The pass is none of the three.</exception>
    /// <exception cref="NotSupportedException">The shape is too large for the backend's kernels.</exception>
    public ConvExplanation Explain(in ConvShape shape, ConvPass pass) => Explain(shape, pass, ActivationType);

    /// <summary>Which kernel serves a convolution, and why.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="pass">Which of the three convolutions.</param>
    /// <param name="y">Element type of y or dy: <see cref="ActivationType"/>, or Float32 for y, as logits are.</param>
    /// <exception cref="ArgumentException">The shape is the default value, or the pass does not take this element type.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The pass is none of the three, or the element type is unknown.</exception>
    /// <exception cref="NotSupportedException">The shape is too large for the backend's kernels.</exception>
    public ConvExplanation Explain(in ConvShape shape, ConvPass pass, ElementType y)
    {
        using OperationScope call = new(this);
        RequireShape(shape);
        RequireDefined(pass);
        RequireDefined(y);
        if (y != ActivationType && (pass != ConvPass.Forward || y != ElementType.Float32))
            throw new ArgumentException($"is {y}, wanted {ActivationType}{(pass == ConvPass.Forward ? " or Float32" : "")}", nameof(y));
        return ExplainCore(ConvRequest.Of(shape, pass, ActivationType) with { Y = y });
    }

    internal abstract ConvExplanation ExplainCore(in ConvRequest request);

    /// <summary>
    /// Forward convolution with its epilogue: y[n,p,q,k] = sum over r,s,c of x[n, p*u-z+r, q*u-z+s, c] * W[r,s,c,k] (LeCun et al. 1989). The
    /// CPU backend computes some shapes by Winograd's minimal filtering (Lavin and Gray 2016); see <see cref="Explain(in ConvShape, ConvPass)"/>.
    /// </summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="x">Input, NHWC.</param>
    /// <param name="w">Forward weights, [R][S][C][K]: the master or its copy.</param>
    /// <param name="y">Output, NPQK; may be the epilogue's residual. May be Float32 for any type of x: logits are not rounded.</param>
    /// <param name="epilogue">Operations on y before it leaves the cache.</param>
    public void ConvForward(in ConvShape shape, BufferView x, BufferView w, BufferView y, in ConvEpilogue epilogue = default)
    {
        using OperationScope call = new(this);
        RequireShape(shape);
        RequireDefined(epilogue.Activation);
        call.ReadActivations(x, shape.InputLength);
        call.ReadEither(w, shape.WeightLength);
        int result = call.WriteEither(y, shape.OutputLength);
        call.ReadIfPresent(epilogue.Scale, shape.K);
        call.ReadIfPresent(epilogue.Bias, shape.K);
        call.Allow(result, call.ReadIfPresent(epilogue.Residual, shape.OutputLength, y.Type));
        if (!epilogue.Statistics.IsAbsent) call.WriteStatistics(epilogue.Statistics, shape.K, nameof(epilogue));
        call.RequireApart();
        ConvForwardCore(shape, x, w, y, epilogue);
    }

    internal abstract void ConvForwardCore(in ConvShape shape, BufferView x, BufferView w, BufferView y, in ConvEpilogue epilogue);

    /// <summary>
    /// Feedback convolution: dx[n,h,w,c] = sum over r,s,k of dy[n,p,q,k] * B[r,s,k,c] with h = p*u-z+r, w = q*u-z+s. With a B of its own it
    /// is the backward step of feedback alignment (Lillicrap et al. 2016), with W that of backpropagation (Rumelhart, Hinton and Williams
    /// 1986).
    /// </summary>
    /// <param name="shape">Sizes of the forward convolution.</param>
    /// <param name="dy">Error at the output, NPQK.</param>
    /// <param name="weights">B, or W read transposed, according to <paramref name="layout"/>: the master or its copy.</param>
    /// <param name="layout">Memory layout of the weights. Equal weights give the same bits in both layouts.</param>
    /// <param name="dx">Error at the input, NHWC.</param>
    /// <param name="accumulate">Adds to dx instead of overwriting it.</param>
    public void ConvFeedback(
        in ConvShape shape, BufferView dy, BufferView weights, FeedbackLayout layout, BufferView dx, bool accumulate = false)
    {
        using OperationScope call = new(this);
        RequireShape(shape);
        RequireDefined(layout);
        call.ReadActivations(dy, shape.OutputLength);
        call.ReadEither(weights, shape.WeightLength);
        call.WriteActivations(dx, shape.InputLength);
        call.RequireApart();
        ConvFeedbackCore(shape, dy, weights, layout, dx, accumulate);
    }

    internal abstract void ConvFeedbackCore(
        in ConvShape shape, BufferView dy, BufferView weights, FeedbackLayout layout, BufferView dx, bool accumulate);

    /// <summary>Weight gradient: dW[r,s,c,k] = sum over n,p,q of x[n, p*u-z+r, q*u-z+s, c] * dy[n,p,q,k] (backpropagation with weights that
    /// positions share: LeCun et al. 1989).</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="x">Input, NHWC.</param>
    /// <param name="dy">Error at the output, NPQK.</param>
    /// <param name="dw">Gradient, [R][S][C][K].</param>
    public void ConvWeightGradient(in ConvShape shape, BufferView x, BufferView dy, BufferView dw)
    {
        using OperationScope call = new(this);
        RequireShape(shape);
        call.ReadActivations(x, shape.InputLength);
        call.ReadActivations(dy, shape.OutputLength);
        call.Write(dw, shape.WeightLength);
        call.RequireApart();
        ConvWeightGradientCore(shape, x, dy, dw);
    }

    internal abstract void ConvWeightGradientCore(in ConvShape shape, BufferView x, BufferView dy, BufferView dw);
}
