using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// The CPU kernels on the caller's own Float32 arrays: spans, tensors of System.Numerics.Tensors, or pointers. The caller owns all memory.
/// Results, and their bits, are those of <see cref="CpuBackend"/>.
/// </summary>
/// <remarks>
/// <para>Scratch memory is a workspace of fixed size, for which <see cref="WorkspaceBytes(in ConvShape, int, SimdLevel?, bool)"/> says how
/// large it must be. The first call for a shape chooses its kernels; a call allocates nothing otherwise.</para>
/// <para>An object serves one caller at a time and refuses a second one. Threads that call at the same time have one object each. An
/// object of several threads divides each call among them; the number of threads changes no bit of a result.</para>
/// <para>Every argument is checked before anything is written. Exceptions of all operations: <see cref="ArgumentException"/> for a span
/// that is too short or overlaps another where that is not allowed; <see cref="ArgumentOutOfRangeException"/> for an undefined enum value
/// and a number out of range; <see cref="NotSupportedException"/> for a shape with more than 2^31 - 1 pixels;
/// <see cref="InvalidOperationException"/> for a workspace that is too small, and while another thread is inside;
/// <see cref="ObjectDisposedException"/> once this object has been disposed. Spans may be longer than an operation needs.</para>
/// </remarks>
public sealed unsafe partial class HostKernels : IDisposable
{
    private readonly NativeMemoryHandle? _ownWorkspace;

    /// <summary>Allocates a workspace and starts the threads.</summary>
    /// <param name="workspaceBytes">Bytes of scratch memory; 0 for none, which suffices for operations on weights alone.</param>
    /// <param name="threads">Threads that compute, including the caller's, up to <see cref="CpuBackend.MostThreads"/>; 0 for one per
    /// processor.</param>
    /// <param name="level">Vector width; null for the widest supported one.</param>
    /// <param name="exact">Turns Winograd convolutions (Lavin and Gray 2016) off. Their rounding errors are larger than those of direct
    /// sums.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number of bytes is negative, or that of threads out of range.</exception>
    /// <exception cref="InsufficientMemoryException">There is not enough memory, or the system does not start that many threads.</exception>
    /// <exception cref="PlatformNotSupportedException">This machine does not support the level.</exception>
    public HostKernels(long workspaceBytes, int threads = 1, SimdLevel? level = null, bool exact = false)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(workspaceBytes);
        _ownWorkspace = workspaceBytes == 0 ? null : new NativeMemoryHandle(workspaceBytes);
        try
        {
            nint address = _ownWorkspace?.DangerousGetHandle() ?? 0;
            Backend = new CpuBackend(new WorkspaceScratch(address, workspaceBytes), threads, level, exact);
        }
        catch
        {
            _ownWorkspace?.Dispose();
            throw;
        }
    }

    /// <summary>Starts the threads, with a workspace in the caller's memory.</summary>
    /// <param name="workspace">Address of the workspace, of any alignment. The caller keeps the memory alive and in place until this object
    /// has been disposed, and does not write to it during a call.</param>
    /// <param name="workspaceBytes">Its size in bytes.</param>
    /// <param name="threads">As in the other constructor.</param>
    /// <param name="level">As in the other constructor.</param>
    /// <param name="exact">As in the other constructor.</param>
    /// <exception cref="ArgumentOutOfRangeException">The address is 0, the number of bytes is negative, or that of threads out of
    /// range.</exception>
    /// <exception cref="InsufficientMemoryException">The system does not start that many threads.</exception>
    /// <exception cref="PlatformNotSupportedException">This machine does not support the level.</exception>
    public HostKernels(nint workspace, long workspaceBytes, int threads = 1, SimdLevel? level = null, bool exact = false)
    {
        ArgumentOutOfRangeException.ThrowIfZero(workspace);
        ArgumentOutOfRangeException.ThrowIfNegative(workspaceBytes);
        Backend = new CpuBackend(new WorkspaceScratch(workspace, workspaceBytes), threads, level, exact);
    }

    /// <summary>The backend that computes, for operations that have no method here: batch norm, pooling, losses. They take pointers
    /// (<see cref="BufferView.FromPointer(float*, long)"/>) and use the same workspace. This object disposes it.</summary>
    public CpuBackend Backend { get; }

    /// <summary>Bytes of workspace for a convolution: enough for its three passes.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="threads">Threads of the object that will compute, as in its constructor.</param>
    /// <param name="level">Its vector width.</param>
    /// <param name="exact">Whether it computes without Winograd.</param>
    /// <exception cref="ArgumentException">The shape is the default value.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The number of threads is out of range.</exception>
    /// <exception cref="NotSupportedException">The shape has more than 2^31 - 1 pixels.</exception>
    /// <exception cref="PlatformNotSupportedException">This machine does not support the level.</exception>
    public static long WorkspaceBytes(in ConvShape shape, int threads = 1, SimdLevel? level = null, bool exact = false)
    {
        using CpuBackend backend = Measuring(threads, level, exact);
        long bytes = 0;
        // Explain checks the shape.
        foreach (ConvPass pass in Enum.GetValues<ConvPass>())
        {
            _ = backend.Explain(shape, pass);
            bytes = Math.Max(bytes, backend.ScratchBytesOf(ConvRequest.Of(shape, pass, ElementType.Float32) with { Exact = exact }));
        }

        return bytes;
    }

    /// <summary>Bytes of workspace for a mirror step, of either kind where B can be corrected.</summary>
    /// <param name="step">Layer, noise and number of samples.</param>
    /// <param name="threads">As in the other overload.</param>
    /// <param name="level">As in the other overload.</param>
    /// <param name="exact">As in the other overload.</param>
    /// <exception cref="ArgumentException">The layer is the default value, or the noise does not have its sample length.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A number of the step, or that of threads, is out of range.</exception>
    /// <exception cref="NotSupportedException">The step has more than 2^31 - 1 pixels.</exception>
    /// <exception cref="PlatformNotSupportedException">This machine does not support the level.</exception>
    public static long WorkspaceBytes(in MirrorStep step, int threads = 1, SimdLevel? level = null, bool exact = false)
    {
        using CpuBackend backend = Measuring(threads, level, exact);
        CpuBackend.RequireMirrorStep(step);
        bool corrects = step.Form == MirrorForm.Patch && !step.ReluResponse;
        return backend.ScratchBytesOf(step with { FirstSample = 0 }, corrects);
    }

    /// <summary>Ends the threads, and frees the workspace if it was allocated here.</summary>
    public void Dispose()
    {
        Backend.Dispose();
        _ownWorkspace?.Dispose();
    }

    // Its pool has no threads, and does no work.
    private static CpuBackend Measuring(int threads, SimdLevel? level, bool exact) => new(new MeasuringScratch(), threads, level, exact);

    /// <summary>A view of a span that stays where it is. An empty span is present, and too short.</summary>
    private static BufferView Required(float* elements, int length) =>
        length == 0 ? BufferView.FromPointer(1, 0) : BufferView.FromPointer(elements, length);

    /// <summary>A view of an optional span, which is absent if empty.</summary>
    private static BufferView Optional(float* elements, int length) => length == 0 ? default : BufferView.FromPointer(elements, length);

    /// <summary>A view of memory that has as many elements as an operation needs.</summary>
    private static BufferView Pointer(float* elements, long length, [CallerArgumentExpression(nameof(elements))] string name = "")
    {
        if (elements == null) ThrowNull(name);
        return BufferView.FromPointer(elements, length);
    }

    [DoesNotReturn]
    private static void ThrowNull(string name) => throw new ArgumentNullException(name);
}
