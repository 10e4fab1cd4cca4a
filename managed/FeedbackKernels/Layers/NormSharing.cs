using FeedbackKernels.Interop;

namespace FeedbackKernels.Layers;

/// <summary>Batch norms whose batch is that of all processes together (SyncBatchNorm of PyTorch): what they add up, and over how many images.
/// </summary>
/// <param name="group">The processes.</param>
internal sealed class NormSharing(Communicator group)
{
    private int _images, _ofAll;

    /// <summary>Whether passes share their statistics now; others, such as a measurement in one process, do not.</summary>
    public bool IsOn => _ofAll > 0;

    /// <summary>Begins a pass that all processes make.</summary>
    /// <param name="images">Images of this process.</param>
    /// <param name="ofAll">Images of all processes.</param>
    public void Begin(int images, int ofAll) => (_images, _ofAll) = (images, ofAll);

    /// <summary>Ends it.</summary>
    public void End() => _ofAll = 0;

    /// <summary>Rows of all processes.</summary>
    /// <param name="rows">Rows of this process.</param>
    public long RowsOfAll(long rows) => rows / _images * _ofAll;

    /// <summary>Sums over all processes.</summary>
    /// <param name="sums">Sums of this process.</param>
    public void Add(Span<double> sums) => group.Sum(sums);

    /// <summary>The error of a process is that of the mean over its own images: its weight among the errors of all.</summary>
    public double Weight => (double)_images / _ofAll;
}
