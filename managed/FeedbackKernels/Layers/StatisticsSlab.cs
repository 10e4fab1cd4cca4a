using FeedbackKernels.Interop;

namespace FeedbackKernels.Layers;

/// <summary>The running statistics of all batch norms of a model side by side, so that one operation reaches all of them.</summary>
internal sealed class StatisticsSlab : IDisposable
{
    /// <summary>Allocates the memory and gives each batch norm its place.</summary>
    /// <param name="backend">Where it lies.</param>
    /// <param name="norms">Batch norms whose running statistics have not been used so far.</param>
    public StatisticsSlab(Backend backend, IReadOnlyList<BatchNorm> norms)
    {
        Values = backend.Allocate(norms.Sum(norm => 2 * ParameterSlab.Padded(norm.Channels)), "running statistics");
        long offset = 0;
        foreach (BatchNorm norm in norms)
        {
            norm.Bind(Next(norm, $"{norm.Name}.running_mean"), Next(norm, $"{norm.Name}.running_var"));
        }

        DeviceBuffer Next(BatchNorm norm, string name)
        {
            DeviceBuffer slice = Values.Slice(offset, norm.Channels, name);
            offset += ParameterSlab.Padded(norm.Channels);
            return slice;
        }
    }

    /// <summary>All statistics; elements between them are 0.</summary>
    public DeviceBuffer Values { get; }

    /// <inheritdoc/>
    public void Dispose() => Values.Dispose();
}
