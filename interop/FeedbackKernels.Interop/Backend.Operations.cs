using System.Runtime.CompilerServices;

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
    /// <param name="y">Output, NPQK; may be the epilogue's residual. May be Float32 whatever x is: logits, whose order is a net's
    /// answer, keep all their digits.</param>
    /// <param name="epilogue">What is done to y before it leaves the cache.</param>
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

    /// <summary>
    /// Feedback convolution: dx[n,h,w,c] = sum over r,s,k of dy[n,p,q,k] * B[r,s,k,c] with h = p*u-z+r, w = q*u-z+s.
    /// </summary>
    /// <param name="shape">Sizes of the forward convolution.</param>
    /// <param name="dy">Error at the output, NPQK.</param>
    /// <param name="weights">B, or W read transposed, as <paramref name="layout"/> says: the master or its copy.</param>
    /// <param name="layout">How the weights lie in memory. Equal weights give the same bits in either layout.</param>
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

    /// <summary>Weight gradient: dW[r,s,c,k] = sum over n,p,q of x[n, p*u-z+r, q*u-z+s, c] * dy[n,p,q,k].</summary>
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

    /// <summary>
    /// Weight mirror: sends noise through a layer and correlates the response with it; see <see cref="MirrorStep"/>. Nothing
    /// but the correlation is written: no batch norm, no bias, no statistics take part.
    /// </summary>
    /// <param name="step">Layer and noise; noise and response are rounded to <see cref="ActivationType"/>.</param>
    /// <param name="w">Forward weights, [R][S][C][K]: the master or its copy.</param>
    /// <param name="correlation">Sum of ξᵀη, in the layout of W.</param>
    /// <param name="accumulate">Adds to the correlation instead of overwriting it: a mirror step in instalments.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no sample, the first one is negative or the last one beyond what the
    /// noise counts to, 2^32; the form is unknown; or noise or response have more than 2^40 numbers.</exception>
    /// <exception cref="ArgumentException">The noise is not of the length that the layer and the form want.</exception>
    public void MirrorCorrelate(in MirrorStep step, BufferView w, BufferView correlation, bool accumulate = false)
    {
        using OperationScope call = new(this);
        RequireShape(step.Layer, nameof(step));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(step.Samples);
        ArgumentOutOfRangeException.ThrowIfNegative(step.FirstSample);
        if (step.FirstSample > MirrorNoise.MostSamples - step.Samples)
        {
            throw new ArgumentOutOfRangeException(
                nameof(step), step.FirstSample, $"with {step.Samples} samples from there on more than the {MirrorNoise.MostSamples} that the noise has");
        }

        RequireDefined(step.Form);
        int length = MirrorStep.SampleLength(step.Layer, step.Form);
        if (step.Noise.Length != length)
            throw new ArgumentException($"the noise has samples of {step.Noise.Length} numbers, wanted {length}", nameof(step));
        _ = step.ResponseShape;
        call.ReadEither(w, step.Layer.WeightLength);
        call.Write(correlation, step.Layer.WeightLength);
        call.RequireApart();
        MirrorCorrelateCore(step, w, correlation, accumulate);
    }

    /// <summary>
    /// b = alpha * wᵀ + beta * r per tap, where w is [R][S][C][K] and b and r are [R][S][K][C]: a transposition (beta 0), the
    /// weight mirror's blend of B with a correlation, or the closed form of Kolen-Pollack, B = Wᵀ + r_t * R.
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

    /// <summary>
    /// Sign symmetry: b = scale * sign(wᵀ), or abs(magnitudes) * sign(wᵀ) * scale where magnitudes are given. sign(0) is 0.
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
        using OperationScope call = new(this);
        long length = ElementCount.OfRows(rows, channels);
        call.ReadActivations(x, length);
        call.WriteStatistics(statistics, channels, nameof(statistics));
        call.RequireApart();
        BatchNormStatisticsCore(rows, channels, x, statistics);
    }

    /// <summary>
    /// The affine map that a batch norm is once its statistics are known: scale = gamma / sqrt(variance + epsilon),
    /// bias = beta - mean * scale. Serves training (batch statistics) and evaluation (running statistics). Every buffer has one
    /// Float32 number a channel.
    /// </summary>
    /// <param name="channels">K.</param>
    /// <param name="gamma">Factors of the norm.</param>
    /// <param name="beta">Summands of the norm.</param>
    /// <param name="mean">Means.</param>
    /// <param name="variance">Variances.</param>
    /// <param name="epsilon">Added to the variances; positive and finite.</param>
    /// <param name="scale">Factors of the map.</param>
    /// <param name="bias">Summands of the map.</param>
    public void BatchNormFold(
        int channels, BufferView gamma, BufferView beta, BufferView mean, BufferView variance, float epsilon, BufferView scale, BufferView bias)
    {
        using OperationScope call = new(this);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(channels);
        RequirePositive(epsilon);
        call.Read(gamma, channels);
        call.Read(beta, channels);
        call.Read(mean, channels);
        call.Read(variance, channels);
        call.Write(scale, channels);
        call.Write(bias, channels);
        call.RequireApart();
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
        using OperationScope call = new(this);
        long length = ElementCount.OfRows(rows, channels);
        if (activation is not (Activation.None or Activation.Relu))
            throw new ArgumentOutOfRangeException(nameof(activation), activation, "wanted None or Relu");
        int input = call.ReadActivations(x, length);
        call.Read(scale, channels);
        call.Read(bias, channels);
        int joined = call.ReadActivationsIfPresent(residual, length);
        int result = call.WriteActivations(y, length);
        call.Allow(result, input);
        call.Allow(result, joined);
        call.RequireApart();
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
    /// <param name="dx">Error at the input; may be x, y or dy.</param>
    /// <param name="dGamma">K sums.</param>
    /// <param name="dBeta">K sums.</param>
    /// <param name="dResidual">Optional: dz, the error of the residual branch; may be dy.</param>
    public void BatchNormBackward(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy,
        BufferView dx, BufferView dGamma, BufferView dBeta, BufferView dResidual)
    {
        using OperationScope call = new(this);
        long length = ElementCount.OfRows(rows, channels);
        RequireDefined(relu);
        RequirePositive(state.Epsilon);
        int input = call.ReadActivations(x, length);
        call.Read(state.Mean, channels);
        call.Read(state.Variance, channels);
        call.Read(state.Scale, channels);
        call.Read(state.Bias, channels);
        int output = call.ReadActivationsIfPresent(y, length), error = call.ReadActivations(dy, length);
        int result = call.WriteActivations(dx, length);
        call.Write(dGamma, channels);
        call.Write(dBeta, channels);
        int branch = call.WriteActivationsIfPresent(dResidual, length);
        call.Allow(result, input);
        call.Allow(result, output);
        call.Allow(result, error);
        call.Allow(branch, error);
        call.RequireApart();
        BatchNormBackwardCore(rows, channels, x, state, relu, y, dy, dx, dGamma, dBeta, dResidual);
    }

    /// <summary>db[k] = sum over rows of dy[row][k].</summary>
    /// <param name="rows">N*P*Q.</param>
    /// <param name="channels">K.</param>
    /// <param name="dy">[rows][channels].</param>
    /// <param name="db">K sums, Float32.</param>
    public void BiasGradient(long rows, int channels, BufferView dy, BufferView db)
    {
        using OperationScope call = new(this);
        long length = ElementCount.OfRows(rows, channels);
        call.ReadActivations(dy, length);
        call.Write(db, channels);
        call.RequireApart();
        BiasGradientCore(rows, channels, dy, db);
    }

    /// <summary>y = activation(x); y may be x.</summary>
    public void ActivationForward(Activation activation, long length, BufferView x, BufferView y)
    {
        using OperationScope call = new(this);
        RequireDefined(activation);
        RequireLength(length);
        int input = call.ReadActivations(x, length);
        call.Allow(call.WriteActivations(y, length), input);
        call.RequireApart();
        ActivationForwardCore(activation, length, x, y);
    }

    /// <summary>dx = dy * activation'(x), from the activation's output y; dx may be y or dy.</summary>
    public void ActivationBackward(Activation activation, long length, BufferView y, BufferView dy, BufferView dx)
    {
        using OperationScope call = new(this);
        RequireDefined(activation);
        RequireLength(length);
        int output = call.ReadActivations(y, length), error = call.ReadActivations(dy, length);
        int result = call.WriteActivations(dx, length);
        call.Allow(result, output);
        call.Allow(result, error);
        call.RequireApart();
        ActivationBackwardCore(activation, length, y, dy, dx);
    }

    /// <summary>
    /// Maximum of each window, and its place: positions[i] = h*W+w within the image. The first of equal values wins; a NaN
    /// in a window is its maximum.
    /// </summary>
    public void MaxPoolForward(in PoolShape shape, BufferView x, BufferView y, BufferView positions)
    {
        using OperationScope call = new(this);
        RequireShape(shape);
        call.ReadActivations(x, shape.InputLength);
        call.WriteActivations(y, shape.OutputLength);
        call.Write(positions, shape.OutputLength, ElementType.Int32);
        call.RequireApart();
        MaxPoolForwardCore(shape, x, y, positions);
    }

    /// <summary>dx = the errors of the windows whose maximum stood there.</summary>
    /// <param name="shape">Sizes of the forward pass.</param>
    /// <param name="dy">Error at the output, NPQC.</param>
    /// <param name="positions">From the forward pass, NPQC, Int32, each in [0, H*W). Where the host cannot read them, the errors of
    /// windows with another position go nowhere.</param>
    /// <param name="dx">Error at the input, NHWC.</param>
    /// <exception cref="ArgumentOutOfRangeException">A position lies outside the image, and the host can read it.</exception>
    public void MaxPoolBackward(in PoolShape shape, BufferView dy, BufferView positions, BufferView dx)
    {
        using OperationScope call = new(this);
        RequireShape(shape);
        call.ReadActivations(dy, shape.OutputLength);
        call.Read(positions, shape.OutputLength, ElementType.Int32);
        call.WriteActivations(dx, shape.InputLength);
        call.RequireApart();
        if (HostAddressable) RequirePositions(positions, shape);
        MaxPoolBackwardCore(shape, dy, positions, dx);
    }

    /// <summary>Mean of each window over the pixels that are not padding.</summary>
    public void AveragePoolForward(in PoolShape shape, BufferView x, BufferView y)
    {
        using OperationScope call = new(this);
        RequireShape(shape);
        call.ReadActivations(x, shape.InputLength);
        call.WriteActivations(y, shape.OutputLength);
        call.RequireApart();
        AveragePoolForwardCore(shape, x, y);
    }

    /// <summary>dx = sum over the windows that see a pixel of dy / pixels in the window.</summary>
    public void AveragePoolBackward(in PoolShape shape, BufferView dy, BufferView dx)
    {
        using OperationScope call = new(this);
        RequireShape(shape);
        call.ReadActivations(dy, shape.OutputLength);
        call.WriteActivations(dx, shape.InputLength);
        call.RequireApart();
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
    /// <param name="labels">[N], Int32, each in [0, classes). Where the host cannot read them, loss and gradient of a row with
    /// another label are NaN, and the next download or <see cref="Readback.Read"/> throws.</param>
    /// <param name="smoothing">0 to below 1.</param>
    /// <param name="losses">[N].</param>
    /// <param name="dLogits">Optional [N][K], <see cref="ActivationType"/>, divided by N; may be logits of that type.</param>
    /// <exception cref="ArgumentOutOfRangeException">The smoothing is out of range; or a label is no class, and the host can read
    /// it: the message names its row.</exception>
    public void CrossEntropy(
        LossKind kind, int rows, int classes, BufferView logits, BufferView labels, float smoothing, BufferView losses, BufferView dLogits)
    {
        using OperationScope call = new(this);
        RequireDefined(kind);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(classes);
        long length = ElementCount.Of("N*K", rows, classes);
        if (!(smoothing >= 0 && smoothing < 1))
            throw new ArgumentOutOfRangeException(nameof(smoothing), smoothing, "wanted 0 to below 1");
        int input = call.ReadEither(logits, length);
        call.Read(labels, rows, ElementType.Int32);
        call.Write(losses, rows);
        call.Allow(call.WriteActivationsIfPresent(dLogits, length), input);
        call.RequireApart();
        if (HostAddressable) RequireLabels(labels, rows, classes);
        CrossEntropyCore(kind, rows, classes, logits, labels, smoothing, losses, dLogits);
    }

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

    /// <summary>
    /// result = source, from Float32 or <see cref="ActivationType"/> to either, rounded to the nearest: the copy of weights that
    /// have been loaded or drawn, images that come as Float32. Of one type, it is a copy.
    /// </summary>
    public void Convert(long length, BufferView source, BufferView result)
    {
        using OperationScope call = new(this);
        RequireLength(length);
        call.ReadEither(source, length);
        call.WriteEither(result, length);
        call.RequireApart();
        ConvertCore(length, source, result);
    }

    /// <summary>values = value everywhere, in Float32 or <see cref="ActivationType"/>. Any value will do, a NaN too.</summary>
    public void Fill(BufferView values, float value)
    {
        using OperationScope call = new(this);
        call.WriteEither(values, 1);
        FillCore(values.Length, values, value);
    }

    /// <summary>Normal numbers of the stream of a key, in the whole of a buffer.</summary>
    /// <param name="values">Float32, up to 2^34 numbers: what a stream has.</param>
    /// <param name="key">Names the stream, by whatever numbers.</param>
    /// <param name="standardDeviation">Not negative, finite.</param>
    /// <exception cref="ArgumentOutOfRangeException">The standard deviation is out of range.</exception>
    /// <exception cref="ArgumentException">The buffer is longer than the stream.</exception>
    public void FillGaussian(BufferView values, in RandomKey key, float standardDeviation)
    {
        using OperationScope call = new(this);
        if (!(standardDeviation >= 0) || !float.IsFinite(standardDeviation))
            throw new ArgumentOutOfRangeException(nameof(standardDeviation), standardDeviation, "wanted a finite number that is not negative");
        call.Write(values, 1);
        if (values.Length > RandomKey.MostNumbers)
            throw new ArgumentException($"has {values.Length} elements, a stream of random numbers {RandomKey.MostNumbers}", nameof(values));
        FillGaussianCore(values, key, standardDeviation);
    }

    /// <summary>W against Bᵀ: inner product and squared norms.</summary>
    public WeightAlignment Align(in ConvShape shape, BufferView w, BufferView b)
    {
        using OperationScope call = new(this);
        RequireShape(shape);
        call.Read(w, shape.WeightLength);
        call.Read(b, shape.WeightLength);
        return AlignCore(shape, w, b);
    }

    /// <summary>Two tensors of one layout and type, Float32 or <see cref="ActivationType"/>: inner product and squared norms.</summary>
    public WeightAlignment Compare(long length, BufferView a, BufferView b)
    {
        using OperationScope call = new(this);
        RequireLength(length);
        call.ReadEither(a, length);
        call.Read(b, length, a.Type);
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
    /// <exception cref="ArgumentOutOfRangeException">A size or the reach is out of range, or an image has more than 2^31 - 1
    /// numbers.</exception>
    public void AugmentImages(
        in ImageAugmentation augmentation, int images, BufferView pixels, BufferView numbers, BufferView table, BufferView x)
    {
        using OperationScope call = new(this);
        (int h, int w, int c, int reach, _, _) = augmentation;
        if (h < 1 || w < 1 || c < 1)
            throw new ArgumentOutOfRangeException(nameof(augmentation), augmentation, "wanted at least one row, column and channel");
        if (reach < 0 || reach > ImageAugmentation.MostReach)
            throw new ArgumentOutOfRangeException(nameof(augmentation), reach, $"wanted a reach of 0 to {ImageAugmentation.MostReach}");
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(images);
        long length = ElementCount.Of("N*H*W*C", images, h, w, c);
        // Rows and columns that an image is moved by are added to those it has.
        ElementCount.Of32("H*W*C", h, w, c);
        if (Math.Max(h, w) > int.MaxValue - reach)
            throw new ArgumentOutOfRangeException(nameof(augmentation), reach, $"{h}x{w} pixels moved by as many are more than {int.MaxValue}");
        call.Read(pixels, length, ElementType.UInt8);
        call.Read(numbers, images, ElementType.Int32);
        call.Read(table, 256L * c);
        call.WriteActivations(x, length);
        call.RequireApart();
        AugmentImagesCore(augmentation, images, pixels, numbers, table, x);
    }

    /// <summary>The step with its factor in its scale, where the host can read that.</summary>
    private SgdStep Readable(in SgdStep step) => step.GradientFactor.IsAbsent || !HostAddressable
        ? step
        : step with { GradientScale = step.GradientScale * (float)step.GradientFactor.Read(0), GradientFactor = default };

    private static void RequireLength(long length, [CallerArgumentExpression(nameof(length))] string? name = null)
    {
        if (length is < 1 or > ElementCount.Most) throw new ArgumentOutOfRangeException(name, length, $"wanted 1 to {ElementCount.Most} elements");
    }

    private static unsafe void RequireLabels(BufferView labels, int rows, int classes)
    {
        var given = new ReadOnlySpan<int>(labels.Ints, rows);
        int row = IndexRange.FirstOutside(given, classes);
        if (row >= 0) throw LabelOutside(row, given[row], classes);
    }

    /// <summary>What is said of a label that is no class.</summary>
    internal static ArgumentOutOfRangeException LabelOutside(long row, int label, int classes, string name = "labels") =>
        new(name, label, $"row {row} has no such class; there are {classes}, 0 to {classes - 1}");

    private static unsafe void RequirePositions(BufferView positions, in PoolShape shape)
    {
        const int part = 1 << 30;
        for (long first = 0; first < shape.OutputLength; first += part)
        {
            var given = new ReadOnlySpan<int>(positions.Ints + first, (int)Math.Min(part, shape.OutputLength - first));
            int i = IndexRange.FirstOutside(given, shape.H * shape.W);
            if (i < 0) continue;
            throw new ArgumentOutOfRangeException(
                nameof(positions), given[i], $"element {first + i} lies outside an image of {shape.H}x{shape.W} pixels, 0 to {shape.H * shape.W - 1}");
        }
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
