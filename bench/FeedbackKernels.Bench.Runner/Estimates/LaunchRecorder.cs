using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench.Estimates;

/// <summary>Writes down every launch of a backend.</summary>
/// <param name="name">Names a convolution.</param>
/// <param name="activationBytes">Bytes of an activation.</param>
internal sealed class LaunchRecorder(Func<ConvShape, string> name, int activationBytes) : ILaunchWatcher
{
    /// <summary>The launches so far, in order.</summary>
    public List<PaperLaunch> Launches { get; } = [];

    public void Launched<TArguments, TSizes>(
        CudaKernel kernel, CudaBackend.Grid grid, int threads, int sharedBytes, in TArguments arguments, in TSizes sizes, string operation)
        where TArguments : unmanaged
        where TSizes : unmanaged
    {
        var facts = new LaunchFacts(kernel.Name, operation, grid, activationBytes);
        string subject = sizes switch
        {
            ConvShape shape => name(shape),
            PoolShape pool => $"{pool.C} channels@{pool.H}",
            _ => sizes.ToString()!,
        };
        Launches.Add(new PaperLaunch(kernel.Name, subject, facts.Blocks, threads, sharedBytes, KernelModel.WorkOf(facts, arguments, sizes)));
    }
}
