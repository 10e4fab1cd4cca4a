using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Cuda;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>Copies to the host that are queued and read later.</summary>
[Trait("Category", "Conformance")]
public class ReadbackTests
{
    [Theory, ClassData(typeof(Candidates))]
    public void What_is_read_is_what_stood_there_when_the_copy_was_queued(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        using var bench = new Workbench(backend);
        float[] values = Values.Integers(100, 1, 9);
        DeviceBuffer x = bench.Put(values), activations = bench.PutActivations(values), labels = bench.PutInts([3, 1, 2]);
        using Readback floats = backend.CreateReadback(100, "floats"), other = backend.CreateReadback(100, "other");
        floats.Queue(x, 100);
        other.Queue(activations, 90);
        backend.Fill(x, -1);
        backend.Fill(activations, -1);
        var read = new float[100];
        floats.Read<float>(read);
        Assert.Equal(values, read);
        other.Read<float>(read.AsSpan(0, 90));
        Assert.Equal(values[..90], read[..90]);

        // The same memory again, for other elements.
        floats.Queue(labels, 3);
        var ints = new int[3];
        floats.Read<int>(ints);
        floats.Read<int>(ints);
        Assert.Equal([3, 1, 2], ints);
    }

    [Fact]
    public void Wrong_uses_are_refused_by_name()
    {
        using var backend = new CpuBackend(1);
        using DeviceBuffer x = backend.Allocate(10, "x");
        Assert.Throws<ArgumentOutOfRangeException>(() => backend.CreateReadback(0, "none"));
        Readback readback = backend.CreateReadback(8, "results");
        Assert.Contains("'results'", Assert.Throws<InvalidOperationException>(() => readback.Read<float>(new float[1])).Message);
        Assert.Contains("40 bytes, readback 'results' has room for 32", Assert.Throws<ArgumentOutOfRangeException>(() => readback.Queue(x, 10)).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => readback.Queue(x, 0));
        Assert.Equal("source", Assert.Throws<ArgumentException>(() => readback.Queue(x.Slice(0, 4), 5)).ParamName);
        Assert.Equal("source", Assert.Throws<ArgumentNullException>(() => readback.Queue(default, 5)).ParamName);
        readback.Queue(x, 8);
        Assert.Contains("brings 8 elements", Assert.Throws<ArgumentException>(() => readback.Read<float>(new float[9])).Message);
        Assert.Contains("brings Float32, not Int32", Assert.Throws<ArgumentException>(() => readback.Read<int>(new int[8])).Message);
        readback.Dispose();
        readback.Dispose();
        Assert.Throws<ObjectDisposedException>(() => readback.Read<float>(new float[1]));
        Assert.Throws<ObjectDisposedException>(() => readback.Queue(x, 1));
    }

    [Fact]
    public void A_device_copies_while_the_host_goes_on()
    {
        CudaUnderTest.CreateBackend().Dispose();
        using EmulatedDriver.Setting? late = CudaUnderTest.Deferred();
        CudaUnderTest.Counter pinned = CudaUnderTest.Count("pinned"), events = CudaUnderTest.Count("events");
        CudaBackend backend = CudaUnderTest.CreateBackend();
        using DeviceBuffer x = backend.Allocate(100, "x");
        Readback first = backend.CreateReadback(100, "first"), dropped = backend.CreateReadback(100, "dropped");
        CudaUnderTest.Counter waits = CudaUnderTest.Count("synchronizations", "event-waits"), launches = CudaUnderTest.Count("launches");
        backend.Fill(x, 3);
        first.Queue(x, 100);
        backend.Fill(x, 4);
        dropped.Queue(x, 100);
        backend.Fill(x, 5);
        waits.AssertGrewBy(0);
        launches.AssertGrewBy(0);
        var read = new float[100];
        first.Read<float>(read);
        Assert.All(read, v => Assert.Equal(3, v));
        // No further than the copy that is read.
        launches.AssertGrewBy(1);
        // A copy that is under way ends before its memory goes.
        dropped.Dispose();
        launches.AssertGrewBy(2);
        backend.Dispose();
        first.Read<float>(read);
        Assert.Throws<ObjectDisposedException>(() => first.Queue(x, 1));
        Assert.Throws<ObjectDisposedException>(() => backend.CreateReadback(1, "late"));
        first.Dispose();
        pinned.AssertGrewBy(0);
        events.AssertGrewBy(0);
    }
}
