using FeedbackKernels.Interop;

namespace FeedbackKernels.Layers;

/// <summary>Batch norms whose batch is that of all processes together (SyncBatchNorm of PyTorch): what they add up, and over how many images.
/// </summary>
internal sealed class NormSharing : IDisposable
{
    private readonly Communicator _group;
    private readonly DeviceBuffer _parts;
    private int _images, _ofAll;

    /// <summary>Allocates memory that the norms use one after the other.</summary>
    /// <param name="backend">Where they are.</param>
    /// <param name="group">The processes.</param>
    /// <param name="channels">The largest number of channels of a norm.</param>
    public NormSharing(Backend backend, Communicator group, int channels)
    {
        _group = group;
        _parts = backend.Allocate(2L * group.Size * channels, "batch statistics of all processes");
        backend.Fill(_parts, 0);
    }

    /// <summary>Whether passes share their statistics now; others, such as a measurement in one process, do not.</summary>
    public bool IsOn => _ofAll > 0;

    /// <summary>The part of all images that this process holds.</summary>
    public float Share => (float)_images / _ofAll;

    /// <summary>Begins a pass that all processes make.</summary>
    /// <param name="images">Images of this process.</param>
    /// <param name="ofAll">Images of all processes.</param>
    public void Begin(int images, int ofAll) => (_images, _ofAll) = (images, ofAll);

    /// <summary>Ends it.</summary>
    public void End() => _ofAll = 0;

    /// <summary>The rows of all processes.</summary>
    /// <param name="rows">Rows of this process.</param>
    public SharedRows RowsOfAll(long rows) => new(_ofAll, _group.Size, checked((int)(rows / _images)));

    /// <summary>Memory for the statistics of a norm in each process, [processes][2][channels]; 0 before it is used and to be left so.</summary>
    /// <param name="channels">Channels of the norm.</param>
    public DeviceBuffer PartsOf(int channels) => _parts.Slice(0, 2L * _group.Size * channels);

    /// <summary>The part that this process fills.</summary>
    /// <param name="channels">Channels of the norm.</param>
    public (DeviceBuffer Mean, DeviceBuffer Variance) OwnPartOf(int channels)
    {
        long first = 2L * _group.Rank * channels;
        return (_parts.Slice(first, channels, "mean of this process"), _parts.Slice(first + channels, channels, "variance of this process"));
    }

    /// <summary>Prepares a sum over all processes.</summary>
    /// <param name="values">The numbers.</param>
    /// <param name="name">What they are.</param>
    public PendingSum CreateSum(DeviceBuffer values, string name) => _group.CreateSum(values, name);

    /// <inheritdoc/>
    public void Dispose() => _parts.Dispose();
}
