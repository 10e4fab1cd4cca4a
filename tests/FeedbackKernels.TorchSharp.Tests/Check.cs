using static TorchSharp.torch;

[assembly: Xunit.v3.Parallelization(Mode = Xunit.Sdk.ParallelMode.None)] // The tests seed the one generator of torch.

namespace FeedbackKernels.TorchSharp.Tests;

internal static class Check
{
    /// <summary>Two tensors agree within a part of the largest number.</summary>
    public static void Close(Tensor expected, Tensor actual, double tolerance = 1e-5)
    {
        Assert.Equal(expected.shape, actual.shape);
        double largest = expected.abs().max().item<float>(), error = (expected - actual).abs().max().item<float>();
        Assert.True(largest > 0, "the expected tensor is zero");
        Assert.True(error <= tolerance * largest, $"differs by {error}, largest number {largest}");
    }

    /// <summary>Two tensors have the same numbers.</summary>
    public static void Same(Tensor expected, Tensor actual)
    {
        Assert.Equal(expected.shape, actual.shape);
        Assert.True(expected.equal(actual).all().item<bool>(), "differs");
    }

    public static bool IsSame(Tensor one, Tensor other) => one.equal(other).all().item<bool>();

    /// <summary>A tensor of normal numbers in one of the memory formats.</summary>
    public static Tensor Map(long[] sizes, bool channelsLast, bool gradient = false)
    {
        Tensor map = randn(sizes);
        if (channelsLast) map = map.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2);
        return map.detach().requires_grad_(gradient);
    }
}
