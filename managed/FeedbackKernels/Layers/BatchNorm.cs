using FeedbackKernels.Interop;

namespace FeedbackKernels.Layers;

/// <summary>The parameters and statistics of a batch norm (Ioffe and Szegedy 2015).</summary>
public sealed class BatchNorm : IDisposable
{
    /// <summary>Added to the variance.</summary>
    public const float Epsilon = 1e-5f;

    /// <summary>Share of a batch in the running statistics.</summary>
    public const float Momentum = 0.1f;

    private readonly Backend _backend;
    private readonly bool _zeroGamma;
    private readonly DeviceBuffer _mean, _variance, _scale, _bias;
    private DeviceBuffer? _runningMean, _runningVariance;
    private Shared? _shared;

    /// <summary>Allocates parameters and statistics.</summary>
    /// <param name="backend">Where they live.</param>
    /// <param name="name">Name in the model.</param>
    /// <param name="channels">K.</param>
    /// <param name="zeroGamma">Starts gamma at 0, so that a residual block starts as the identity (Goyal et al. 2017, section 5.1).</param>
    public BatchNorm(Backend backend, string name, int channels, bool zeroGamma)
    {
        ArgumentNullException.ThrowIfNull(backend);
        _backend = backend;
        _zeroGamma = zeroGamma;
        Name = name;
        Channels = channels;
        Gamma = new Parameter(backend, $"{name}.weight", [channels], decays: false);
        Beta = new Parameter(backend, $"{name}.bias", [channels], decays: false);
        _mean = backend.Allocate(channels, $"{name} mean");
        _variance = backend.Allocate(channels, $"{name} variance");
        _scale = backend.Allocate(channels, $"{name} scale");
        _bias = backend.Allocate(channels, $"{name} bias");
    }

    /// <summary>Name in the model.</summary>
    public string Name { get; }

    /// <summary>K.</summary>
    public int Channels { get; }

    /// <summary>Scale.</summary>
    public Parameter Gamma { get; }

    /// <summary>Shift.</summary>
    public Parameter Beta { get; }

    /// <summary>Mean that evaluation uses.</summary>
    public DeviceBuffer RunningMean => _runningMean ??= _backend.Allocate(Channels, $"{Name}.running_mean");

    /// <summary>Variance that evaluation uses.</summary>
    public DeviceBuffer RunningVariance => _runningVariance ??= _backend.Allocate(Channels, $"{Name}.running_var");

    /// <summary>The norm as a factor a channel, once folded.</summary>
    public DeviceBuffer Scale => _scale;

    /// <summary>The norm as a summand a channel, once folded.</summary>
    public DeviceBuffer Bias => _bias;

    /// <summary>What the backward pass needs of the last folded batch.</summary>
    public BatchNormState State => new(_mean, _variance, _scale, _bias, Epsilon);

    /// <summary>Sets gamma to 1 (or 0), beta to 0, the running statistics to those of a standard normal.</summary>
    public void Initialise()
    {
        _backend.Fill(Gamma.Value, _zeroGamma ? 0 : 1);
        _backend.Fill(Beta.Value, 0);
        _backend.Fill(RunningMean, 0);
        _backend.Fill(RunningVariance, 1);
    }

    /// <summary>Where the statistics of a training batch go.</summary>
    /// <param name="pass">The pass.</param>
    public BatchStatistics Statistics(in Pass pass) => pass.UpdateRunningStatistics && !IsShared
        ? new BatchStatistics(_mean, _variance, RunningMean, RunningVariance, Momentum)
        : new BatchStatistics(_mean, _variance);

    /// <summary>Computes <see cref="Scale"/> and <see cref="Bias"/> from the batch's statistics in training, from the
    /// running ones otherwise.</summary>
    /// <param name="pass">The pass.</param>
    public void Fold(in Pass pass) => _backend.BatchNormFold(
        Channels, Gamma.Value, Beta.Value, pass.Training ? _mean : RunningMean, pass.Training ? _variance : RunningVariance,
        Epsilon, _scale, _bias);

    /// <summary>After a pass with running statistics: leaves the derivative of the norm, its factor alone, in <see cref="Scale"/> and
    /// <see cref="Bias"/>.</summary>
    internal void DropShift() => _backend.Fill(_bias, 0);

    /// <summary>Computes the statistics over the batches of all processes from now on.</summary>
    internal void Share(NormSharing sharing) => _shared = new Shared(this, sharing);

    /// <summary>After the statistics of this process's batch: replaces them by those of all, if they are shared.</summary>
    /// <param name="rows">Rows of this process.</param>
    /// <param name="pass">The pass.</param>
    internal void Merge(long rows, in Pass pass)
    {
        if (IsShared) _shared!.Merge(rows, pass.UpdateRunningStatistics);
    }

    /// <summary>The rows that other processes hold in the backward pass; null where the statistics are those of this process.</summary>
    /// <param name="rows">Rows of this process.</param>
    internal IRowSums? OtherRows(long rows)
    {
        if (!IsShared) return null;
        _shared!.OwnRows = rows;
        return _shared;
    }

    private bool IsShared => _shared?.Sharing.IsOn == true;

    /// <inheritdoc/>
    public void Dispose()
    {
        Gamma.Dispose();
        Beta.Dispose();
        foreach (DeviceBuffer? buffer in (DeviceBuffer?[])[_runningMean, _runningVariance, _mean, _variance, _scale, _bias]) buffer?.Dispose();
    }

    /// <summary>Takes memory for the running statistics. They have none yet.</summary>
    internal void Bind(DeviceBuffer mean, DeviceBuffer variance) => (_runningMean, _runningVariance) = (mean, variance);

    /// <summary>The norm's part in what processes share.</summary>
    private sealed class Shared(BatchNorm norm, NormSharing sharing) : IRowSums
    {
        private readonly double[] _sums = new double[2 * norm.Channels];
        private readonly float[] _values = new float[norm.Channels], _others = new float[norm.Channels];

        public NormSharing Sharing => sharing;

        /// <summary>Rows of the pass in this process.</summary>
        public long OwnRows { get; set; }

        public long Rows => sharing.RowsOfAll(OwnRows);

        /// <summary>Sums of errors. Each process has the error of the mean over its own images; it gets the sums in the same unit.</summary>
        public void Add(Span<double> sums)
        {
            foreach (ref double sum in sums) sum *= sharing.Weight;
            sharing.Add(sums);
            foreach (ref double sum in sums) sum /= sharing.Weight;
        }

        /// <summary>Mean and variance over the rows of all processes, from the sums of values and of squares. In double precision the
        /// difference of squares loses nothing that the statistics in single precision had.</summary>
        public void Merge(long rows, bool updateRunning)
        {
            int channels = norm.Channels;
            norm._backend.Download(norm._mean, _values);
            norm._backend.Download(norm._variance, _others);
            for (int k = 0; k < channels; k++) (_sums[k], _sums[channels + k]) = (rows * (double)_values[k], rows * (_others[k] + (double)_values[k] * _values[k]));
            sharing.Add(_sums);
            long all = sharing.RowsOfAll(rows);
            for (int k = 0; k < channels; k++)
            {
                double mean = _sums[k] / all, variance = Math.Max(0, _sums[channels + k] / all - mean * mean);
                (_sums[k], _sums[channels + k]) = (mean, variance);
                (_values[k], _others[k]) = ((float)mean, (float)variance);
            }

            norm._backend.Upload<float>(_values, norm._mean);
            norm._backend.Upload<float>(_others, norm._variance);
            if (!updateRunning) return;
            Move(norm.RunningMean, _sums.AsSpan(0, channels), 1);
            Move(norm.RunningVariance, _sums.AsSpan(channels), all > 1 ? (double)all / (all - 1) : 1);
        }

        // As the statistics of one process move: the variance in them is the unbiased one.
        private void Move(DeviceBuffer running, ReadOnlySpan<double> batch, double factor)
        {
            norm._backend.Download(running, _values);
            for (int k = 0; k < _values.Length; k++) _values[k] = (float)(_values[k] + Momentum * (batch[k] * factor - _values[k]));
            norm._backend.Upload<float>(_values, running);
        }
    }
}
