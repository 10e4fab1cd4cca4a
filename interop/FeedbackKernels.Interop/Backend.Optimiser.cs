namespace FeedbackKernels.Interop;

public abstract partial class Backend
{
    /// <summary>One step of SGD in one pass over parameter, gradient and velocity, all Float32; formula and sources are at
    /// <see cref="SgdStep"/>. The optional copy is the parameter rounded to <see cref="ActivationType"/>, written in the same
    /// pass.</summary>
    /// <param name="length">Number of elements.</param>
    /// <param name="parameter">The parameter, updated.</param>
    /// <param name="gradient">Its gradient.</param>
    /// <param name="velocity">Its velocity, updated.</param>
    /// <param name="step">Learning rate, momentum, decay and what else the step depends on.</param>
    /// <param name="copy">Gets the rounded parameter; optional.</param>
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
    /// <param name="shape">Sizes of the layer.</param>
    /// <param name="b">Feedback weights, updated.</param>
    /// <param name="dw">Gradient of the forward weights.</param>
    /// <param name="velocity">Velocity of b, updated.</param>
    /// <param name="step">Learning rate, momentum, decay and what else the step depends on.</param>
    /// <param name="copy">Gets the rounded b; optional.</param>
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
    /// The same step on W and on B in one pass over dW: Kolen-Pollack (Akrout et al. 2019, eqs. 16-17). w, dw and velocity are
    /// [R][S][C][K], b and bVelocity are [R][S][K][C], all Float32; the optional copies are w and b rounded to
    /// <see cref="ActivationType"/>.
    /// </summary>
    /// <param name="shape">Sizes of the layer.</param>
    /// <param name="w">Forward weights, updated.</param>
    /// <param name="dw">Their gradient.</param>
    /// <param name="velocity">Their velocity, updated.</param>
    /// <param name="b">Feedback weights, updated.</param>
    /// <param name="bVelocity">Their velocity, updated.</param>
    /// <param name="step">Learning rate, momentum, decay and what else the step depends on.</param>
    /// <param name="wCopy">Gets the rounded w; optional.</param>
    /// <param name="bCopy">Gets the rounded b; optional.</param>
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

    /// <summary>One step of SGD on many parameters of a slab in one pass: <see cref="SgdUpdate"/> on each segment.</summary>
    /// <param name="segments">At least one, in rising order, none over another.</param>
    /// <param name="values">Parameters, Float32, up to the end of the last segment.</param>
    /// <param name="gradients">Their gradients, likewise.</param>
    /// <param name="velocities">Their velocities, likewise.</param>
    /// <param name="step">The step; decay and shrink of a segment take the place of its own.</param>
    /// <param name="copies">Optional: the values rounded to <see cref="ActivationType"/>, written in the same pass.</param>
    /// <exception cref="ArgumentException">There is no segment, one has no elements, begins before the end of the one in front of it, or
    /// a number of a segment is not finite.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A number of the step is out of range.</exception>
    public void SgdUpdateSlab(
        ReadOnlySpan<SlabSegment> segments, BufferView values, BufferView gradients, BufferView velocities, in SgdStep step,
        BufferView copies = default)
    {
        using OperationScope call = new(this);
        long length = EndOf(segments);
        call.Write(values, length);
        call.Read(gradients, length);
        call.Write(velocities, length);
        call.WriteCopyIfPresent(copies, length);
        call.ReadStep(step);
        call.RequireApart();
        SgdUpdateSlabCore(segments, values, gradients, velocities, Readable(step), copies);
    }

    internal virtual void SgdUpdateSlabCore(
        ReadOnlySpan<SlabSegment> segments, BufferView values, BufferView gradients, BufferView velocities, in SgdStep step, BufferView copies)
    {
        foreach (SlabSegment segment in segments)
        {
            SgdUpdateCore(
                segment.Length, values.From(segment.Offset), gradients.From(segment.Offset), velocities.From(segment.Offset),
                step with { WeightDecay = segment.WeightDecay, Shrink = segment.Shrink }, copies.From(segment.Offset));
        }
    }

    /// <summary>One step of SGD on the forward and feedback weights of many layers: <see cref="SgdUpdateBoth"/> on each segment.</summary>
    /// <param name="segments">At least one, their W and their B in rising order each, none over another.</param>
    /// <param name="values">Slab of W, Float32.</param>
    /// <param name="gradients">Gradients of W, likewise.</param>
    /// <param name="velocities">Velocities of W, likewise.</param>
    /// <param name="feedback">Slab of B, Float32.</param>
    /// <param name="feedbackVelocities">Velocities of B, likewise.</param>
    /// <param name="step">The step; decay and shrink of a segment take the place of its own.</param>
    /// <param name="copies">Optional: W rounded to <see cref="ActivationType"/>, written in the same pass.</param>
    /// <param name="feedbackCopies">Optional: B rounded likewise.</param>
    /// <exception cref="ArgumentException">There is no segment, one has no shape, begins before the end of the one in front of it, or
    /// a number of a segment is not finite.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A number of the step is out of range.</exception>
    public void SgdUpdateCoupledSlab(
        ReadOnlySpan<CoupledSegment> segments, BufferView values, BufferView gradients, BufferView velocities, BufferView feedback,
        BufferView feedbackVelocities, in SgdStep step, BufferView copies = default, BufferView feedbackCopies = default)
    {
        using OperationScope call = new(this);
        (long length, long feedbackLength) = EndsOf(segments);
        call.Write(values, length);
        call.Read(gradients, length);
        call.Write(velocities, length);
        call.Write(feedback, feedbackLength);
        call.Write(feedbackVelocities, feedbackLength);
        call.WriteCopyIfPresent(copies, length);
        call.WriteCopyIfPresent(feedbackCopies, feedbackLength);
        call.ReadStep(step);
        call.RequireApart();
        SgdUpdateCoupledSlabCore(segments, values, gradients, velocities, feedback, feedbackVelocities, Readable(step), copies, feedbackCopies);
    }

    internal virtual void SgdUpdateCoupledSlabCore(
        ReadOnlySpan<CoupledSegment> segments, BufferView values, BufferView gradients, BufferView velocities, BufferView feedback,
        BufferView feedbackVelocities, in SgdStep step, BufferView copies, BufferView feedbackCopies)
    {
        foreach (CoupledSegment segment in segments)
        {
            SgdUpdateBothCore(
                segment.Shape, values.From(segment.Offset), gradients.From(segment.Offset), velocities.From(segment.Offset),
                feedback.From(segment.FeedbackOffset), feedbackVelocities.From(segment.FeedbackOffset),
                step with { WeightDecay = segment.WeightDecay, Shrink = segment.Shrink }, copies.From(segment.Offset),
                feedbackCopies.From(segment.FeedbackOffset));
        }
    }

    /// <summary>
    /// Clipping of gradients (Pascanu, Mikolov and Bengio 2013, algorithm 1): factor = min(1, most / norm), where the norm is that of all
    /// gradients together, for <see cref="SgdStep.GradientFactor"/>. The factor stays in the backend's memory, so the host does not wait for it.
    /// </summary>
    /// <param name="gradients">Float32, of any lengths, each as a whole.</param>
    /// <param name="most">The norm that larger gradients are scaled down to; positive.</param>
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

    /// <summary>Checks segments and returns how many elements a slab must have for them.</summary>
    private static long EndOf(ReadOnlySpan<SlabSegment> segments)
    {
        if (segments.IsEmpty) throw new ArgumentException("there are no segments, wanted at least one", nameof(segments));
        long end = 0;
        for (int i = 0; i < segments.Length; i++)
        {
            SlabSegment segment = segments[i];
            end = EndOf(i, segment.Offset, segment.Length, end, "");
            RequireFiniteTerms(i, segment.WeightDecay, segment.Shrink);
        }

        return end;
    }

    private static (long Forward, long Feedback) EndsOf(ReadOnlySpan<CoupledSegment> segments)
    {
        if (segments.IsEmpty) throw new ArgumentException("there are no segments, wanted at least one", nameof(segments));
        long end = 0, feedbackEnd = 0;
        for (int i = 0; i < segments.Length; i++)
        {
            CoupledSegment segment = segments[i];
            if (segment.Shape == default) throw new ArgumentException($"segment {i} has the default shape, wanted that of a layer", nameof(segments));
            end = EndOf(i, segment.Offset, segment.Shape.WeightLength, end, "");
            feedbackEnd = EndOf(i, segment.FeedbackOffset, segment.Shape.WeightLength, feedbackEnd, "feedback ");
            RequireFiniteTerms(i, segment.WeightDecay, segment.Shrink);
        }

        return (end, feedbackEnd);
    }

    private static long EndOf(int index, long offset, long length, long before, string kind)
    {
        if (length < 1) throw BadSegment(index, $"{length} elements, wanted at least 1");
        if (offset < before) throw BadSegment(index, $"{kind}offset {offset}, wanted {before} or more");
        if (length > long.MaxValue - offset) throw BadSegment(index, $"{length} elements from offset {offset}: more than can be counted");
        return offset + length;
    }

    private static ArgumentException BadSegment(int index, string what, string segments = "segments") => new($"segment {index} has {what}", segments);

    private static void RequireFiniteTerms(int index, float weightDecay, float shrink)
    {
        if (!float.IsFinite(weightDecay) || !float.IsFinite(shrink))
            throw BadSegment(index, $"weight decay {weightDecay} and shrink {shrink}, wanted finite numbers");
    }

    /// <summary>The step with its factor in its scale, where the host can read that.</summary>
    private SgdStep Readable(in SgdStep step) => step.GradientFactor.IsAbsent || !HostAddressable
        ? step
        : step with { GradientScale = step.GradientScale * (float)step.GradientFactor.Read(0), GradientFactor = default };
}
