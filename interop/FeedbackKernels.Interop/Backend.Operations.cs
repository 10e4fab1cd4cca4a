namespace FeedbackKernels.Interop;

// One partial file for the operations: the checked entry of each, then what a backend implements.
public abstract partial class Backend
{
    /// <summary>
    /// Forward convolution with its epilogue: y[n,p,q,k] = sum over r,s,c of x[n, p*u-z+r, q*u-z+s, c] * W[r,s,c,k].
    /// </summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="x">Input, NHWC.</param>
    /// <param name="w">Forward weights, [R][S][C][K]: the master or its copy.</param>
    /// <param name="y">Output, NPQK; overlaps no operand but may be the epilogue's residual. May be Float32 whatever x is:
    /// logits, whose order is a net's answer, keep all their digits.</param>
    /// <param name="epilogue">What is done to y before it leaves the cache.</param>
    public void ConvForward(in ConvShape shape, BufferView x, BufferView w, BufferView y, in ConvEpilogue epilogue = default)
    {
        RequireShape(shape);
        RequireActivations(x, shape.InputLength);
        RequireEither(w, shape.WeightLength);
        RequireEither(y, shape.OutputLength);
        RequireApart(y, shape.OutputLength, x, shape.InputLength);
        RequireApart(y, shape.OutputLength, w, shape.WeightLength);
        RequireIfPresent(epilogue.Scale, shape.K);
        RequireIfPresent(epilogue.Bias, shape.K);
        RequireIfPresent(epilogue.Residual, shape.OutputLength, y.Type);
        if (!epilogue.Statistics.IsAbsent) RequireStatistics(epilogue.Statistics, shape.K);
        ConvForwardCore(shape, x, w, y, epilogue);
    }

    /// <summary>
    /// Feedback convolution: dx[n,h,w,c] = sum over r,s,k of dy[n,p,q,k] * B[r,s,k,c] with h = p*u-z+r, w = q*u-z+s.
    /// </summary>
    /// <param name="shape">Sizes of the forward convolution.</param>
    /// <param name="dy">Error at the output, NPQK.</param>
    /// <param name="weights">B, or W read transposed, as <paramref name="layout"/> says: the master or its copy.</param>
    /// <param name="layout">How the weights lie in memory. Equal weights give the same bits in either layout.</param>
    /// <param name="dx">Error at the input, NHWC; overlaps no operand.</param>
    /// <param name="accumulate">Adds to dx instead of overwriting it.</param>
    public void ConvFeedback(
        in ConvShape shape, BufferView dy, BufferView weights, FeedbackLayout layout, BufferView dx, bool accumulate = false)
    {
        RequireShape(shape);
        RequireActivations(dy, shape.OutputLength);
        RequireEither(weights, shape.WeightLength);
        RequireActivations(dx, shape.InputLength);
        RequireApart(dx, shape.InputLength, dy, shape.OutputLength);
        RequireApart(dx, shape.InputLength, weights, shape.WeightLength);
        ConvFeedbackCore(shape, dy, weights, layout, dx, accumulate);
    }

    /// <summary>Weight gradient: dW[r,s,c,k] = sum over n,p,q of x[n, p*u-z+r, q*u-z+s, c] * dy[n,p,q,k].</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="x">Input, NHWC.</param>
    /// <param name="dy">Error at the output, NPQK.</param>
    /// <param name="dw">Gradient, [R][S][C][K]; overlaps no operand.</param>
    public void ConvWeightGradient(in ConvShape shape, BufferView x, BufferView dy, BufferView dw)
    {
        RequireShape(shape);
        RequireActivations(x, shape.InputLength);
        RequireActivations(dy, shape.OutputLength);
        Require(dw, shape.WeightLength);
        RequireApart(dw, shape.WeightLength, x, shape.InputLength);
        RequireApart(dw, shape.WeightLength, dy, shape.OutputLength);
        ConvWeightGradientCore(shape, x, dy, dw);
    }

    /// <summary>
    /// Weight mirror: sends noise through a layer and correlates the response with it; see <see cref="MirrorStep"/>. Nothing
    /// but the correlation is written: no batch norm, no bias, no statistics take part.
    /// </summary>
    /// <param name="step">Layer and noise; noise and response are rounded to <see cref="ActivationType"/>.</param>
    /// <param name="w">Forward weights, [R][S][C][K]: the master or its copy.</param>
    /// <param name="correlation">Sum of ξᵀη, in the layout of W.</param>
    /// <param name="accumulate">Adds to the correlation instead of overwriting it: a mirror step in instalments.</param>
    public void MirrorCorrelate(in MirrorStep step, BufferView w, BufferView correlation, bool accumulate = false)
    {
        RequireShape(step.Layer, nameof(step));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(step.Samples);
        ArgumentOutOfRangeException.ThrowIfNegative(step.FirstSample);
        int length = MirrorStep.SampleLength(step.Layer, step.Form);
        if (step.Noise.Length != length)
            throw new ArgumentException($"the noise has samples of {step.Noise.Length} numbers, wanted {length}", nameof(step));
        RequireEither(w, step.Layer.WeightLength);
        Require(correlation, step.Layer.WeightLength);
        RequireApart(correlation, step.Layer.WeightLength, w, step.Layer.WeightLength);
        MirrorCorrelateCore(step, w, correlation, accumulate);
    }

    /// <summary>
    /// b = alpha * wᵀ + beta * r per tap, where w is [R][S][C][K] and b and r are [R][S][K][C]: a transposition (beta 0), the
    /// weight mirror's blend of B with a correlation, or the closed form of Kolen-Pollack, B = Wᵀ + r_t * R.
    /// </summary>
    /// <param name="shape">Sizes of the layer; its N is not used.</param>
    /// <param name="alpha">Factor on wᵀ.</param>
    /// <param name="w">Forward layout.</param>
    /// <param name="beta">Factor on r; r is not read when it is 0.</param>
    /// <param name="r">Feedback layout; may be <paramref name="b"/> itself, absent when beta is 0.</param>
    /// <param name="b">Feedback layout.</param>
    /// <param name="copy">Optional: b rounded to <see cref="ActivationType"/>, written in the same pass.</param>
    public void TransposedCombine(
        in ConvShape shape, float alpha, BufferView w, float beta, BufferView r, BufferView b, BufferView copy = default)
    {
        RequireShape(shape);
        Require(w, shape.WeightLength);
        Require(b, shape.WeightLength);
        if (beta != 0) Require(r, shape.WeightLength);
        RequireApart(b, shape.WeightLength, w, shape.WeightLength);
        RequireCopyIfPresent(copy, shape.WeightLength);
        TransposedCombineCore(shape, alpha, w, beta, r, b, copy);
    }

    /// <summary>
    /// Sign symmetry: b = scale * sign(wᵀ), or abs(magnitudes) * sign(wᵀ) * scale where magnitudes are given. sign(0) is 0.
    /// The optional copy is b rounded to <see cref="ActivationType"/>, written in the same pass.
    /// </summary>
    public void SignTransposed(
        in ConvShape shape, BufferView w, BufferView magnitudes, float scale, BufferView b, BufferView copy = default)
    {
        RequireShape(shape);
        Require(w, shape.WeightLength);
        RequireIfPresent(magnitudes, shape.WeightLength);
        Require(b, shape.WeightLength);
        RequireApart(b, shape.WeightLength, w, shape.WeightLength);
        RequireCopyIfPresent(copy, shape.WeightLength);
        SignTransposedCore(shape, w, magnitudes, scale, b, copy);
    }

    /// <summary>
    /// Mean and variance of each channel over rows, and the running statistics. The variance is computed from deviations,
    /// so a mean far from zero costs no accuracy.
    /// </summary>
    /// <param name="rows">N*P*Q.</param>
    /// <param name="channels">K.</param>
    /// <param name="x">[rows][channels].</param>
    /// <param name="statistics">Where they go.</param>
    public void BatchNormStatistics(long rows, int channels, BufferView x, in BatchStatistics statistics)
    {
        long length = ElementCount.OfRows(rows, channels);
        RequireActivations(x, length);
        RequireStatistics(statistics, channels);
        BatchNormStatisticsCore(rows, channels, x, statistics);
    }

    /// <summary>
    /// The affine map that a batch norm is once its statistics are known: scale = gamma / sqrt(variance + epsilon),
    /// bias = beta - mean * scale. Serves training (batch statistics) and evaluation (running statistics).
    /// </summary>
    public void BatchNormFold(
        int channels, BufferView gamma, BufferView beta, BufferView mean, BufferView variance, float epsilon, BufferView scale, BufferView bias)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(channels);
        Require(gamma, channels);
        Require(beta, channels);
        Require(mean, channels);
        Require(variance, channels);
        Require(scale, channels);
        Require(bias, channels);
        BatchNormFoldCore(channels, gamma, beta, mean, variance, epsilon, scale, bias);
    }

    /// <summary>
    /// y = activation(x * scale[channel] + bias[channel] + residual): the batch norm, the residual join and the ReLU in one
    /// pass.
    /// </summary>
    /// <param name="rows">N*P*Q.</param>
    /// <param name="channels">K.</param>
    /// <param name="x">[rows][channels].</param>
    /// <param name="scale">K factors.</param>
    /// <param name="bias">K summands.</param>
    /// <param name="residual">Optional, of x's shape.</param>
    /// <param name="activation">None or Relu.</param>
    /// <param name="y">May be x or the residual.</param>
    public void ChannelAffine(
        long rows, int channels, BufferView x, BufferView scale, BufferView bias, BufferView residual, Activation activation, BufferView y)
    {
        long length = ElementCount.OfRows(rows, channels);
        RequireActivations(x, length);
        Require(scale, channels);
        Require(bias, channels);
        RequireActivationsIfPresent(residual, length);
        RequireActivations(y, length);
        RequireSameOrApart(y, x, length);
        RequireSameOrApart(y, residual, length);
        if (activation == Activation.Sigmoid)
            throw new ArgumentOutOfRangeException(nameof(activation), activation, "wanted None or Relu");
        ChannelAffineCore(rows, channels, x, scale, bias, residual, activation, y);
    }

    /// <summary>
    /// Backward pass of a batch norm in training, with the ReLU after it (and the residual join) or before it.
    /// With dz = dy, masked where the ReLU after was off: dBeta = sum dz, dGamma = sum dz * xhat,
    /// dx = scale * (dz - dBeta / rows - xhat * dGamma / rows), masked where the ReLU before was off.
    /// </summary>
    /// <param name="rows">N*P*Q.</param>
    /// <param name="channels">K.</param>
    /// <param name="x">Input of the batch norm.</param>
    /// <param name="state">From its forward pass.</param>
    /// <param name="relu">Where the ReLU stands.</param>
    /// <param name="y">Output after the ReLU; needed where a residual was added before it, otherwise recomputed from x.</param>
    /// <param name="dy">Error at the output.</param>
    /// <param name="dx">Error at the input; may be x or dy.</param>
    /// <param name="dGamma">K sums.</param>
    /// <param name="dBeta">K sums.</param>
    /// <param name="dResidual">Optional: dz, the error of the residual branch; may be dy.</param>
    public void BatchNormBackward(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy,
        BufferView dx, BufferView dGamma, BufferView dBeta, BufferView dResidual)
    {
        long length = ElementCount.OfRows(rows, channels);
        RequireActivations(x, length);
        Require(state.Mean, channels);
        Require(state.Variance, channels);
        Require(state.Scale, channels);
        Require(state.Bias, channels);
        RequireActivationsIfPresent(y, length);
        RequireActivations(dy, length);
        RequireActivations(dx, length);
        Require(dGamma, channels);
        Require(dBeta, channels);
        RequireActivationsIfPresent(dResidual, length);
        RequireSameOrApart(dx, x, length);
        RequireSameOrApart(dx, dy, length);
        RequireSameOrApart(dx, y, length);
        if (!dResidual.IsAbsent) RequireApart(dResidual, length, dx, length);
        RequireSameOrApart(dResidual, dy, length);
        BatchNormBackwardCore(rows, channels, x, state, relu, y, dy, dx, dGamma, dBeta, dResidual);
    }

    /// <summary>db[k] = sum over rows of dy[row][k].</summary>
    public void BiasGradient(long rows, int channels, BufferView dy, BufferView db)
    {
        long length = ElementCount.OfRows(rows, channels);
        RequireActivations(dy, length);
        Require(db, channels);
        BiasGradientCore(rows, channels, dy, db);
    }

    /// <summary>y = activation(x); y may be x.</summary>
    public void ActivationForward(Activation activation, long length, BufferView x, BufferView y)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        RequireActivations(x, length);
        RequireActivations(y, length);
        RequireSameOrApart(y, x, length);
        ActivationForwardCore(activation, length, x, y);
    }

    /// <summary>dx = dy * activation'(x), from the activation's output y; dx may be dy.</summary>
    public void ActivationBackward(Activation activation, long length, BufferView y, BufferView dy, BufferView dx)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        RequireActivations(y, length);
        RequireActivations(dy, length);
        RequireActivations(dx, length);
        RequireSameOrApart(dx, y, length);
        RequireSameOrApart(dx, dy, length);
        ActivationBackwardCore(activation, length, y, dy, dx);
    }

    /// <summary>
    /// Maximum of each window, and its place: positions[i] = h*W+w within the image. The first of equal values wins; a NaN
    /// in a window is its maximum.
    /// </summary>
    public void MaxPoolForward(in PoolShape shape, BufferView x, BufferView y, BufferView positions)
    {
        RequireShape(shape);
        RequireActivations(x, shape.InputLength);
        RequireActivations(y, shape.OutputLength);
        Require(positions, shape.OutputLength, ElementType.Int32);
        RequireApart(y, shape.OutputLength, x, shape.InputLength);
        RequireApart(positions, shape.OutputLength, x, shape.InputLength);
        RequireApart(positions, shape.OutputLength, y, shape.OutputLength);
        MaxPoolForwardCore(shape, x, y, positions);
    }

    /// <summary>dx = the errors of the windows whose maximum stood there.</summary>
    public void MaxPoolBackward(in PoolShape shape, BufferView dy, BufferView positions, BufferView dx)
    {
        RequireShape(shape);
        RequireActivations(dy, shape.OutputLength);
        Require(positions, shape.OutputLength, ElementType.Int32);
        RequireActivations(dx, shape.InputLength);
        RequireApart(dx, shape.InputLength, dy, shape.OutputLength);
        RequireApart(dx, shape.InputLength, positions, shape.OutputLength);
        MaxPoolBackwardCore(shape, dy, positions, dx);
    }

    /// <summary>Mean of each window over the pixels that are not padding.</summary>
    public void AveragePoolForward(in PoolShape shape, BufferView x, BufferView y)
    {
        RequireShape(shape);
        RequireActivations(x, shape.InputLength);
        RequireActivations(y, shape.OutputLength);
        RequireApart(y, shape.OutputLength, x, shape.InputLength);
        AveragePoolForwardCore(shape, x, y);
    }

    /// <summary>dx = sum over the windows that see a pixel of dy / pixels in the window.</summary>
    public void AveragePoolBackward(in PoolShape shape, BufferView dy, BufferView dx)
    {
        RequireShape(shape);
        RequireActivations(dy, shape.OutputLength);
        RequireActivations(dx, shape.InputLength);
        RequireApart(dx, shape.InputLength, dy, shape.OutputLength);
        AveragePoolBackwardCore(shape, dy, dx);
    }

    /// <summary>
    /// Loss of each row and, where wanted, the gradient of their mean. The target t of the labelled class is
    /// 1 - smoothing + smoothing / classes, of every other smoothing / classes.
    /// </summary>
    /// <param name="kind">Softmax or sigmoid.</param>
    /// <param name="rows">N.</param>
    /// <param name="classes">K.</param>
    /// <param name="logits">[N][K], Float32 or <see cref="ActivationType"/>.</param>
    /// <param name="labels">[N], Int32, each in [0, classes); the caller has checked them.</param>
    /// <param name="smoothing">0 to below 1.</param>
    /// <param name="losses">[N].</param>
    /// <param name="dLogits">Optional [N][K], <see cref="ActivationType"/>, divided by N; may be logits of that type, and
    /// overlaps them in no other way.</param>
    public void CrossEntropy(
        LossKind kind, int rows, int classes, BufferView logits, BufferView labels, float smoothing, BufferView losses, BufferView dLogits)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(classes);
        long length = ElementCount.Of("N*K", rows, classes);
        RequireEither(logits, length);
        Require(labels, rows, ElementType.Int32);
        Require(losses, rows);
        RequireActivationsIfPresent(dLogits, length);
        RequireSameOrApart(dLogits, logits, length);
        if (!(smoothing >= 0 && smoothing < 1))
            throw new ArgumentOutOfRangeException(nameof(smoothing), smoothing, "wanted 0 to below 1");
        CrossEntropyCore(kind, rows, classes, logits, labels, smoothing, losses, dLogits);
    }

    /// <summary>One step of SGD in one pass over parameter, gradient and velocity; see <see cref="SgdStep"/>. The optional copy
    /// is the parameter rounded to <see cref="ActivationType"/>, written in the same pass.</summary>
    public void SgdUpdate(
        long length, BufferView parameter, BufferView gradient, BufferView velocity, in SgdStep step, BufferView copy = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        Require(parameter, length);
        Require(gradient, length);
        Require(velocity, length);
        RequireCopyIfPresent(copy, length);
        SgdUpdateCore(length, parameter, gradient, velocity, Readable(step), copy);
    }

    /// <summary>
    /// The same step on feedback weights with the transposed forward gradient: Kolen-Pollack (Akrout et al. 2019, eqs.
    /// 16-17). b, velocity and the optional copy of b are [R][S][K][C], dw is [R][S][C][K].
    /// </summary>
    public void SgdUpdateTransposed(
        in ConvShape shape, BufferView b, BufferView dw, BufferView velocity, in SgdStep step, BufferView copy = default)
    {
        RequireShape(shape);
        Require(b, shape.WeightLength);
        Require(dw, shape.WeightLength);
        Require(velocity, shape.WeightLength);
        RequireCopyIfPresent(copy, shape.WeightLength);
        SgdUpdateTransposedCore(shape, b, dw, velocity, Readable(step), copy);
    }

    /// <summary>
    /// The same step on W and on B in one pass over the gradient that they share: Kolen-Pollack. w, dw and velocity are
    /// [R][S][C][K], b and bVelocity are [R][S][K][C]; the optional copies are w and b rounded to
    /// <see cref="ActivationType"/>.
    /// </summary>
    public void SgdUpdateBoth(
        in ConvShape shape, BufferView w, BufferView dw, BufferView velocity, BufferView b, BufferView bVelocity, in SgdStep step,
        BufferView wCopy = default, BufferView bCopy = default)
    {
        RequireShape(shape);
        Require(w, shape.WeightLength);
        Require(dw, shape.WeightLength);
        Require(velocity, shape.WeightLength);
        Require(b, shape.WeightLength);
        Require(bVelocity, shape.WeightLength);
        RequireApart(b, shape.WeightLength, w, shape.WeightLength);
        RequireCopyIfPresent(wCopy, shape.WeightLength);
        RequireCopyIfPresent(bCopy, shape.WeightLength);
        SgdUpdateBothCore(shape, w, dw, velocity, b, bVelocity, Readable(step), wCopy, bCopy);
    }

    /// <summary>
    /// Clipping of gradients: factor = min(1, most / norm), where the norm is that of all gradients together, for
    /// <see cref="SgdStep.GradientFactor"/>. It stays where the backend computes: nobody waits for it.
    /// </summary>
    /// <param name="gradients">Float32, of any lengths, each as a whole.</param>
    /// <param name="most">Largest norm that is let through; positive.</param>
    /// <param name="factor">[1], Float32; overlaps no gradient. 1 where the norm is a NaN.</param>
    /// <exception cref="ArgumentOutOfRangeException">The largest norm is not a positive, finite number.</exception>
    public void ClipFactor(ReadOnlySpan<BufferView> gradients, float most, BufferView factor)
    {
        if (!(most > 0) || !float.IsFinite(most)) throw new ArgumentOutOfRangeException(nameof(most), most, "wanted a positive, finite number");
        Require(factor, 1);
        foreach (BufferView gradient in gradients)
        {
            Require(gradient, 1, name: nameof(gradients));
            RequireApart(factor, 1, gradient, gradient.Length, operandName: nameof(gradients));
        }

        ClipFactorCore(gradients, most, factor);
    }

    /// <summary>
    /// result = source, from Float32 or <see cref="ActivationType"/> to either, rounded to the nearest: the copy of weights that
    /// have been loaded or drawn, images that come as Float32. Of one type, it is a copy.
    /// </summary>
    public void Convert(long length, BufferView source, BufferView result)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        RequireEither(source, length);
        RequireEither(result, length);
        RequireApart(result, length, source, length);
        ConvertCore(length, source, result);
    }

    /// <summary>values = value everywhere, in Float32 or <see cref="ActivationType"/>.</summary>
    public void Fill(BufferView values, float value)
    {
        RequireEither(values, 1);
        FillCore(values.Length, values, value);
    }

    /// <summary>Normal numbers of the stream of a key.</summary>
    public void FillGaussian(BufferView values, in RandomKey key, float standardDeviation)
    {
        Require(values, 1);
        FillGaussianCore(values, key, standardDeviation);
    }

    /// <summary>W against Bᵀ: inner product and squared norms.</summary>
    public WeightAlignment Align(in ConvShape shape, BufferView w, BufferView b)
    {
        RequireShape(shape);
        Require(w, shape.WeightLength);
        Require(b, shape.WeightLength);
        return AlignCore(shape, w, b);
    }

    /// <summary>Two tensors of one layout and type, Float32 or <see cref="ActivationType"/>: inner product and squared norms.</summary>
    public WeightAlignment Compare(long length, BufferView a, BufferView b)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        RequireEither(a, length);
        Require(b, length, a.Type);
        return CompareCore(length, a, b);
    }

    /// <summary>
    /// Makes activations from packed bytes: moves and turns each image as <see cref="ImageAugmentation.Draw"/> says, and looks
    /// each byte up in a table of its channel; what comes in from outside is 0.
    /// </summary>
    /// <param name="augmentation">What is done.</param>
    /// <param name="images">N.</param>
    /// <param name="pixels">[N][H][W][C], UInt8.</param>
    /// <param name="numbers">[N], Int32: each image's number in its set.</param>
    /// <param name="table">[256][C]: the number that a byte stands for.</param>
    /// <param name="x">[N][H][W][C]; overwritten.</param>
    public void AugmentImages(
        in ImageAugmentation augmentation, int images, BufferView pixels, BufferView numbers, BufferView table, BufferView x)
    {
        (int h, int w, int c, int reach, _, _) = augmentation;
        if (h < 1 || w < 1 || c < 1)
            throw new ArgumentOutOfRangeException(nameof(augmentation), augmentation, "wanted at least one row, column and channel");
        if (reach < 0 || reach > MostReach)
            throw new ArgumentOutOfRangeException(nameof(augmentation), reach, $"wanted a reach of 0 to {MostReach}");
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(images);
        long length = ElementCount.Of("N*H*W*C", images, h, w, c);
        Require(pixels, length, ElementType.UInt8);
        Require(numbers, images, ElementType.Int32);
        Require(table, 256L * c);
        RequireActivations(x, length);
        RequireApart(x, length, pixels, length);
        RequireApart(x, length, table, 256L * c);
        RequireApart(x, length, numbers, images);
        AugmentImagesCore(augmentation, images, pixels, numbers, table, x);
    }

    /// <summary>The step with its factor in its scale, where the host can read that.</summary>
    private SgdStep Readable(in SgdStep step)
    {
        if (step.GradientFactor.IsAbsent) return step;
        Require(step.GradientFactor, 1);
        return HostAddressable ? step with { GradientScale = step.GradientScale * (float)step.GradientFactor.Read(0), GradientFactor = default } : step;
    }

    // Far beyond any use, and far from where 2 reach + 1 leaves an int.
    private const int MostReach = 1 << 20;

    private static void RequireStatistics(in BatchStatistics statistics, int channels)
    {
        Require(statistics.Mean, channels);
        Require(statistics.Variance, channels);
        RequireIfPresent(statistics.RunningMean, channels);
        RequireIfPresent(statistics.RunningVariance, channels);
        if (!(statistics.Momentum >= 0 && statistics.Momentum <= 1))
            throw new ArgumentOutOfRangeException(nameof(statistics), statistics.Momentum, "the momentum lies between 0 and 1");
    }

    internal abstract void ConvForwardCore(in ConvShape shape, BufferView x, BufferView w, BufferView y, in ConvEpilogue epilogue);

    internal abstract void ConvFeedbackCore(
        in ConvShape shape, BufferView dy, BufferView weights, FeedbackLayout layout, BufferView dx, bool accumulate);

    internal abstract void ConvWeightGradientCore(in ConvShape shape, BufferView x, BufferView dy, BufferView dw);

    internal abstract void MirrorCorrelateCore(in MirrorStep step, BufferView w, BufferView correlation, bool accumulate);

    internal abstract void TransposedCombineCore(
        in ConvShape shape, float alpha, BufferView w, float beta, BufferView r, BufferView b, BufferView copy);

    internal abstract void SignTransposedCore(
        in ConvShape shape, BufferView w, BufferView magnitudes, float scale, BufferView b, BufferView copy);

    internal abstract void BatchNormStatisticsCore(long rows, int channels, BufferView x, in BatchStatistics statistics);

    internal abstract void BatchNormFoldCore(
        int channels, BufferView gamma, BufferView beta, BufferView mean, BufferView variance, float epsilon, BufferView scale, BufferView bias);

    internal abstract void ChannelAffineCore(
        long rows, int channels, BufferView x, BufferView scale, BufferView bias, BufferView residual, Activation activation, BufferView y);

    internal abstract void BatchNormBackwardCore(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy,
        BufferView dx, BufferView dGamma, BufferView dBeta, BufferView dResidual);

    internal abstract void BiasGradientCore(long rows, int channels, BufferView dy, BufferView db);

    internal abstract void ActivationForwardCore(Activation activation, long length, BufferView x, BufferView y);

    internal abstract void ActivationBackwardCore(Activation activation, long length, BufferView y, BufferView dy, BufferView dx);

    internal abstract void MaxPoolForwardCore(in PoolShape shape, BufferView x, BufferView y, BufferView positions);

    internal abstract void MaxPoolBackwardCore(in PoolShape shape, BufferView dy, BufferView positions, BufferView dx);

    internal abstract void AveragePoolForwardCore(in PoolShape shape, BufferView x, BufferView y);

    internal abstract void AveragePoolBackwardCore(in PoolShape shape, BufferView dy, BufferView dx);

    internal abstract void CrossEntropyCore(
        LossKind kind, int rows, int classes, BufferView logits, BufferView labels, float smoothing, BufferView losses, BufferView dLogits);

    internal abstract void SgdUpdateCore(
        long length, BufferView parameter, BufferView gradient, BufferView velocity, in SgdStep step, BufferView copy);

    internal abstract void SgdUpdateTransposedCore(
        in ConvShape shape, BufferView b, BufferView dw, BufferView velocity, in SgdStep step, BufferView copy);

    internal virtual void SgdUpdateBothCore(
        in ConvShape shape, BufferView w, BufferView dw, BufferView velocity, BufferView b, BufferView bVelocity, in SgdStep step,
        BufferView wCopy, BufferView bCopy)
    {
        SgdUpdateCore(shape.WeightLength, w, dw, velocity, step, wCopy);
        SgdUpdateTransposedCore(shape, b, dw, bVelocity, step, bCopy);
    }

    internal virtual void ClipFactorCore(ReadOnlySpan<BufferView> gradients, float most, BufferView factor)
    {
        double squares = 0;
        foreach (BufferView gradient in gradients) squares += CompareCore(gradient.Length, gradient, gradient).SquaredNorm;
        double norm = Math.Sqrt(squares);
        factor.Write(0, norm > most ? most / norm : 1);
    }

    internal abstract void ConvertCore(long length, BufferView source, BufferView result);

    internal abstract void AugmentImagesCore(
        in ImageAugmentation augmentation, int images, BufferView pixels, BufferView numbers, BufferView table, BufferView x);

    internal abstract void FillCore(long length, BufferView values, float value);

    internal abstract void FillGaussianCore(BufferView values, in RandomKey key, float standardDeviation);

    internal abstract WeightAlignment AlignCore(in ConvShape shape, BufferView w, BufferView b);

    internal abstract WeightAlignment CompareCore(long length, BufferView a, BufferView b);
}
