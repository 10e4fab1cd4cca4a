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
    public BatchStatistics Statistics(in Pass pass) => IsShared ? _shared!.Part : AllStatistics(pass);

    /// <summary>Computes <see cref="Scale"/> and <see cref="Bias"/> from the batch's statistics in training, from the
    /// running ones otherwise.</summary>
    /// <param name="pass">The pass.</param>
    public void Fold(in Pass pass) => _backend.BatchNormFold(
        Channels, Gamma.Value, Beta.Value, pass.Training ? _mean : RunningMean, pass.Training ? _variance : RunningVariance,
        Epsilon, _scale, _bias);

    /// <summary>After a pass with running statistics: leaves the derivative of the norm, its factor alone, in <see cref="Scale"/> and
    /// <see cref="Bias"/>.</summary>
    internal void DropShift() => _backend.Fill(_bias, 0);

    /// <summary>Computes the statistics over the batches of all processes from now on, in passes that share them.</summary>
    internal void Share(NormSharing sharing) => _shared = new Shared(this, sharing);

    /// <summary>After the statistics of this process's batch: makes those of all processes of them, if they are shared.</summary>
    /// <param name="rows">Rows of this process.</param>
    /// <param name="pass">The pass.</param>
    internal void Merge(long rows, in Pass pass)
    {
        if (IsShared) _shared!.Merge(rows, AllStatistics(pass));
    }

    /// <summary>The backward pass: see <see cref="Backend.BatchNormBackward"/>.</summary>
    internal void Backward(long rows, BufferView x, ReluPosition relu, BufferView y, BufferView dy, BufferView dx, BufferView dResidual)
    {
        if (!IsShared)
        {
            _backend.BatchNormBackward(rows, Channels, x, State, relu, y, dy, dx, Gamma.Gradient, Beta.Gradient, dResidual);
            return;
        }

        _backend.BatchNormBackwardSums(rows, Channels, x, State, relu, y, dy, Gamma.Gradient, Beta.Gradient);
        _shared!.SumGradients();
        _backend.BatchNormBackwardErrors(rows, Channels, x, State, relu, y, dy, Gamma.Gradient, Beta.Gradient, dx, dResidual);
    }

    private bool IsShared => _shared?.IsOn == true;

    private BatchStatistics AllStatistics(in Pass pass) => pass.UpdateRunningStatistics
        ? new BatchStatistics(_mean, _variance, RunningMean, RunningVariance, Momentum)
        : new BatchStatistics(_mean, _variance);

    /// <inheritdoc/>
    public void Dispose()
    {
        Gamma.Dispose();
        Beta.Dispose();
        foreach (DeviceBuffer? buffer in (DeviceBuffer?[])[_runningMean, _runningVariance, _mean, _variance, _scale, _bias]) buffer?.Dispose();
    }

    /// <summary>Takes memory for the running statistics. They have none yet.</summary>
    internal void Bind(DeviceBuffer mean, DeviceBuffer variance) => (_runningMean, _runningVariance) = (mean, variance);

    /// <summary>What the norm shares with those of other processes.</summary>
    private sealed class Shared
    {
        private readonly BatchNorm _norm;
        private readonly NormSharing _sharing;
        private readonly DeviceBuffer _parts, _ownMean, _ownVariance;
        private readonly PendingSum _partsSum, _gradientSum;

        public Shared(BatchNorm norm, NormSharing sharing)
        {
            (_norm, _sharing) = (norm, sharing);
            _parts = sharing.PartsOf(norm.Channels);
            (_ownMean, _ownVariance) = sharing.OwnPartOf(norm.Channels);
            _partsSum = sharing.CreateSum(_parts, $"batch statistics of {norm.Name}");
            // Both in one sum: what a sum costs is the waiting for it. Gaps between parameters are 0.
            long first = norm.Gamma.Offset, length = norm.Beta.Offset + norm.Channels - first;
            if (norm.Beta.Offset != first + ParameterSlab.Padded(norm.Channels)) throw new InvalidOperationException($"{norm.Name}: weight and bias are not side by side");
            _gradientSum = sharing.CreateSum(norm.Gamma.Slab!.Gradients!.Slice(first, length, $"gradients of {norm.Name}"), $"gradients of {norm.Name}");
        }

        public bool IsOn => _sharing.IsOn;

        /// <summary>Where the statistics of this process's batch go.</summary>
        public BatchStatistics Part => new(_ownMean, _ownVariance);

        /// <summary>Each process adds its part to zeros, so that each then has all parts: a difference of sums of squares would lose the
        /// variance where the mean is far from zero.</summary>
        public void Merge(long rows, in BatchStatistics all)
        {
            _partsSum.Begin();
            _partsSum.Wait();
            _norm._backend.BatchNormMerge(_sharing.RowsOfAll(rows), _norm.Channels, _parts, all);
            _norm._backend.Fill(_parts, 0);
        }

        /// <summary>The gradients of gamma and beta are then those of all processes, which the sum at the end of the step leaves as they are:
        /// the shares add up to 1.</summary>
        public void SumGradients()
        {
            _gradientSum.Begin(_sharing.Share);
            _gradientSum.Wait();
        }
    }
}
