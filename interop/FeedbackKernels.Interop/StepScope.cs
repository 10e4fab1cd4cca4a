namespace FeedbackKernels.Interop;

/// <summary>A step that is open, from <see cref="Backend.BeginStep"/> until it is disposed. What was called in one that is
/// disposed without <see cref="Complete"/>, after an exception for one, may be left out from some operation on, and the
/// backend is as good as before.</summary>
public readonly struct StepScope : IDisposable
{
    private readonly Backend? _backend;
    private readonly int _number;

    internal StepScope(Backend backend, int number) => (_backend, _number) = (backend, number);

    /// <summary>Whether operations wait for the step to be completed, so that a number which is read before divides it.</summary>
    public bool IsDeferred => _backend is not null;

    /// <summary>Ends the step: everything that was called has been queued when this returns.</summary>
    /// <exception cref="InvalidOperationException">The step has ended already, or another thread is inside an operation.</exception>
    /// <exception cref="ObjectDisposedException">The backend has been disposed.</exception>
    /// <exception cref="CudaException">Something could not be launched; the message says what.</exception>
    public void Complete() => _backend?.EndStep(_number, complete: true);

    /// <summary>Ends the step where it has not been completed, once an operation that another thread is inside has ended.</summary>
    public void Dispose() => _backend?.EndStep(_number, complete: false);
}
