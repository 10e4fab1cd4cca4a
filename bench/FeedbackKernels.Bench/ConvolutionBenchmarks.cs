using BenchmarkDotNet.Attributes;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;

namespace FeedbackKernels.Bench;

/// <summary>Every distinct convolution of ResNet-18, ResNet-50 and ResNet-20, each pass, through BenchmarkDotNet.</summary>
[MemoryDiagnoser]
public class ConvolutionBenchmarks : IDisposable
{
    private const int Batch = 16;

    private CpuBackend? _backend;
    private ConvOperands? _operands;

    /// <summary>Names of the shapes.</summary>
    public static IEnumerable<string> Names => Shapes.Select(s => s.Name);

    /// <summary>The shape that is measured.</summary>
    [ParamsSource(nameof(Names))]
    public string Shape { get; set; } = "";

    private static IEnumerable<LayerShape> Shapes =>
        ((string[])["resnet18", "resnet50", "resnet20"]).SelectMany(model => LayerShapes.Of(model, Batch));

    /// <summary>Makes the tensors.</summary>
    [GlobalSetup]
    public void Setup()
    {
        _backend = new CpuBackend();
        _operands = new ConvOperands(_backend, Shapes.First(s => s.Name == Shape).Shape);
    }

    /// <summary>Gives them back.</summary>
    [GlobalCleanup]
    public void Dispose()
    {
        _operands?.Dispose();
        _backend?.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>y from x and W.</summary>
    [Benchmark]
    public void Forward() => _operands!.Run(ConvPass.Forward);

    /// <summary>dx from dy and B.</summary>
    [Benchmark]
    public void Feedback() => _operands!.Run(ConvPass.Feedback);

    /// <summary>dW from x and dy.</summary>
    [Benchmark]
    public void WeightGradient() => _operands!.Run(ConvPass.WeightGradient);
}
