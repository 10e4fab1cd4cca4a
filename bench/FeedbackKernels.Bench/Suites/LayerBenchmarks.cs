using BenchmarkDotNet.Attributes;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;

namespace FeedbackKernels.Bench.Suites;

/// <summary>One operation on every distinct convolution of ResNet-18, ResNet-50 and ResNet-20.</summary>
[MemoryDiagnoser]
public abstract class LayerBenchmarks : IDisposable
{
    /// <summary>Images in a batch.</summary>
    public const int Batch = 16;

    private CpuBackend? _backend;

    /// <summary>Names of the shapes.</summary>
    public static IEnumerable<string> Names => Shapes.Select(s => s.Name);

    /// <summary>The shape to measure.</summary>
    [ParamsSource(nameof(Names))]
    public string Shape { get; set; } = "";

    internal static IEnumerable<LayerShape> Shapes =>
        ((string[])["resnet18", "resnet50", "resnet20"]).SelectMany(model => LayerShapes.Of(model, Batch));

    private protected CpuBackend Backend => _backend ?? throw new InvalidOperationException("the benchmark has not been set up");

    /// <summary>Creates the tensors.</summary>
    [GlobalSetup]
    public void Setup()
    {
        _backend = new CpuBackend();
        Setup(Shapes.First(s => s.Name == Shape).Shape);
    }

    /// <summary>Releases them.</summary>
    [GlobalCleanup]
    public void Dispose()
    {
        Cleanup();
        _backend?.Dispose();
        GC.SuppressFinalize(this);
    }

    private protected abstract void Setup(in ConvShape shape);

    private protected abstract void Cleanup();

    private protected DeviceBuffer Gaussian(long length, uint stream)
    {
        DeviceBuffer buffer = Backend.Allocate(length, "operand");
        Backend.FillGaussian(buffer, new RandomKey(1, RandomPurpose.User, stream), 0.5f);
        return buffer;
    }
}
