using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench.Estimates;

/// <summary>The bytes of a convolution's operands.</summary>
internal static class ConvTraffic
{
    /// <summary>Bytes of a dW, and of the partial sums of a split.</summary>
    public const int GradientBytes = sizeof(float);

    /// <summary>What the kind of a convolution is called, by the operation that launches it.</summary>
    public static string KindOf(string operation) => operation switch
    {
        nameof(CudaBackend.ConvForwardCore) => "forward convolution",
        nameof(CudaBackend.ConvFeedbackCore) => "feedback convolution",
        nameof(CudaBackend.ConvWeightGradientCore) => "weight gradient",
        _ => throw new NotSupportedException($"{operation} is no convolution"),
    };

    /// <summary>Elements of x that a forward pass reads: a filter smaller than its stride skips rows and columns.</summary>
    public static long Touched(in ConvShape s) =>
        (long)s.N * s.C * Math.Min(s.H, (long)s.P * Math.Min(s.R, s.Stride)) * Math.Min(s.W, (long)s.Q * Math.Min(s.S, s.Stride));

    /// <summary>Bytes of the statistics that tiles write: two numbers for each channel.</summary>
    public static double Statistics(bool wanted, long tiles, int channels) => wanted ? 2.0 * sizeof(float) * tiles * channels : 0;
}
