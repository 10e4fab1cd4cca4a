using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Conformance;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>
/// The CUDA driver that the kernels are tested on: the emulated one; or, where <see cref="CudaLibrary.EnvironmentVariable"/>
/// names a library, that one and the device behind it, as <c>libcuda.so.1</c> on a machine with a GPU. Tests that need only what
/// every driver has take it from here; the others are marked <see cref="EmulatedOnlyAttribute"/>.
/// </summary>
internal static class CudaUnderTest
{
    private static readonly string? Named =
        Environment.GetEnvironmentVariable(CudaLibrary.EnvironmentVariable) is { Length: > 0 } name ? name : null;

    private static readonly Lazy<CudaDevice> Device = new(() => CudaDevice.Open(0, Path));

    /// <summary>Whether it is the emulated driver because no other is named.</summary>
    public static bool IsEmulated => Named is null;

    /// <summary>Its library.</summary>
    public static string Path => Named ?? EmulatedDriver.Path;

    /// <summary>What test names call it.</summary>
    public static string Candidate => IsEmulated ? "cuda:Emulated" : "cuda:Device";

    /// <summary>The same with activations in bf16.</summary>
    public static string Bf16Candidate => Candidate + ", bf16";

    /// <summary>The emulated driver with activations in bf16 and tensor cores that truncate, as those of GPUs do.</summary>
    public const string TruncatingCandidate = "cuda:Emulated, bf16, truncating";

    /// <summary>Whether the tensor cores of a candidate truncate.</summary>
    public static bool Truncates(string candidate) =>
        candidate == TruncatingCandidate || (candidate == Bf16Candidate && (!IsEmulated || EmulatedDriver.Truncates));

    /// <summary>Whether there is one. One that is named and cannot be used is a failure, not an absence.</summary>
    public static bool IsThere => !IsEmulated || EmulatedDriver.IsThere;

    /// <summary>Skips a test where there is none, and says why.</summary>
    public static void Require()
    {
        if (IsEmulated) EmulatedDriver.RequireBuild();
    }

    /// <summary>Opens a backend on its first device; skips the test where there is no driver.</summary>
    public static CudaBackend CreateBackend(nint stream = 0, CudaPrecision precision = CudaPrecision.Fp32, bool graphs = true)
    {
        Require();
        return new(stream: stream, driver: Path, precision: precision, graphs: graphs);
    }

    /// <summary>A Hopper until the scope ends: the emulated device is made one for this thread. Skips the test on a device that is
    /// none.</summary>
    public static EmulatedDriver.Setting? Hopper()
    {
        Require();
        if (IsEmulated) return Set("compute-major", 9, 8);
        CudaDevice device = Device.Value;
        Assert.SkipUnless(
            device.Architecture == "sm_90a", $"wgmma and TMA need compute capability 9.0; {device.Name} has {device.Major}.{device.Minor}");
        return null;
    }

    /// <summary>Skips a test that uses several devices on a machine with fewer. The emulated driver has as many as a program is started
    /// with.</summary>
    public static void RequireDevices(int count)
    {
        if (count > 1) EmulatedDriver.RequireMark<SeveralDevicesAttribute>("needs several devices");
        Require();
        if (IsEmulated) return;
        _ = Device.Value;
        CudaException.ThrowIfFailed(DriverApi.DeviceGetCount(out int found), "cuDeviceGetCount", "counting devices");
        Assert.SkipUnless(found >= count, $"the machine has {found} of {count} devices");
    }

    /// <summary>Changes the emulated device for this thread until the scope ends. A real one stays as it is.</summary>
    public static EmulatedDriver.Setting? Set(string name, long value, long usual)
    {
        Require();
        return IsEmulated ? EmulatedDriver.Change(name, value, usual) : null;
    }

    /// <summary>Lets queued work run as late as possible: on the emulated driver no sooner than somebody waits for it. A real device decides
    /// by itself.</summary>
    public static EmulatedDriver.Setting? Deferred() => Set("deferred", 1, 0);

    /// <summary>Counts from now on what the emulated driver does for this thread, by the sum of some of its counters. A real driver counts
    /// nothing, and there nothing is asserted.</summary>
    public static Counter Count(params string[] counters)
    {
        Require();
        return new Counter(counters);
    }

    /// <summary>All passes of a convolution to the same bits, with the threads of each block in the order of each seed; a real device has an
    /// order of its own each time.</summary>
    public static void AssertOrderOfThreadsChangesNoBit(Func<CudaBackend> create, ConvShape shape, params long[] seeds)
    {
        ConvolutionTests.Results[] results = [.. seeds.Select(seed =>
        {
            using EmulatedDriver.Setting? order = Set("seed", seed, 1);
            using CudaBackend backend = create();
            return ConvolutionTests.RunAll(backend, shape, Values.Normal);
        })];
        foreach (ConvolutionTests.Results other in results[1..]) results[0].AssertSameBits(other);
    }

    public sealed class Counter
    {
        private readonly string[] _counters;
        private readonly long _before;

        internal Counter(string[] counters)
        {
            _counters = counters;
            _before = Sum();
        }

        /// <summary>Asserts by how much the counters have grown since they were read first.</summary>
        public void AssertGrewBy(long expected)
        {
            if (IsEmulated) Assert.Equal((string.Join(" + ", _counters), expected), (string.Join(" + ", _counters), Sum() - _before));
        }

        private long Sum() => IsEmulated ? _counters.Sum(EmulatedDriver.Read) : 0;
    }
}
