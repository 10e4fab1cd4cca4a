using BenchmarkDotNet.Attributes;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Bench.Suites;

/// <summary>The batch norm after each convolution: the parts that are not fused into the convolution.</summary>
public class BatchNormBenchmarks : LayerBenchmarks
{
    private static readonly Pass TrainingPass = Pass.Train(Batch);

    private long _rows;
    private int _channels;
    private BatchNorm? _norm;
    private DeviceBuffer? _x, _y, _dy, _dx;

    /// <summary>Mean and variance of each channel, as computed if no convolution epilogue does it.</summary>
    [Benchmark]
    public void Statistics() => Backend.BatchNormStatistics(_rows, _channels, _x, _norm!.Statistics(TrainingPass));

    /// <summary>Normalisation and ReLU in one pass.</summary>
    [Benchmark]
    public void Apply() => Backend.ChannelAffine(_rows, _channels, _x, _norm!.Scale, _norm.Bias, default, Activation.Relu, _y);

    /// <summary>Gradients of gamma, beta and the input, through the ReLU.</summary>
    [Benchmark]
    public void Backward() => Backend.BatchNormBackward(
        _rows, _channels, _x, _norm!.State, ReluPosition.After, default, _dy, _dx, _norm.Gamma.Gradient, _norm.Beta.Gradient, default);

    private protected override void Setup(in ConvShape shape)
    {
        (_rows, _channels) = (shape.OutputLength / shape.K, shape.K);
        _norm = new BatchNorm(Backend, "norm", _channels, zeroGamma: false);
        _norm.Initialise();
        _norm.Gamma.EnableTraining();
        _norm.Beta.EnableTraining();
        (_x, _y, _dy, _dx) = (Gaussian(shape.OutputLength, 1), Gaussian(shape.OutputLength, 2), Gaussian(shape.OutputLength, 3), Gaussian(shape.OutputLength, 4));
        Statistics();
        _norm.Fold(TrainingPass);
    }

    private protected override void Cleanup()
    {
        _norm?.Dispose();
        foreach (DeviceBuffer? buffer in (DeviceBuffer?[])[_x, _y, _dy, _dx]) buffer?.Dispose();
    }
}
