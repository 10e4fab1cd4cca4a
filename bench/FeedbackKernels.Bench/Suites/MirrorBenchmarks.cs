using BenchmarkDotNet.Attributes;
using FeedbackKernels.Interop;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Bench.Suites;

/// <summary>The work of the weight mirror for a layer in a training step: sending noise through W, the correlation, and the update of
/// B at the end of a cycle.</summary>
public class MirrorBenchmarks : LayerBenchmarks
{
    private LayerMirror? _mirror;

    /// <summary>Distribution of the noise.</summary>
    [Params(NoiseKind.Balanced, NoiseKind.Gaussian)]
    public NoiseKind Noise { get; set; }

    /// <summary>A mirror step.</summary>
    [Benchmark]
    public void MirrorStep() => _mirror!.Step();

    private protected override void Setup(in ConvShape shape) =>
        _mirror = new LayerMirror(Backend, shape, new WeightMirror(Samples: new WeightMirror().SamplesFor(shape), Noise: Noise));

    private protected override void Cleanup() => _mirror?.Dispose();
}
