using System.Runtime.InteropServices;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Conformance;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>
/// The emulated CUDA driver: the kernels of native/ compiled for the host, behind the driver's own functions. Settings and
/// counters belong to the thread that sets and reads them.
/// </summary>
internal static partial class EmulatedDriver
{
    private const string Library = "libfeedback-emulated-cuda.so";

    public static string Path { get; } = System.IO.Path.Combine(AppContext.BaseDirectory, Library);

    /// <summary>Whether this build has both halves, the driver and the PTX that it is handed, and no other driver is named: a
    /// process uses one.</summary>
    public static bool IsThere => CudaUnderTest.Named is null && File.Exists(Path) && !CudaBackend.KernelBuild.StartsWith("none", StringComparison.Ordinal);

    /// <summary>Skips a test where there is no emulated driver, and says why.</summary>
    public static void Require()
    {
        Assert.SkipUnless(CudaUnderTest.Named is null, $"{CudaLibrary.EnvironmentVariable} names the driver '{CudaUnderTest.Named}'");
        Assert.SkipUnless(File.Exists(Path), $"the build made no {Library}: it takes CMake and a C++ compiler, on Linux");
        Assert.SkipUnless(IsThere, $"the build has no CUDA kernels: {CudaBackend.KernelBuild}");
    }

    public static CudaBackend CreateBackend(nint stream = 0, CudaPrecision precision = CudaPrecision.Fp32, bool graphs = true) =>
        new(stream: stream, driver: Path, precision: precision, graphs: graphs);

    /// <summary>Lets queued work run no sooner than somebody waits for it.</summary>
    public static Setting Deferred() => With("deferred", 1, 0);

    /// <summary>Tensor cores that truncate, or that round: what backends do that are created before the scope ends. The kernels of a
    /// backend's own stream add as the device did when the stream was created.</summary>
    public static Setting Truncating(bool truncates = true) => With("truncates", truncates ? 1 : 0, Get("truncates"));

    /// <summary>Whether backends that are created now have tensor cores that truncate: <c>FEEDBACK_EMULATED_TRUNCATES=1</c> makes this the
    /// default of the process.</summary>
    public static bool Truncates => IsThere && Get("truncates") != 0;

    /// <summary>Whether a backend's buffers end at memory that cannot be touched.</summary>
    public static bool Guards(Backend backend) => backend is CudaBackend && CudaLibrary.LoadedPath == Path;

    /// <summary>Changes the emulated machine for this thread until the scope ends. Skips the test on any other machine.</summary>
    public static Setting With(string name, long value, long usual)
    {
        Require();
        Assert.Equal(0, Set(name, value));
        return new Setting(name, usual);
    }

    /// <summary>All passes of a convolution, with the fibers of the threads in the order of each seed.</summary>
    public static void AssertOrderOfThreadsChangesNoBit(Func<CudaBackend> create, ConvShape shape, params long[] seeds)
    {
        ConvolutionTests.Results[] results = [.. seeds.Select(seed =>
        {
            using Setting order = With("seed", seed, 1);
            using CudaBackend backend = create();
            return ConvolutionTests.RunAll(backend, shape, Values.Normal);
        })];
        foreach (ConvolutionTests.Results other in results[1..]) results[0].AssertSameBits(other);
    }

    [LibraryImport(Library, EntryPoint = "emulatedGet", StringMarshalling = StringMarshalling.Utf8)]
    public static partial long Get(string name);

    /// <summary>A sum and the products of 16 numbers of bf16 each, added as a tensor core of the emulated device does.</summary>
    public static float Multiply(float sum, float[] left, float[] right)
    {
        Assert.Equal((16, 16), (left.Length, right.Length));
        return Multiply(sum, (ReadOnlySpan<float>)left, right);
    }

    [LibraryImport(Library, EntryPoint = "emulatedMultiply")]
    private static partial float Multiply(float sum, ReadOnlySpan<float> left, ReadOnlySpan<float> right);

    [LibraryImport(Library, EntryPoint = "emulatedSet", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Set(string name, long value);

    public sealed class Setting(string name, long usual) : IDisposable
    {
        public void Dispose() => Assert.Equal(0, Set(name, usual));
    }
}
