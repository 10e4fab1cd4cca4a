using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// The operations of training without weight transport, over buffers in this backend's memory. The public methods check
/// every argument before anything is written, the same way for every backend.
/// A backend serves one caller at a time. Buffers may be longer than an operation needs: a layer planned for a batch
/// also runs a smaller one.
/// Activations and errors (x, y, dy, dx, residuals) are <see cref="ActivationType"/>. Where that is not Float32, products
/// take both operands in it: a weight operand is the master in Float32, which is then rounded first, or a copy that has been
/// rounded already. Master weights, gradients of weights, velocities, everything a channel and losses are Float32; sums are
/// at least Float32, and a result is rounded once, when it is stored.
/// </summary>
/// <remarks>
/// Errors common to all operations: <see cref="ArgumentNullException"/> for an absent buffer that is needed,
/// <see cref="ArgumentException"/> for one that is too short, of the wrong element type, or overlapping another where
/// that is not allowed, <see cref="ObjectDisposedException"/> for one whose memory has been given back.
/// </remarks>
public abstract partial class Backend : IDisposable
{
    /// <summary>Short name, as on the command line.</summary>
    public abstract string Name { get; }

    /// <summary>What it runs on: instruction set and threads, or the device.</summary>
    public abstract string Description { get; }

    /// <summary>Why <c>auto</c> chose this backend; null where it was asked for by name.</summary>
    public string? Choice { get; internal init; }

    /// <summary>The same in a few words, without the paths that were tried; null where <see cref="Choice"/> is.</summary>
    public string? ShortChoice { get => field ?? Choice; internal init; }

    /// <summary>Whether buffers lie in memory that the host addresses.</summary>
    public abstract bool HostAddressable { get; }

    /// <summary>What activations and errors are stored in: Float32 or BFloat16.</summary>
    public virtual ElementType ActivationType => ElementType.Float32;

    /// <summary>Whether operations only queue their work and return, so that a clock has to wait for
    /// <see cref="Synchronize"/>.</summary>
    public virtual bool QueuesWork => false;

    /// <summary>Waits until every operation that was called has ended.</summary>
    public virtual void Synchronize()
    {
        // Operations end before they return, unless a backend says that it queues them.
    }

    /// <summary>Which kernel would serve a convolution, and why.</summary>
    /// <exception cref="ArgumentException">The shape is the default value, or the pass is none of the three.</exception>
    /// <exception cref="NotSupportedException">The shape is too large for the backend's kernels.</exception>
    public ConvPlan Explain(in ConvShape shape, ConvPass pass)
    {
        RequireShape(shape);
        if (!Enum.IsDefined(pass)) throw new ArgumentOutOfRangeException(nameof(pass), pass, "unknown pass");
        return ExplainCore(shape, pass);
    }

    internal abstract ConvPlan ExplainCore(in ConvShape shape, ConvPass pass);

    /// <summary>Gives back threads and memory of the backend itself. Its buffers are disposed by their owners.</summary>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Releases what the backend holds.</summary>
    protected virtual void Dispose(bool disposing)
    {
    }

    internal abstract SafeHandle AllocateMemory(long bytes, string purpose);

    /// <summary>Allocates a buffer of zeros. The caller disposes it.</summary>
    /// <param name="length">Elements, 1 to 2^40.</param>
    /// <param name="name">What the buffer is for; errors quote it.</param>
    /// <param name="type">The type of one element.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is out of range, or the type is unknown.</exception>
    /// <exception cref="OutOfMemoryException">The host has not so much memory (backends whose memory the host addresses).</exception>
    /// <exception cref="CudaException">The device has not so much memory, and how much it has is said; or work that was queued
    /// before has failed (<see cref="CudaBackend"/>, which waits here for what was queued).</exception>
    /// <exception cref="ObjectDisposedException">The backend has been disposed (<see cref="CudaBackend"/>).</exception>
    public DeviceBuffer Allocate(long length, string name, ElementType type = ElementType.Float32)
    {
        RequireBufferLength(length, name);
        var storage = new BufferStorage(HostAddressable);
        storage.Bind(AllocateMemory(length * type.Size(), $"buffer '{name}'"));
        return new DeviceBuffer(storage, 0, type, length, name, owner: true);
    }

    /// <summary>Makes a readback: memory of the host that copies are queued to and read from later. The caller disposes it.</summary>
    /// <param name="length">Most elements of a copy.</param>
    /// <param name="name">What it is for; errors quote it.</param>
    /// <param name="type">The widest type that is copied.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is out of range, or the type is unknown.</exception>
    /// <exception cref="OutOfMemoryException">The host has not so much memory.</exception>
    /// <exception cref="CudaException">The host has not so much memory that can be page-locked (<see cref="CudaBackend"/>).</exception>
    /// <exception cref="ObjectDisposedException">The backend has been disposed (<see cref="CudaBackend"/>).</exception>
    public Readback CreateReadback(int length, string name, ElementType type = ElementType.Float32)
    {
        RequireBufferLength(length, name);
        long bytes = (long)length * type.Size();
        return new Readback(AllocateReadback(bytes, $"readback '{name}'"), bytes, name);
    }

    internal virtual ReadbackMemory AllocateReadback(long bytes, string purpose) => new ImmediateReadback(this, bytes);

    /// <summary>
    /// Opens a step: operations that are called until it is completed and that come again in this order, step after step, as
    /// in training. A backend that can launches them all at once (<see cref="StepScope.IsDeferred"/>); for others this does
    /// nothing. Results are the same bits either way, whatever is called inside: what cannot be part of one launch, such as
    /// reading a number, comes after what was called before it and before what is called after it.
    /// </summary>
    /// <remarks>Images of the batch are best uploaded before the step, and losses downloaded after it: each time in between
    /// divides it in two.</remarks>
    /// <exception cref="InvalidOperationException">A step of this backend is open.</exception>
    public virtual StepScope BeginStep() => default;

    internal virtual void EndStep(int number, bool complete)
    {
    }

    /// <summary>Copies from the host.</summary>
    /// <param name="source">Numbers; may be overwritten when this returns.</param>
    /// <param name="destination">At least as long; of the type T.</param>
    /// <exception cref="ArgumentException">The buffer holds another type, or is too short; <see cref="UploadFloats"/> rounds.</exception>
    /// <exception cref="ObjectDisposedException">The backend has been disposed (<see cref="CudaBackend"/>).</exception>
    /// <exception cref="CudaException">The copy could not be queued, or something before has failed (<see cref="CudaBackend"/>).</exception>
    public void Upload<T>(ReadOnlySpan<T> source, BufferView destination) where T : unmanaged
    {
        Require(destination, source.Length, ElementTypes.Of<T>());
        UploadBytes(MemoryMarshal.AsBytes(source), destination.Address);
    }

    /// <summary>Copies to the host, after everything queued before has ended. <see cref="CreateReadback"/> does not wait.</summary>
    /// <param name="source">At least as long; of the type T.</param>
    /// <param name="destination">Gets as many numbers as it has places.</param>
    /// <exception cref="ArgumentException">The buffer holds another type, or is too short.</exception>
    /// <exception cref="ObjectDisposedException">The backend has been disposed (<see cref="CudaBackend"/>).</exception>
    /// <exception cref="CudaException">The copy, or something queued before, has failed (<see cref="CudaBackend"/>).</exception>
    public void Download<T>(BufferView source, Span<T> destination) where T : unmanaged
    {
        Require(source, destination.Length, ElementTypes.Of<T>());
        DownloadBytes(source.Address, MemoryMarshal.AsBytes(destination));
    }

    /// <summary>Copies numbers from the host, which rounds them where the buffer holds BFloat16.</summary>
    /// <param name="source">Numbers; may be overwritten when this returns.</param>
    /// <param name="destination">Float32 or BFloat16, at least as long.</param>
    /// <exception cref="ArgumentException">The buffer holds another type, or is too short.</exception>
    public void UploadFloats(ReadOnlySpan<float> source, BufferView destination)
    {
        RequireNumbers(destination, source.Length);
        if (destination.Type == ElementType.Float32)
        {
            UploadBytes(MemoryMarshal.AsBytes(source), destination.Address);
            return;
        }

        BFloat16[] rounded = ArrayPool<BFloat16>.Shared.Rent(source.Length);
        for (int i = 0; i < source.Length; i++) rounded[i] = (BFloat16)source[i];
        UploadBytes(MemoryMarshal.AsBytes(rounded.AsSpan(0, source.Length)), destination.Address);
        ArrayPool<BFloat16>.Shared.Return(rounded);
    }

    /// <summary>Copies the numbers of a Float32 or BFloat16 buffer to the host, after everything queued before has ended.</summary>
    /// <param name="source">Float32 or BFloat16, at least as long.</param>
    /// <param name="destination">Gets as many numbers as it has places.</param>
    /// <exception cref="ArgumentException">The buffer holds another type, or is too short.</exception>
    public void DownloadFloats(BufferView source, Span<float> destination)
    {
        RequireNumbers(source, destination.Length);
        if (source.Type == ElementType.Float32)
        {
            DownloadBytes(source.Address, MemoryMarshal.AsBytes(destination));
            return;
        }

        BFloat16[] numbers = ArrayPool<BFloat16>.Shared.Rent(destination.Length);
        DownloadBytes(source.Address, MemoryMarshal.AsBytes(numbers.AsSpan(0, destination.Length)));
        for (int i = 0; i < destination.Length; i++) destination[i] = numbers[i];
        ArrayPool<BFloat16>.Shared.Return(numbers);
    }

    /// <summary>Copies the numbers of a Float32 or BFloat16 buffer to a new array on the host.</summary>
    public float[] Download(BufferView source)
    {
        var result = new float[source.Length];
        DownloadFloats(source, result);
        return result;
    }

    internal static void RequireBufferLength(long length, string name)
    {
        if (length is < 1 or > ElementCount.Most)
            throw new ArgumentOutOfRangeException(nameof(length), length, $"buffer '{name}' wants 1 to {ElementCount.Most} elements");
    }

    internal abstract void UploadBytes(ReadOnlySpan<byte> source, nint destination);

    internal abstract void DownloadBytes(nint source, Span<byte> destination);

    internal static void Require(
        BufferView view, long length, ElementType type = ElementType.Float32, [CallerArgumentExpression(nameof(view))] string? name = null)
    {
        if (view.IsAbsent) throw new ArgumentNullException(name);
        if (view.Type != type) throw new ArgumentException($"holds {view.Type}, wanted {type}", name);
        if (view.Length < length) throw new ArgumentException($"has {view.Length} elements, wanted at least {length}", name);
    }

    private protected static void RequireIfPresent(
        BufferView view, long length, ElementType type = ElementType.Float32, [CallerArgumentExpression(nameof(view))] string? name = null)
    {
        if (!view.IsAbsent) Require(view, length, type, name);
    }

    /// <summary>Activations or errors.</summary>
    private void RequireActivations(BufferView view, long length, [CallerArgumentExpression(nameof(view))] string? name = null) =>
        Require(view, length, ActivationType, name);

    private void RequireActivationsIfPresent(BufferView view, long length, [CallerArgumentExpression(nameof(view))] string? name = null) =>
        RequireIfPresent(view, length, ActivationType, name);

    /// <summary>What may be Float32 or what activations are: weight operands, and what an operation on any numbers takes.</summary>
    private void RequireEither(BufferView view, long length, [CallerArgumentExpression(nameof(view))] string? name = null)
    {
        if (view.IsAbsent) throw new ArgumentNullException(name);
        if (view.Type != ElementType.Float32 && view.Type != ActivationType)
        {
            string wanted = ActivationType == ElementType.Float32 ? "Float32" : $"Float32 or {ActivationType}";
            throw new ArgumentException($"holds {view.Type}, wanted {wanted}", name);
        }

        Require(view, length, view.Type, name);
    }

    /// <summary>The copy of weights that products read, which only another type than the master's makes worth having.</summary>
    private void RequireCopyIfPresent(BufferView copy, long length, [CallerArgumentExpression(nameof(copy))] string? name = null)
    {
        if (copy.IsAbsent) return;
        if (ActivationType == ElementType.Float32)
            throw new ArgumentException($"is {copy.Type}, wanted none: this backend's products read the Float32 weights themselves", name);
        Require(copy, length, ActivationType, name);
    }

    private static void RequireNumbers(BufferView view, long length, [CallerArgumentExpression(nameof(view))] string? name = null)
    {
        if (!view.IsAbsent && view.Type is not (ElementType.Float32 or ElementType.BFloat16))
            throw new ArgumentException($"holds {view.Type}, wanted Float32 or BFloat16", name);
        Require(view, length, view.Type, name);
    }

    private protected static void RequireShape(in ConvShape shape, [CallerArgumentExpression(nameof(shape))] string? name = null)
    {
        if (shape.N == 0) throw new ArgumentException("is the default value, which has no sizes", name);
    }

    private protected static void RequireShape(in PoolShape shape, [CallerArgumentExpression(nameof(shape))] string? name = null)
    {
        if (shape.N == 0) throw new ArgumentException("is the default value, which has no sizes", name);
    }

    /// <summary>Refuses a result that would overwrite an operand which is still being read.</summary>
    private protected static void RequireApart(
        BufferView result, long resultLength, BufferView operand, long operandLength,
        [CallerArgumentExpression(nameof(result))] string? resultName = null,
        [CallerArgumentExpression(nameof(operand))] string? operandName = null)
    {
        long resultEnd = result.Address + resultLength * result.Type.Size();
        long operandEnd = operand.Address + operandLength * operand.Type.Size();
        if (result.Address < operandEnd && operand.Address < resultEnd)
            throw new ArgumentException($"overlaps '{operandName}'", resultName);
    }

    /// <summary>Refuses a result that overlaps an operand without being it: elements would be overwritten before they are read.</summary>
    private protected static void RequireSameOrApart(
        BufferView result, BufferView operand, long length,
        [CallerArgumentExpression(nameof(result))] string? resultName = null,
        [CallerArgumentExpression(nameof(operand))] string? operandName = null)
    {
        if (result.IsAbsent || operand.IsAbsent || (result.Address == operand.Address && result.Type == operand.Type)) return;
        RequireApart(result, length, operand, length, resultName, operandName);
    }
}
