using BenchmarkDotNet.Attributes;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench.Suites;

/// <summary>One pass of a convolution.</summary>
public abstract class ConvolutionBenchmarks : LayerBenchmarks
{
    private protected ConvOperands? Operands { get; private set; }

    private protected override void Setup(in ConvShape shape) => Operands = new ConvOperands(Backend, shape);

    private protected override void Cleanup() => Operands?.Dispose();
}

/// <summary>y from x and W.</summary>
public class ForwardBenchmarks : ConvolutionBenchmarks
{
    /// <summary>The forward convolution.</summary>
    [Benchmark]
    public void Forward() => Operands!.Run(ConvPass.Forward);
}

/// <summary>dx from dy and B.</summary>
public class FeedbackBenchmarks : ConvolutionBenchmarks
{
    /// <summary>The feedback convolution.</summary>
    [Benchmark]
    public void Feedback() => Operands!.Run(ConvPass.Feedback);
}

/// <summary>dW from x and dy.</summary>
public class WeightGradientBenchmarks : ConvolutionBenchmarks
{
    /// <summary>The weight gradient.</summary>
    [Benchmark]
    public void WeightGradient() => Operands!.Run(ConvPass.WeightGradient);
}
