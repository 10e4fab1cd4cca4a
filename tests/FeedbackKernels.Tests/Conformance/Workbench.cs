using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Cuda;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>
/// Buffers of one backend, each between two guard zones. Reading the results checks that no guard was written: an
/// operation that writes one element too far fails its test. The emulated CUDA driver has guards of its own, which catch
/// reads as well and would not see them inside these.
/// </summary>
public sealed class Workbench(Backend backend) : IDisposable
{
    private const float Sentinel = -123456.75f;

    private readonly int _guard = EmulatedDriver.Guards(backend) ? 0 : 64;
    private readonly List<(DeviceBuffer Whole, DeviceBuffer Inside)> _buffers = [];

    public Backend Backend { get; } = backend;

    public DeviceBuffer Put(float[] values)
    {
        DeviceBuffer whole = Backend.Allocate(values.Length + 2 * _guard, "test");
        Backend.Fill(whole, Sentinel);
        DeviceBuffer inside = whole.Slice(_guard, values.Length);
        Backend.Upload<float>(values, inside);
        _buffers.Add((whole, inside));
        return inside;
    }

    public DeviceBuffer PutInts(int[] values)
    {
        DeviceBuffer buffer = Backend.Allocate(values.Length, "test", ElementType.Int32);
        Backend.Upload<int>(values, buffer);
        _buffers.Add((buffer, buffer));
        return buffer;
    }

    /// <summary>A buffer for results, full of values that no operation may read.</summary>
    public DeviceBuffer Output(long length) => Put(Enumerable.Repeat(float.NaN, (int)length).ToArray());

    public float[] Get(DeviceBuffer buffer)
    {
        (DeviceBuffer whole, _) = _buffers.Single(b => ReferenceEquals(b.Inside, buffer));
        float[] all = Backend.Download(whole);
        Assert.All(all[.._guard].Concat(all[^_guard..]), v => Assert.Equal(Sentinel, v));
        return all[_guard..^_guard];
    }

    public int[] GetInts(DeviceBuffer buffer)
    {
        var values = new int[buffer.Length];
        Backend.Download<int>(buffer, values);
        return values;
    }

    public void Dispose()
    {
        foreach ((DeviceBuffer whole, _) in _buffers) whole.Dispose();
    }
}
