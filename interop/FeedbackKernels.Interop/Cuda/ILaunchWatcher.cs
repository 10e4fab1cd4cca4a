namespace FeedbackKernels.Interop;

/// <summary>Sees every launch of a <see cref="CudaBackend"/>, in order, with what the kernel is given.</summary>
internal interface ILaunchWatcher
{
    /// <summary>A kernel has been launched, or recorded in an open step.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="grid">Blocks.</param>
    /// <param name="threads">Threads of a block.</param>
    /// <param name="sharedBytes">Dynamic shared memory of a block.</param>
    /// <param name="arguments">The kernel's struct.</param>
    /// <param name="sizes">The sizes of the operation.</param>
    /// <param name="operation">The method of <see cref="CudaBackend"/> that launched it.</param>
    void Launched<TArguments, TSizes>(
        CudaKernel kernel, CudaBackend.Grid grid, int threads, int sharedBytes, in TArguments arguments, in TSizes sizes, string operation)
        where TArguments : unmanaged
        where TSizes : unmanaged;
}
