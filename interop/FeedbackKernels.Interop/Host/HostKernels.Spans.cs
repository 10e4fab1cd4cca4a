namespace FeedbackKernels.Interop;

public sealed unsafe partial class HostKernels
{
    /// <summary>Forward convolution: y[n,p,q,k] = sum over r,s,c of x[n, p*u-z+r, q*u-z+s, c] * W[r,s,c,k], and its epilogue (LeCun et al.
    /// 1989; for some shapes by Winograd's minimal filtering, Lavin and Gray 2016).</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="x">Input, NHWC.</param>
    /// <param name="w">Forward weights, [R][S][C][K].</param>
    /// <param name="y">Output, NPQK.</param>
    /// <param name="epilogue">Operations on y before it leaves the cache.</param>
    public void Forward(in ConvShape shape, ReadOnlySpan<float> x, ReadOnlySpan<float> w, Span<float> y, in HostEpilogue epilogue = default)
    {
        if (epilogue.Mean.IsEmpty != epilogue.Variance.IsEmpty)
            throw new ArgumentException("has one of Mean and Variance, wanted both or none", nameof(epilogue));
        fixed (float* xs = x, ws = w, ys = y, scale = epilogue.Scale, bias = epilogue.Bias, residual = epilogue.Residual, mean = epilogue.Mean,
            variance = epilogue.Variance)
        {
            Backend.ConvForward(
                shape, Required(xs, x.Length), Required(ws, w.Length), Required(ys, y.Length),
                new ConvEpilogue(
                    Optional(scale, epilogue.Scale.Length), Optional(bias, epilogue.Bias.Length), Optional(residual, epilogue.Residual.Length),
                    epilogue.Activation,
                    new BatchStatistics(Optional(mean, epilogue.Mean.Length), Optional(variance, epilogue.Variance.Length))));
        }
    }

    /// <summary>Feedback convolution: dx[n,h,w,c] = sum over r,s,k of dy[n,p,q,k] * B[r,s,k,c] with h = p*u-z+r, w = q*u-z+s. With a B of its
    /// own it is the backward step of feedback alignment (Lillicrap et al. 2016), with W that of backpropagation (Rumelhart, Hinton and
    /// Williams 1986).</summary>
    /// <param name="shape">Sizes of the forward convolution.</param>
    /// <param name="dy">Error at the output, NPQK.</param>
    /// <param name="weights">B, [R][S][K][C]; or W, [R][S][C][K], which is read transposed, as backprop does.</param>
    /// <param name="layout">Which of the two. Equal weights give the same bits in both layouts.</param>
    /// <param name="dx">Error at the input, NHWC.</param>
    /// <param name="accumulate">Adds to dx instead of overwriting it.</param>
    public void Feedback(
        in ConvShape shape, ReadOnlySpan<float> dy, ReadOnlySpan<float> weights, FeedbackLayout layout, Span<float> dx, bool accumulate = false)
    {
        fixed (float* dys = dy, ws = weights, dxs = dx)
            Backend.ConvFeedback(shape, Required(dys, dy.Length), Required(ws, weights.Length), layout, Required(dxs, dx.Length), accumulate);
    }

    /// <summary>Weight gradient: dW[r,s,c,k] = sum over n,p,q of x[n, p*u-z+r, q*u-z+s, c] * dy[n,p,q,k] (backpropagation with weights that
    /// positions share: LeCun et al. 1989).</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="x">Input, NHWC.</param>
    /// <param name="dy">Error at the output, NPQK.</param>
    /// <param name="dw">Gradient, [R][S][C][K].</param>
    public void WeightGradient(in ConvShape shape, ReadOnlySpan<float> x, ReadOnlySpan<float> dy, Span<float> dw)
    {
        fixed (float* xs = x, dys = dy, dws = dw)
            Backend.ConvWeightGradient(shape, Required(xs, x.Length), Required(dys, dy.Length), Required(dws, dw.Length));
    }

    /// <summary>
    /// One step of the weight mirror (Akrout et al. 2019, eq. 7): noise ξ goes through W, and B moves towards the correlation of the
    /// response η with it: <c>B = (1 - rate) B + rate / (gain σ² n) ηᵀξ</c>. With balanced noise and as many samples as its
    /// <see cref="MirrorNoise.CycleLength"/>, from a multiple of that on, the correlation measures W up to rounding, and the rate is best 1;
    /// otherwise it is an average, and small. A cycle in several calls: <see cref="MirrorCorrelate(in MirrorStep, ReadOnlySpan{float},
    /// Span{float}, bool)"/> for each, then <see cref="MirrorMove(in MirrorStep, ReadOnlySpan{float}, float, Span{float})"/>.
    /// </summary>
    /// <param name="step">Layer, noise and samples; take the samples of the next step from where those of this one end.</param>
    /// <param name="w">Forward weights, [R][S][C][K].</param>
    /// <param name="rate">Weight of this estimate in B, above 0 and up to 1.</param>
    /// <param name="correlation">Overwritten; R*S*C*K elements.</param>
    /// <param name="b">Feedback weights, [R][S][K][C].</param>
    public void MirrorStep(in MirrorStep step, ReadOnlySpan<float> w, float rate, Span<float> correlation, Span<float> b)
    {
        RequireRate(rate);
        fixed (float* ws = w, rs = correlation, bs = b)
            MirrorStep(step, Required(ws, w.Length), rate, Required(rs, correlation.Length), Required(bs, b.Length));
    }

    /// <summary>
    /// One step of the weight mirror that corrects B by what it does not know yet: <c>B += rate * f * (ξᵀ(ξW - ξBᵀ))ᵀ</c>, the
    /// delta rule (Widrow and Hoff 1960); see <see cref="Backend.MirrorCorrect"/>. B moves at each step, however few samples it takes, and
    /// keeps up with a W that moves better than an average does. With balanced noise, give each step samples of the same cycle in turn:
    /// <c>FirstSample = position</c>, with the position going from 0 to <see cref="MirrorNoise.CycleLength"/> and back to 0. To start
    /// with a B that equals Wᵀ, measure W by one cycle in
    /// <see cref="MirrorStep(in MirrorStep, ReadOnlySpan{float}, float, Span{float}, Span{float})"/>.
    /// </summary>
    /// <param name="step">Layer, noise and samples: patches, linear response.</param>
    /// <param name="w">Forward weights, [R][S][C][K].</param>
    /// <param name="rate">Share of the difference that is corrected, above 0 and up to 1; usually 1.</param>
    /// <param name="b">Feedback weights, [R][S][K][C].</param>
    public void MirrorCorrect(in MirrorStep step, ReadOnlySpan<float> w, float rate, Span<float> b)
    {
        RequireRate(rate);
        fixed (float* ws = w, bs = b) Backend.MirrorCorrect(step, Required(ws, w.Length), rate, Required(bs, b.Length));
    }

    /// <summary>Sends noise through a layer and sums ξᵀη (Akrout et al. 2019, eq. 7), without moving B.</summary>
    /// <param name="step">Layer, noise and samples.</param>
    /// <param name="w">Forward weights, [R][S][C][K].</param>
    /// <param name="correlation">Sum of ξᵀη, in the layout of W.</param>
    /// <param name="accumulate">Adds to the correlation instead of overwriting it.</param>
    public void MirrorCorrelate(in MirrorStep step, ReadOnlySpan<float> w, Span<float> correlation, bool accumulate = false)
    {
        fixed (float* ws = w, rs = correlation)
            Backend.MirrorCorrelate(step, Required(ws, w.Length), Required(rs, correlation.Length), accumulate);
    }

    /// <summary>Moves B towards a correlation: <c>B = (1 - rate) B + rate / (gain σ² n) correlationᵀ</c> (Akrout et al. 2019, eq. 7, with a
    /// decay of B that is the rate).</summary>
    /// <param name="collected">Layer and noise, with the number of samples that the correlation sums.</param>
    /// <param name="correlation">From <see cref="MirrorCorrelate(in MirrorStep, ReadOnlySpan{float}, Span{float}, bool)"/>.</param>
    /// <param name="rate">Weight of the estimate in B, above 0 and up to 1.</param>
    /// <param name="b">Feedback weights, [R][S][K][C].</param>
    public void MirrorMove(in MirrorStep collected, ReadOnlySpan<float> correlation, float rate, Span<float> b)
    {
        RequireRate(rate);
        fixed (float* rs = correlation, bs = b) MirrorMove(collected, Required(rs, correlation.Length), rate, Required(bs, b.Length));
    }

    /// <summary>
    /// One step of SGD with Kolen-Pollack on a layer (Akrout et al. 2019, eqs. 16-17): W and B get the same adjustment and the same decay,
    /// in one pass over dW, so B - Wᵀ shrinks by the decay alone.
    /// </summary>
    /// <param name="shape">Sizes of the layer; its N is not used.</param>
    /// <param name="w">Forward weights, [R][S][C][K].</param>
    /// <param name="dw">Their gradient, [R][S][C][K].</param>
    /// <param name="velocity">Velocity of W, [R][S][C][K]; zeros before the first step.</param>
    /// <param name="b">Feedback weights, [R][S][K][C].</param>
    /// <param name="bVelocity">Velocity of B, [R][S][K][C]; zeros before the first step.</param>
    /// <param name="step">Learning rate, momentum and decay.</param>
    public void KolenPollackStep(
        in ConvShape shape, Span<float> w, ReadOnlySpan<float> dw, Span<float> velocity, Span<float> b, Span<float> bVelocity, in SgdStep step)
    {
        fixed (float* ws = w, dws = dw, vs = velocity, bs = b, bvs = bVelocity)
        {
            Backend.SgdUpdateBoth(
                shape, Required(ws, w.Length), Required(dws, dw.Length), Required(vs, velocity.Length), Required(bs, b.Length),
                Required(bvs, bVelocity.Length), step);
        }
    }

    /// <summary>
    /// Kolen-Pollack beside any optimiser (Kolen and Pollack 1994; Akrout et al. 2019, eqs. 16-17): gives B the adjustment that W has got,
    /// and the same decay: <c>B = (1 - decay) B + Δᵀ</c>, where <c>Δ = W after - (1 - decay) W before</c> is the optimiser's own part of
    /// the change.
    /// </summary>
    /// <param name="shape">Sizes of the layer; its N is not used.</param>
    /// <param name="adjustment">Δ, [R][S][C][K].</param>
    /// <param name="decay">Share of W that decayed in the same step, such as learning rate times weight decay; finite.</param>
    /// <param name="b">Feedback weights, [R][S][K][C].</param>
    public void KolenPollackFollow(in ConvShape shape, ReadOnlySpan<float> adjustment, float decay, Span<float> b)
    {
        CpuBackend.RequireFinite(decay);
        fixed (float* deltas = adjustment, bs = b) KolenPollackFollow(shape, Required(deltas, adjustment.Length), decay, Required(bs, b.Length));
    }

    /// <summary>Sign symmetry (Liao, Leibo, Poggio 2016; Xiao et al. 2019): B = scale * sign(Wᵀ), or abs(magnitudes) * sign(Wᵀ) * scale where
    /// magnitudes are given. sign(0) is 0.</summary>
    /// <param name="shape">Sizes of the layer; its N is not used.</param>
    /// <param name="w">Forward weights, [R][S][C][K].</param>
    /// <param name="scale">Finite.</param>
    /// <param name="b">Feedback weights, [R][S][K][C].</param>
    /// <param name="magnitudes">Optional, [R][S][K][C]; may be <paramref name="b"/>.</param>
    public void SignSymmetryStep(in ConvShape shape, ReadOnlySpan<float> w, float scale, Span<float> b, ReadOnlySpan<float> magnitudes = default)
    {
        fixed (float* ws = w, bs = b, ms = magnitudes)
            Backend.SignTransposed(shape, Required(ws, w.Length), Optional(ms, magnitudes.Length), scale, Required(bs, b.Length));
    }
}
