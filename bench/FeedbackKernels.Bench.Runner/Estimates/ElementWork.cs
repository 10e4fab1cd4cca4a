using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench.Estimates;

/// <summary>The work of kernels that go over the elements of activations once.</summary>
internal static unsafe class ElementWork
{
    public static KernelWork Elements(string kind, long length, int bytes) => new(kind, (double)length * bytes);

    public static KernelWork Pool(in LaunchFacts launch, in NativePoolShape s, int positionBytes, bool backward)
    {
        double inputs = (double)s.N * s.H * s.W * s.C, outputs = (double)s.N * s.P * s.Q * s.C;
        return new KernelWork(
            "pooling", launch.Bytes * (inputs + outputs) + positionBytes * outputs, backward ? Figure.PoolBackwardHbm : Figure.PoolForwardHbm);
    }

    public static KernelWork Loss(in LaunchFacts launch, in CudaBackend.CrossEntropyArguments arguments)
    {
        // A warp goes over a row three times, and reduces over its lanes.
        const int rounds = 4;
        int logits = launch.Kernel.StartsWith("cross_entropy_fp32", StringComparison.Ordinal) ? sizeof(float) : launch.Bytes;
        int gradient = arguments.DLogits == null ? 0 : launch.Bytes;
        return new KernelWork("loss", (double)arguments.Rows * arguments.Classes * (logits + gradient)) { Rounds = rounds };
    }

    public static KernelWork Images(in LaunchFacts launch, in CudaBackend.AugmentArguments arguments) =>
        Elements("images", (long)arguments.N * arguments.H * arguments.W * arguments.C, 1 + launch.Bytes);

    /// <summary>Bytes of the numbers of a kernel whose name ends in their type.</summary>
    public static int BytesOf(string kernel) => kernel.EndsWith("bf16", StringComparison.Ordinal) ? sizeof(ushort) : sizeof(float);

    /// <summary>Bytes read and written by <c>convert_FROM_to_TO</c>.</summary>
    public static int BytesConverted(string kernel) => BytesOf(kernel[..kernel.IndexOf("_to_", StringComparison.Ordinal)]) + BytesOf(kernel);
}
