namespace FeedbackKernels.Interop;

/// <summary>An open step, from <see cref="Backend.BeginStep"/> until it is disposed. If it is disposed without <see cref="Complete"/>,
/// for instance after an exception, its operations may not run from some point on. The backend remains usable.</summary>
public readonly struct StepScope : IDisposable
{
    private readonly Backend? _backend;
    private readonly int _number;

    internal StepScope(Backend backend, int number) => (_backend, _number) = (backend, number);

    /// <summary>Whether operations are deferred until the step is completed. Reading a result earlier divides the step.</summary>
    public bool IsDeferred => _backend is not null;

    /// <summary>Ends the step. All its operations are queued when this returns.</summary>
    /// <exception cref="InvalidOperationException">The step has ended already, or another thread is inside an operation.</exception>
    /// <exception cref="ObjectDisposedException">The backend has been disposed.</exception>
    /// <exception cref="CudaException">A kernel could not be launched; the message names it.</exception>
    public void Complete() => _backend?.EndStep(_number, complete: true);

    /// <summary>Abandons the step if it has not been completed, after an operation that another thread is inside has ended.</summary>
    public void Dispose() => _backend?.EndStep(_number, complete: false);
}
