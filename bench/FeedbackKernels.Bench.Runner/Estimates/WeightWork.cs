using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench.Estimates;

/// <summary>The work of kernels on weights. Masters, gradients and velocities are fp32; copies for products have the type of activations.</summary>
internal static unsafe class WeightWork
{
    // Value and velocity are read and written, the gradient is read.
    private const int UpdatePasses = 5, CoupledPasses = 9;

    public static KernelWork Update(in LaunchFacts launch, in CudaBackend.SgdUpdateArguments arguments) =>
        Passes("update", arguments.Length, UpdatePasses, Copy(launch, arguments.Copy));

    public static KernelWork UpdateTransposed(in LaunchFacts launch, in CudaBackend.SgdUpdateTransposedArguments arguments) =>
        Transposing("update", LengthOf(arguments.Shape), UpdatePasses, Copy(launch, arguments.Copy));

    public static KernelWork UpdateSlab(in LaunchFacts launch, in CudaBackend.SgdUpdateSlabArguments arguments, long length) =>
        Passes("update", length, UpdatePasses, Copy(launch, arguments.Copies));

    public static KernelWork UpdateCoupled(in LaunchFacts launch, in CudaBackend.SgdUpdateCoupledSlabArguments arguments, long length) =>
        Transposing("update", length, CoupledPasses, Copy(launch, arguments.Copies) + Copy(launch, arguments.FeedbackCopies));

    public static KernelWork Combine(in LaunchFacts launch, in CudaBackend.TransposedCombineArguments arguments) =>
        Transposing("feedback weights", LengthOf(arguments.Shape), arguments.Beta == 0 ? 2 : 3, Copy(launch, arguments.Copy));

    public static KernelWork Sign(in LaunchFacts launch, in CudaBackend.SignTransposedArguments arguments) =>
        Transposing("feedback weights", LengthOf(arguments.Shape), arguments.Magnitudes == null ? 2 : 3, Copy(launch, arguments.Copy));

    public static KernelWork Align(in CudaBackend.AlignArguments arguments) => Transposing("comparison", LengthOf(arguments.Shape), 2, 0);

    public static KernelWork Compare(in LaunchFacts launch, in CudaBackend.CompareArguments arguments)
    {
        // Of native/inner_products.cuh.
        const int threads = 256;
        string kind = launch.Operation == nameof(CudaBackend.ClipFactorCore) ? "clip" : "comparison";
        double tensors = arguments.A == arguments.B ? 1 : 2;
        return new KernelWork(kind, tensors * ElementWork.BytesOf(launch.Kernel) * arguments.Length)
        {
            Rounds = Math.Ceiling((double)arguments.ElementsPerBlock / threads),
        };
    }

    /// <summary>One block adds the sums of all blocks.</summary>
    public static KernelWork Finish(string kind, long blocks)
    {
        const int threads = 256, tail = 2;
        return new KernelWork(kind, 3.0 * sizeof(double) * blocks) { Rounds = Math.Ceiling((double)blocks / threads) + tail };
    }

    private static KernelWork Passes(string kind, long length, int passes, int copyBytes) =>
        new(kind, (double)length * (passes * sizeof(float) + copyBytes));

    private static KernelWork Transposing(string kind, long length, int passes, int copyBytes) =>
        Passes(kind, length, passes, copyBytes) with { HbmShare = Figure.TransposeHbm, Rounds = 2 };

    private static int Copy(in LaunchFacts launch, void* copy) => copy == null ? 0 : launch.Bytes;

    private static long LengthOf(in NativeTransposedShape shape) => (long)shape.Taps * shape.C * shape.K;
}
