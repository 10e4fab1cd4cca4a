using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Cuda;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>
/// Buffers of one backend, each between two guard zones. Reading the results checks that no guard was written: an
/// operation that writes one element too far fails its test. The emulated CUDA driver has guards of its own, which catch
/// reads as well and would not see them inside these; any other driver has these.
/// </summary>
public sealed class Workbench(Backend backend) : IDisposable
{
    // A number of bf16 too.
    private const float Sentinel = -122880;

    private readonly int _guard = EmulatedDriver.Guards(backend) ? 0 : 64;
    private readonly List<(DeviceBuffer Whole, DeviceBuffer Inside)> _buffers = [];

    public Backend Backend { get; } = backend;

    public DeviceBuffer Put(float[] values, ElementType type = ElementType.Float32)
    {
        DeviceBuffer whole = Backend.Allocate(values.Length + 2 * _guard, "test", type);
        Backend.Fill(whole, Sentinel);
        DeviceBuffer inside = whole.Slice(_guard, values.Length);
        Backend.UploadFloats(values, inside);
        _buffers.Add((whole, inside));
        return inside;
    }

    /// <summary>Values in the type that the backend stores activations in, rounded to it.</summary>
    public DeviceBuffer PutActivations(float[] values) => Put(values, Backend.ActivationType);

    public DeviceBuffer PutInts(int[] values)
    {
        DeviceBuffer buffer = Backend.Allocate(values.Length, "test", ElementType.Int32);
        Backend.Upload<int>(values, buffer);
        _buffers.Add((buffer, buffer));
        return buffer;
    }

    /// <summary>A buffer for results, full of values that no operation may read.</summary>
    public DeviceBuffer Output(long length, ElementType type = ElementType.Float32) =>
        Put(Enumerable.Repeat(float.NaN, (int)length).ToArray(), type);

    /// <summary>The same for activations.</summary>
    public DeviceBuffer OutputActivations(long length) => Output(length, Backend.ActivationType);

    /// <summary>A buffer for the copy of weights that products read, where the backend has such.</summary>
    public DeviceBuffer? OutputCopy(long length) => Backend.ActivationType == ElementType.Float32 ? null : OutputActivations(length);

    /// <summary>Checks that a copy, where there is one, is the master rounded.</summary>
    public void AssertIsCopy(DeviceBuffer master, DeviceBuffer? copy)
    {
        if (copy is not null) Values.AssertSameBits([.. Get(master).Select(v => (float)(BFloat16)v)], Get(copy));
    }

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
