using System.Reflection;
using System.Runtime.InteropServices;
using FeedbackKernels.Interop;
using Xunit.v3;

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
    public static bool IsThere => CudaUnderTest.IsEmulated && File.Exists(Path) && !CudaBackend.KernelBuild.StartsWith("none", StringComparison.Ordinal);

    /// <summary>Skips a test where the emulated driver was not built, and says why.</summary>
    public static void RequireBuild()
    {
        Assert.SkipUnless(File.Exists(Path), $"the build made no {Library}: it takes CMake and a C++ compiler, on Linux");
        Assert.SkipUnless(IsThere, $"the build has no CUDA kernels: {CudaBackend.KernelBuild}");
    }

    /// <summary>Skips a test on any other driver: because of <paramref name="why"/>, no real device can have what the test needs.</summary>
    public static void Require(string why)
    {
        Assert.SkipUnless(CudaUnderTest.IsEmulated, $"{why} ({CudaLibrary.EnvironmentVariable} names the driver '{CudaUnderTest.Path}')");
        RequireBuild();
    }

    /// <summary>Tensor cores that truncate, or that round: what backends do that are created before the scope ends. The kernels of a
    /// backend's own stream add as the device did when the stream was created.</summary>
    public static Setting Truncating(bool truncates = true) => Change("truncates", truncates ? 1 : 0, Read("truncates"));

    /// <summary>Whether backends that are created now have tensor cores that truncate: <c>FEEDBACK_EMULATED_TRUNCATES=1</c> makes this the
    /// default of the process.</summary>
    public static bool Truncates => IsThere && Read("truncates") != 0;

    /// <summary>Whether a backend's buffers end at memory that cannot be touched.</summary>
    public static bool Guards(Backend backend) => backend is CudaBackend && CudaUnderTest.IsEmulated;

    /// <summary>Changes the emulated machine for this thread until the scope ends, in a test that only the emulated driver can
    /// pass.</summary>
    public static Setting With(string name, long value, long usual)
    {
        RequireMark<EmulatedOnlyAttribute>("looks into the emulated driver");
        return Change(name, value, usual);
    }

    /// <summary>Reads a counter, in a test that only the emulated driver can pass.</summary>
    public static long Get(string name)
    {
        RequireMark<EmulatedOnlyAttribute>("looks into the emulated driver");
        return Read(name);
    }

    /// <summary>For <see cref="CudaUnderTest"/>, which knows that this is the driver.</summary>
    internal static Setting Change(string name, long value, long usual)
    {
        Assert.Equal(0, Set(name, value));
        return new Setting(name, usual);
    }

    [LibraryImport(Library, EntryPoint = "emulatedGet", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial long Read(string name);

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

    /// <summary>Fails a test without the mark that puts it into the list of tests/README.md, on every driver, so that nobody needs a GPU to see
    /// it.</summary>
    internal static void RequireMark<T>(string need) where T : Attribute
    {
        MethodInfo? test = (TestContext.Current.TestMethod as IXunitTestMethod)?.Method;
        Assert.True(test?.IsDefined(typeof(T), false) == true, $"{test?.DeclaringType?.Name}.{test?.Name} {need}: mark it with {typeof(T).Name}");
    }

    public sealed class Setting(string name, long usual) : IDisposable
    {
        public void Dispose() => Assert.Equal(0, Set(name, usual));
    }
}
