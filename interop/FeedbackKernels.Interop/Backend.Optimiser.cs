namespace FeedbackKernels.Interop;

public abstract partial class Backend
{
    /// <summary>One step of SGD in one pass over parameter, gradient and velocity; see <see cref="SgdStep"/>. The optional copy
    /// is the parameter rounded to <see cref="ActivationType"/>, written in the same pass.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The length is not positive, or a number of the step is out of range.</exception>
    public void SgdUpdate(
        long length, BufferView parameter, BufferView gradient, BufferView velocity, in SgdStep step, BufferView copy = default)
    {
        using OperationScope call = new(this);
        RequireLength(length);
        call.Write(parameter, length);
        call.Read(gradient, length);
        call.Write(velocity, length);
        call.WriteCopyIfPresent(copy, length);
        call.ReadStep(step);
        call.RequireApart();
        SgdUpdateCore(length, parameter, gradient, velocity, Readable(step), copy);
    }

    internal abstract void SgdUpdateCore(
        long length, BufferView parameter, BufferView gradient, BufferView velocity, in SgdStep step, BufferView copy);

    /// <summary>
    /// The same step on feedback weights with the transposed forward gradient: Kolen-Pollack (Akrout et al. 2019, eqs.
    /// 16-17). b, velocity and the optional copy of b are [R][S][K][C], dw is [R][S][C][K].
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">A number of the step is out of range.</exception>
    public void SgdUpdateTransposed(
        in ConvShape shape, BufferView b, BufferView dw, BufferView velocity, in SgdStep step, BufferView copy = default)
    {
        using OperationScope call = new(this);
        RequireShape(shape);
        call.Write(b, shape.WeightLength);
        call.Read(dw, shape.WeightLength);
        call.Write(velocity, shape.WeightLength);
        call.WriteCopyIfPresent(copy, shape.WeightLength);
        call.ReadStep(step);
        call.RequireApart();
        SgdUpdateTransposedCore(shape, b, dw, velocity, Readable(step), copy);
    }

    internal abstract void SgdUpdateTransposedCore(
        in ConvShape shape, BufferView b, BufferView dw, BufferView velocity, in SgdStep step, BufferView copy);

    /// <summary>
    /// The same step on W and on B in one pass over the gradient that they share: Kolen-Pollack. w, dw and velocity are
    /// [R][S][C][K], b and bVelocity are [R][S][K][C]; the optional copies are w and b rounded to
    /// <see cref="ActivationType"/>.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">A number of the step is out of range.</exception>
    public void SgdUpdateBoth(
        in ConvShape shape, BufferView w, BufferView dw, BufferView velocity, BufferView b, BufferView bVelocity, in SgdStep step,
        BufferView wCopy = default, BufferView bCopy = default)
    {
        using OperationScope call = new(this);
        RequireShape(shape);
        call.Write(w, shape.WeightLength);
        call.Read(dw, shape.WeightLength);
        call.Write(velocity, shape.WeightLength);
        call.Write(b, shape.WeightLength);
        call.Write(bVelocity, shape.WeightLength);
        call.WriteCopyIfPresent(wCopy, shape.WeightLength);
        call.WriteCopyIfPresent(bCopy, shape.WeightLength);
        call.ReadStep(step);
        call.RequireApart();
        SgdUpdateBothCore(shape, w, dw, velocity, b, bVelocity, Readable(step), wCopy, bCopy);
    }

    internal virtual void SgdUpdateBothCore(
        in ConvShape shape, BufferView w, BufferView dw, BufferView velocity, BufferView b, BufferView bVelocity, in SgdStep step,
        BufferView wCopy, BufferView bCopy)
    {
        SgdUpdateCore(shape.WeightLength, w, dw, velocity, step, wCopy);
        SgdUpdateTransposedCore(shape, b, dw, bVelocity, step, bCopy);
    }

    /// <summary>
    /// Clipping of gradients: factor = min(1, most / norm), where the norm is that of all gradients together, for
    /// <see cref="SgdStep.GradientFactor"/>. It stays where the backend computes: nobody waits for it.
    /// </summary>
    /// <param name="gradients">Float32, of any lengths, each as a whole.</param>
    /// <param name="most">Largest norm that is let through; positive.</param>
    /// <param name="factor">[1], Float32. 1 where the norm is a NaN.</param>
    /// <exception cref="ArgumentOutOfRangeException">The largest norm is not a positive, finite number.</exception>
    public void ClipFactor(ReadOnlySpan<BufferView> gradients, float most, BufferView factor)
    {
        using OperationScope call = new(this);
        RequirePositive(most);
        call.Write(factor, 1);
        call.ReadEach(gradients, nameof(gradients));
        call.RequireApart();
        ClipFactorCore(gradients, most, factor);
    }

    internal virtual void ClipFactorCore(ReadOnlySpan<BufferView> gradients, float most, BufferView factor)
    {
        double squares = 0;
        foreach (BufferView gradient in gradients) squares += CompareCore(gradient.Length, gradient, gradient).SquaredNorm;
        double norm = Math.Sqrt(squares);
        factor.Write(0, norm > most ? most / norm : 1);
    }

    /// <summary>The step with its factor in its scale, where the host can read that.</summary>
    private SgdStep Readable(in SgdStep step) => step.GradientFactor.IsAbsent || !HostAddressable
        ? step
        : step with { GradientScale = step.GradientScale * (float)step.GradientFactor.Read(0), GradientFactor = default };
}
