namespace FeedbackKernels.Interop;

public abstract partial class Backend
{
    /// <summary>
    /// Mean and variance of each channel over rows, and the running statistics (Ioffe and Szegedy 2015, algorithm 1 and section 3.1). The
    /// variance is computed from deviations, so a mean far from zero costs no accuracy.
    /// </summary>
    /// <param name="rows">N*P*Q.</param>
    /// <param name="channels">K.</param>
    /// <param name="x">[rows][channels].</param>
    /// <param name="statistics">Buffers for the results.</param>
    public void BatchNormStatistics(long rows, int channels, BufferView x, in BatchStatistics statistics)
    {
        using OperationScope call = new(this);
        long length = ElementCount.OfRows(rows, channels);
        call.ReadActivations(x, length);
        call.WriteStatistics(statistics, channels, nameof(statistics));
        call.RequireApart();
        BatchNormStatisticsCore(rows, channels, x, statistics);
    }

    internal abstract void BatchNormStatisticsCore(long rows, int channels, BufferView x, in BatchStatistics statistics);

    /// <summary>
    /// Mean and variance of each channel over a batch that several processes hold, and the running statistics, from the statistics of each
    /// part (Chan, Golub and LeVeque 1979, eq. 1.5). As exact as statistics of the whole batch.
    /// </summary>
    /// <param name="rows">How many rows each process holds.</param>
    /// <param name="channels">K.</param>
    /// <param name="parts">[processes][2][channels]: means, then biased variances, of the rows of each process. Float32.</param>
    /// <param name="statistics">Buffers for the results.</param>
    public void BatchNormMerge(in SharedRows rows, int channels, BufferView parts, in BatchStatistics statistics)
    {
        using OperationScope call = new(this);
        rows.Validate();
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(channels);
        call.Read(parts, checked(2L * rows.Parts * channels));
        call.WriteStatistics(statistics, channels, nameof(statistics));
        call.RequireApart();
        BatchNormMergeCore(rows, channels, parts, statistics);
    }

    internal abstract void BatchNormMergeCore(in SharedRows rows, int channels, BufferView parts, in BatchStatistics statistics);

    /// <summary>
    /// Folds a batch norm with known statistics into an affine map: scale = gamma / sqrt(variance + epsilon), bias = beta - mean * scale
    /// (Ioffe and Szegedy 2015, algorithm 2). For training (batch statistics) and evaluation (running statistics). Every buffer has one
    /// Float32 number for each channel.
    /// </summary>
    /// <param name="channels">K.</param>
    /// <param name="gamma">Scale parameters of the norm.</param>
    /// <param name="beta">Shift parameters of the norm.</param>
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

    internal abstract void BatchNormFoldCore(
        int channels, BufferView gamma, BufferView beta, BufferView mean, BufferView variance, float epsilon, BufferView scale, BufferView bias);

    /// <summary>
    /// y = activation(x * scale[channel] + bias[channel] + residual): the batch norm (<see cref="BatchNormFold"/>), the residual join (He et
    /// al. 2016, eq. 1) and the ReLU in one pass.
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

    internal abstract void ChannelAffineCore(
        long rows, int channels, BufferView x, BufferView scale, BufferView bias, BufferView residual, Activation activation, BufferView y);

    /// <summary>
    /// Backward pass of a batch norm in training, with the ReLU after it (and the residual join) or before it. With dz = dy, masked where
    /// the ReLU after the norm was off: dBeta = sum dz, dGamma = sum dz * xhat, dx = scale * (dz - dBeta / rows - xhat * dGamma / rows),
    /// masked where the ReLU before the norm was off (Ioffe and Szegedy 2015, the chain rule in section 3, simplified).
    /// </summary>
    /// <param name="rows">N*P*Q.</param>
    /// <param name="channels">K.</param>
    /// <param name="x">Input of the batch norm, [rows][channels], as are y, dy, dx and dResidual.</param>
    /// <param name="state">From its forward pass.</param>
    /// <param name="relu">Where the ReLU is.</param>
    /// <param name="y">Output after the ReLU. Required if a residual was added before the ReLU, otherwise recomputed from x.</param>
    /// <param name="dy">Error at the output.</param>
    /// <param name="dx">Error at the input; may be x, y or dy.</param>
    /// <param name="dGamma">K sums, Float32.</param>
    /// <param name="dBeta">K sums, Float32.</param>
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
        call.ReadState(state, channels);
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

    internal virtual void BatchNormBackwardCore(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy,
        BufferView dx, BufferView dGamma, BufferView dBeta, BufferView dResidual)
    {
        BatchNormBackwardSumsCore(rows, channels, x, state, relu, y, dy, dGamma, dBeta);
        BatchNormBackwardErrorsCore(rows, channels, x, state, relu, y, dy, dGamma, dBeta, dx, dResidual);
    }

    /// <summary>
    /// The first half of <see cref="BatchNormBackward"/>: dGamma and dBeta. Processes whose batch norms share their statistics sum both, each
    /// weighted by its share of the images, before the second half.
    /// </summary>
    /// <inheritdoc cref="BatchNormBackward"/>
    public void BatchNormBackwardSums(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy, BufferView dGamma, BufferView dBeta)
    {
        using OperationScope call = new(this);
        long length = ElementCount.OfRows(rows, channels);
        RequireDefined(relu);
        RequirePositive(state.Epsilon);
        call.ReadActivations(x, length);
        call.ReadState(state, channels);
        call.ReadActivationsIfPresent(y, length);
        call.ReadActivations(dy, length);
        call.Write(dGamma, channels);
        call.Write(dBeta, channels);
        call.RequireApart();
        BatchNormBackwardSumsCore(rows, channels, x, state, relu, y, dy, dGamma, dBeta);
    }

    internal abstract void BatchNormBackwardSumsCore(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy, BufferView dGamma, BufferView dBeta);

    /// <summary>
    /// The second half of <see cref="BatchNormBackward"/>: dx and dResidual, from the sums of the first half. Where a process holds the part w of
    /// all images, and dy is the error of the mean over its own, the sums over all processes of w * dGamma and w * dBeta take the place of its
    /// own: its rows are fewer by w, and so are the sums, measured in its own errors.
    /// </summary>
    /// <inheritdoc cref="BatchNormBackward"/>
    public void BatchNormBackwardErrors(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy,
        BufferView dGamma, BufferView dBeta, BufferView dx, BufferView dResidual)
    {
        using OperationScope call = new(this);
        long length = ElementCount.OfRows(rows, channels);
        RequireDefined(relu);
        RequirePositive(state.Epsilon);
        int input = call.ReadActivations(x, length);
        call.ReadState(state, channels);
        int output = call.ReadActivationsIfPresent(y, length), error = call.ReadActivations(dy, length);
        call.Read(dGamma, channels);
        call.Read(dBeta, channels);
        int result = call.WriteActivations(dx, length), branch = call.WriteActivationsIfPresent(dResidual, length);
        call.Allow(result, input);
        call.Allow(result, output);
        call.Allow(result, error);
        call.Allow(branch, error);
        call.RequireApart();
        BatchNormBackwardErrorsCore(rows, channels, x, state, relu, y, dy, dGamma, dBeta, dx, dResidual);
    }

    internal abstract void BatchNormBackwardErrorsCore(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy,
        BufferView dGamma, BufferView dBeta, BufferView dx, BufferView dResidual);

    /// <summary>db[k] = sum over rows of dy[row][k]: the gradient of a bias under backpropagation (Rumelhart, Hinton and Williams
    /// 1986).</summary>
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

    internal abstract void BiasGradientCore(long rows, int channels, BufferView dy, BufferView db);
}
