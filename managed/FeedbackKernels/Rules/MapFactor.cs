using FeedbackKernels.Interop;

namespace FeedbackKernels.Rules;

/// <summary>Multiplies maps by one number.</summary>
internal sealed class MapFactor : IDisposable
{
    private readonly Backend _backend;
    private readonly int _channels;
    private readonly DeviceBuffer _factors, _summands;

    /// <param name="backend">Where the maps are.</param>
    /// <param name="channels">Channels of a map.</param>
    /// <param name="factor">The number.</param>
    /// <param name="name">Name for errors.</param>
    public MapFactor(Backend backend, int channels, float factor, string name)
    {
        (_backend, _channels) = (backend, channels);
        _factors = backend.Allocate(channels, $"factors of {name}");
        _summands = backend.Allocate(channels, $"summands of {name}");
        backend.Fill(_factors, factor);
        backend.Fill(_summands, 0);
    }

    /// <summary>y = factor * x.</summary>
    /// <param name="length">Number of elements.</param>
    /// <param name="x">Maps.</param>
    /// <param name="y">Maps; may be x.</param>
    public void Apply(long length, BufferView x, BufferView y) =>
        _backend.ChannelAffine(length / _channels, _channels, x, _factors, _summands, default, Activation.None, y);

    /// <inheritdoc/>
    public void Dispose()
    {
        _factors.Dispose();
        _summands.Dispose();
    }
}
