namespace FeedbackKernels.Interop;

public abstract partial class Backend
{
    /// <summary>
    /// b = alpha * wᵀ + beta * r per tap, where w is [R][S][C][K] and b and r are [R][S][K][C]: a transposition (beta 0), the
    /// weight mirror's blend of B with a correlation (Akrout et al. 2019, eq. 7), or the closed form of Kolen-Pollack, B = Wᵀ + r_t * R,
    /// which follows from their eqs. 16-17: W and B get the same adjustment, so only the decay changes the difference R.
    /// </summary>
    /// <param name="shape">Sizes of the layer; its N is not used.</param>
    /// <param name="alpha">Factor on wᵀ; finite.</param>
    /// <param name="w">Forward layout.</param>
    /// <param name="beta">Factor on r, finite; r is neither read nor checked when it is 0.</param>
    /// <param name="r">Feedback layout; absent when beta is 0.</param>
    /// <param name="b">Feedback layout; may be <paramref name="r"/>.</param>
    /// <param name="copy">Optional: b rounded to <see cref="ActivationType"/>, written in the same pass.</param>
    public void TransposedCombine(
        in ConvShape shape, float alpha, BufferView w, float beta, BufferView r, BufferView b, BufferView copy = default)
    {
        using OperationScope call = new(this);
        RequireShape(shape);
        RequireFinite(alpha);
        RequireFinite(beta);
        call.Read(w, shape.WeightLength);
        int result = call.Write(b, shape.WeightLength);
        if (beta == 0) r = default;
        else call.Allow(result, call.Read(r, shape.WeightLength));
        call.WriteCopyIfPresent(copy, shape.WeightLength);
        call.RequireApart();
        TransposedCombineCore(shape, alpha, w, beta, r, b, copy);
    }

    internal abstract void TransposedCombineCore(
        in ConvShape shape, float alpha, BufferView w, float beta, BufferView r, BufferView b, BufferView copy);

    /// <summary>
    /// Sign symmetry (Liao, Leibo, Poggio 2016; Xiao et al. 2019): b = scale * sign(wᵀ), or abs(magnitudes) * sign(wᵀ) * scale where
    /// magnitudes are given. sign(0) is 0.
    /// </summary>
    /// <param name="shape">Sizes of the layer; its N is not used.</param>
    /// <param name="w">Forward layout, [R][S][C][K].</param>
    /// <param name="magnitudes">Optional, feedback layout, [R][S][K][C].</param>
    /// <param name="scale">Finite.</param>
    /// <param name="b">Feedback layout; may be <paramref name="magnitudes"/>.</param>
    /// <param name="copy">Optional: b rounded to <see cref="ActivationType"/>, written in the same pass.</param>
    public void SignTransposed(
        in ConvShape shape, BufferView w, BufferView magnitudes, float scale, BufferView b, BufferView copy = default)
    {
        using OperationScope call = new(this);
        RequireShape(shape);
        RequireFinite(scale);
        call.Read(w, shape.WeightLength);
        int given = call.ReadIfPresent(magnitudes, shape.WeightLength);
        call.Allow(call.Write(b, shape.WeightLength), given);
        call.WriteCopyIfPresent(copy, shape.WeightLength);
        call.RequireApart();
        SignTransposedCore(shape, w, magnitudes, scale, b, copy);
    }

    internal abstract void SignTransposedCore(
        in ConvShape shape, BufferView w, BufferView magnitudes, float scale, BufferView b, BufferView copy);
}
