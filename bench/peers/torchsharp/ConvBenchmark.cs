using System.Diagnostics;
using TorchSharp;
using static TorchSharp.torch;

namespace TorchPeer;

/// <summary>Measures the three passes of a convolution.</summary>
internal static class ConvBenchmark
{
    public static void Run(LayerShape s, int batch, string layout, double budget)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor x = Layout.Apply(randn(batch, s.C, s.H, s.H), layout);
        Tensor w = Layout.Apply(randn(s.K, s.C, s.R, s.R), layout);
        Tensor dy = Layout.Apply(randn(batch, s.K, s.P, s.P), layout);
        Print(s, batch, layout, "fwd", Timing.Of(() => Forward(s, x, w), budget));
        Print(s, batch, layout, "bwd_data", Timing.Of(() => Backward(s, x, w, dy, ofInput: true), budget));
        Print(s, batch, layout, "bwd_weights", Timing.Of(() => Backward(s, x, w, dy, ofInput: false), budget));
    }

    private static double Forward(LayerShape s, Tensor x, Tensor w)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradient = no_grad();
        long start = Stopwatch.GetTimestamp();
        Convolve(s, x, w);
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static double Backward(LayerShape s, Tensor x, Tensor w, Tensor dy, bool ofInput)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor input = x.detach().requires_grad_(ofInput), weight = w.detach().requires_grad_(!ofInput);
        Tensor y = Convolve(s, input, weight);
        long start = Stopwatch.GetTimestamp();
        autograd.grad([y], [ofInput ? input : weight], [dy]);
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static Tensor Convolve(LayerShape s, Tensor x, Tensor w) =>
        nn.functional.conv2d(x, w, strides: [s.Stride, s.Stride], padding: [s.Padding, s.Padding], dilation: [1, 1]);

    private static void Print(LayerShape s, int batch, string layout, string pass, Timing t) => Console.WriteLine(FormattableString.Invariant(
        $"conv,torch,{layout},{s.Name},{pass},{s.Flops(batch) / t.Median / 1e9:F1},{s.Flops(batch) / t.Best / 1e9:F1}"));
}

/// <summary>The memory layouts of a tensor N, C, H, W.</summary>
internal static class Layout
{
    /// <summary>The same tensor, for <c>nhwc</c> with the strides of channels_last. TorchSharp has no memory_format.</summary>
    public static Tensor Apply(Tensor t, string layout) =>
        layout == "nhwc" ? t.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) : t;
}
