using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// The operations of training without weight transport, over buffers in this backend's memory. The public methods check every argument
/// before anything is written, the same way for every backend. A backend serves one caller at a time and refuses a second one on another
/// thread. Buffers may be longer than an operation needs: a layer planned for a batch also runs a smaller batch. An operation keeps the
/// memory of its operands alive until it has ended. A result must not overlap another operand, unless the documentation of the operation
/// says that it may be that operand: then both have the same first element and type. Activations and errors (x, y, dy, dx, residuals)
/// have the type <see cref="ActivationType"/>. If that is not Float32, both operands of a product have it: a weight operand is either the
/// Float32 master, which is rounded first, or a rounded copy. Master weights, weight gradients, velocities, values per channel and losses
/// are Float32. Sums are at least Float32, and a result is rounded once, when it is stored.
/// </summary>
/// <remarks>
/// Exceptions of all operations: <see cref="ArgumentNullException"/> for a required buffer that is absent,
/// <see cref="ArgumentException"/> for one that is too short, of the wrong element type, or overlapping another where that is not
/// allowed, <see cref="ObjectDisposedException"/> for one whose memory has been freed;
/// <see cref="ArgumentOutOfRangeException"/> for an undefined enum value, and for a size or setting that is out of range;
/// <see cref="ObjectDisposedException"/> once the backend has been disposed; <see cref="InvalidOperationException"/> while another thread
/// is inside an operation of this backend. Nothing is written in these cases.
/// </remarks>
public abstract partial class Backend : IDisposable
{
    // Bytes of one copy between host and buffer: a span holds fewer than 2^31.
    private const int PartBytes = 1 << 30;

    // Not readonly, because its methods change it.
    private CallerGate _gate;

    /// <summary>Short name, as on the command line.</summary>
    public abstract string Name { get; }

    /// <summary>What the backend runs on: instruction set and threads, or the device.</summary>
    public abstract string Description { get; }

    /// <summary>What the roundings of results depend on: equal texts give equal bits.</summary>
    public virtual string Arithmetic => $"{Name}, {ActivationType}";

    /// <summary>Why <c>auto</c> chose this backend; null if it was chosen by name.</summary>
    public string? Choice { get; internal init; }

    /// <summary>The same in a few words, without the paths that were tried; null if <see cref="Choice"/> is null.</summary>
    public string? ShortChoice { get => field ?? Choice; internal init; }

    /// <summary>Whether the host can address the memory of buffers.</summary>
    public abstract bool HostAddressable { get; }

    /// <summary>Element type of activations and errors: Float32 or BFloat16.</summary>
    public virtual ElementType ActivationType => ElementType.Float32;

    /// <summary>Whether operations queue their work and return before it is done. A measurement then needs <see cref="Synchronize"/>.</summary>
    public virtual bool QueuesWork => false;

    /// <summary>Waits until all operations called so far have ended. An open step is divided here.</summary>
    /// <exception cref="CudaException">Queued work has failed (<see cref="CudaBackend"/>).</exception>
    /// <exception cref="ObjectDisposedException">The backend has been disposed.</exception>
    public void Synchronize()
    {
        using OperationScope call = new(this);
        SynchronizeCore();
    }

    internal virtual void SynchronizeCore()
    {
        // Operations end before they return, unless the backend queues them.
    }

    /// <summary>Ends the threads and frees the memory of the backend itself, after an operation that another thread is inside has ended.
    /// Buffers are disposed by their owners, before or after that.</summary>
    public void Dispose()
    {
        if (!_gate.TryClose()) return;
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Releases the backend's resources. Called once, by <see cref="Dispose()"/> or by a finalizer.</summary>
    protected virtual void Dispose(bool disposing)
    {
    }

    /// <summary>Whether <see cref="Dispose()"/> has been called.</summary>
    private protected bool IsDisposed => _gate.IsClosed;

    internal void Enter()
    {
        _gate.Enter(this, "backend", Name);
        Entered();
    }

    /// <summary>Called at the start of each operation, inside the gate.</summary>
    internal virtual void Entered()
    {
    }

    internal void Leave() => _gate.Leave();

    internal abstract SafeHandle AllocateMemory(long bytes, string purpose);

    /// <summary>Allocates a buffer of zeros. The caller disposes it.</summary>
    /// <param name="length">Elements, 1 to 2^40.</param>
    /// <param name="name">What the buffer is for; errors quote it.</param>
    /// <param name="type">The type of one element.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is out of range, or the type is unknown.</exception>
    /// <exception cref="OutOfMemoryException">The host does not have enough memory (backends whose memory the host addresses).</exception>
    /// <exception cref="CudaException">The device does not have enough memory; the message says how much it has. Or work queued before
    /// has failed (<see cref="CudaBackend"/>, which waits for it here).</exception>
    /// <exception cref="ObjectDisposedException">The backend has been disposed.</exception>
    public DeviceBuffer Allocate(long length, string name, ElementType type = ElementType.Float32)
    {
        using OperationScope call = new(this);
        return AllocateBuffer(length, name, type);
    }

    /// <summary>The same inside an operation.</summary>
    internal DeviceBuffer AllocateBuffer(long length, string name, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(name);
        long bytes = BytesOf(length, type, $"buffer '{name}'");
        var storage = new BufferStorage(HostAddressable);
        storage.Bind(AllocateMemory(bytes, $"buffer '{name}'"));
        return new DeviceBuffer(storage, 0, type, length, name, owner: true);
    }

    /// <summary>Creates a readback: host memory that receives queued copies, to be read later. The caller disposes it.</summary>
    /// <param name="length">Most elements of a copy.</param>
    /// <param name="name">What it is for; errors quote it.</param>
    /// <param name="type">The widest type that is copied.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is out of range, or the type is unknown.</exception>
    /// <exception cref="OutOfMemoryException">The host does not have enough memory.</exception>
    /// <exception cref="CudaException">The host cannot page-lock this much memory (<see cref="CudaBackend"/>).</exception>
    /// <exception cref="ObjectDisposedException">The backend has been disposed.</exception>
    public Readback CreateReadback(int length, string name, ElementType type = ElementType.Float32)
    {
        using OperationScope call = new(this);
        ArgumentNullException.ThrowIfNull(name);
        long bytes = BytesOf(length, type, $"readback '{name}'");
        return new Readback(this, AllocateReadback(bytes, $"readback '{name}'"), bytes, name);
    }

    internal virtual ReadbackMemory AllocateReadback(long bytes, string purpose) => new ImmediateReadback(this, bytes);

    /// <summary>
    /// Opens a step: a sequence of operations that repeats in this order, as in training, until the step is completed. A backend may
    /// launch them together (<see cref="StepScope.IsDeferred"/>); for other backends this does nothing. The results have the same bits
    /// either way, whatever is called inside the step: a call that cannot be part of one launch, such as a download, runs after the calls
    /// before it and before the calls after it.
    /// </summary>
    /// <remarks>Upload the images of the batch before the step and download losses after it: an upload or download inside divides the
    /// step in two.</remarks>
    /// <exception cref="InvalidOperationException">A step of this backend is open, or another thread is inside an operation.</exception>
    /// <exception cref="ObjectDisposedException">The backend has been disposed.</exception>
    public StepScope BeginStep()
    {
        using OperationScope call = new(this);
        return BeginStepCore();
    }

    internal virtual StepScope BeginStepCore() => default;

    /// <summary>Ends a step. Completing it is an operation like any other. Abandoning it happens while the caller unwinds, and waits for
    /// another thread.</summary>
    internal void EndStep(int number, bool complete)
    {
        if (complete) Enter();
        else if (!_gate.TryEnterInTurn()) return;
        try
        {
            EndStepCore(number, complete);
        }
        finally
        {
            Leave();
        }
    }

    internal virtual void EndStepCore(int number, bool complete)
    {
    }

    /// <summary>Copies elements from the host.</summary>
    /// <param name="source">Numbers, of any count; may be overwritten when this returns.</param>
    /// <param name="destination">At least as long; of the type T.</param>
    /// <exception cref="ArgumentException">The buffer has another element type, which <see cref="UploadFloats"/> would convert to, or is
    /// too short.</exception>
    /// <exception cref="ObjectDisposedException">The backend has been disposed.</exception>
    /// <exception cref="CudaException">The copy could not be queued, or work queued before has failed (<see cref="CudaBackend"/>).</exception>
    public void Upload<T>(ReadOnlySpan<T> source, BufferView destination) where T : unmanaged
    {
        using OperationScope call = new(this);
        call.Write(destination, source.Length, ElementTypes.Of<T>());
        UploadParts(source, destination.Address);
    }

    /// <summary>Copies elements to the host, after all work queued before has ended. For a copy without waiting, see <see
    /// cref="CreateReadback"/>.</summary>
    /// <param name="source">At least as long; of the type T.</param>
    /// <param name="destination">Gets as many numbers as it has places.</param>
    /// <exception cref="ArgumentException">The buffer holds another type, or is too short.</exception>
    /// <exception cref="ArgumentOutOfRangeException">An earlier <see cref="CrossEntropy"/> found a label that is not a class. Losses and
    /// gradients of such rows are NaN (<see cref="CudaBackend"/>).</exception>
    /// <exception cref="ObjectDisposedException">The backend has been disposed.</exception>
    /// <exception cref="CudaException">The copy, or work queued before it, has failed (<see cref="CudaBackend"/>).</exception>
    public void Download<T>(BufferView source, Span<T> destination) where T : unmanaged
    {
        using OperationScope call = new(this);
        call.Read(source, destination.Length, ElementTypes.Of<T>());
        DownloadParts(source.Address, destination);
    }

    /// <summary>Copies numbers from the host. The host rounds them if the buffer is BFloat16.</summary>
    /// <param name="source">Numbers, of any count; may be overwritten when this returns.</param>
    /// <param name="destination">Float32 or BFloat16, at least as long.</param>
    /// <exception cref="ArgumentException">The buffer holds another type, or is too short.</exception>
    public void UploadFloats(ReadOnlySpan<float> source, BufferView destination)
    {
        using OperationScope call = new(this);
        RequireNumbers(destination);
        call.Write(destination, source.Length, destination.Type);
        if (destination.Type == ElementType.Float32)
        {
            UploadParts(source, destination.Address);
            return;
        }

        BFloat16[] rounded = ArrayPool<BFloat16>.Shared.Rent(Math.Min(source.Length, RoundedPart));
        nint address = destination.Address;
        while (!source.IsEmpty)
        {
            Span<BFloat16> part = rounded.AsSpan(0, Math.Min(source.Length, RoundedPart));
            for (int i = 0; i < part.Length; i++) part[i] = (BFloat16)source[i];
            UploadParts<BFloat16>(part, address);
            source = source[part.Length..];
            address += part.Length * ElementType.BFloat16.Size();
        }

        ArrayPool<BFloat16>.Shared.Return(rounded);
    }

    /// <summary>Copies the numbers of a Float32 or BFloat16 buffer to the host, after all work queued before has ended.</summary>
    /// <param name="source">Float32 or BFloat16, at least as long.</param>
    /// <param name="destination">Gets as many numbers as it has places.</param>
    /// <exception cref="ArgumentException">The buffer holds another type, or is too short.</exception>
    /// <exception cref="ArgumentOutOfRangeException">As for <see cref="Download{T}"/>.</exception>
    public void DownloadFloats(BufferView source, Span<float> destination)
    {
        using OperationScope call = new(this);
        RequireNumbers(source);
        call.Read(source, destination.Length, source.Type);
        DownloadNumbers(source, destination);
    }

    /// <summary>Copies the numbers of a Float32 or BFloat16 buffer to a new array on the host.</summary>
    /// <exception cref="ArgumentException">The buffer has another element type, or more elements than an array can have.</exception>
    /// <exception cref="ArgumentOutOfRangeException">As for <see cref="Download{T}"/>.</exception>
    public float[] Download(BufferView source)
    {
        using OperationScope call = new(this);
        RequireNumbers(source);
        if (source.Length > Array.MaxLength)
            throw new ArgumentException($"has {source.Length} elements, an array up to {Array.MaxLength}: download it in parts", nameof(source));
        call.Read(source, source.Length, source.Type);
        var result = new float[source.Length];
        DownloadNumbers(source, result);
        return result;
    }

    // Numbers that are converted at a time.
    private const int RoundedPart = 1 << 20;

    private void DownloadNumbers(BufferView source, Span<float> destination)
    {
        if (source.Type == ElementType.Float32)
        {
            DownloadParts(source.Address, destination);
            return;
        }

        BFloat16[] numbers = ArrayPool<BFloat16>.Shared.Rent(Math.Min(destination.Length, RoundedPart));
        nint address = source.Address;
        while (!destination.IsEmpty)
        {
            Span<BFloat16> part = numbers.AsSpan(0, Math.Min(destination.Length, RoundedPart));
            DownloadParts(address, part);
            for (int i = 0; i < part.Length; i++) destination[i] = part[i];
            destination = destination[part.Length..];
            address += part.Length * ElementType.BFloat16.Size();
        }

        ArrayPool<BFloat16>.Shared.Return(numbers);
    }

    private unsafe void UploadParts<T>(ReadOnlySpan<T> source, nint destination) where T : unmanaged
    {
        do
        {
            ReadOnlySpan<T> part = source[..Math.Min(source.Length, PartBytes / sizeof(T))];
            UploadBytes(MemoryMarshal.AsBytes(part), destination);
            source = source[part.Length..];
            destination += (nint)part.Length * sizeof(T);
        }
        while (!source.IsEmpty);
    }

    private unsafe void DownloadParts<T>(nint source, Span<T> destination) where T : unmanaged
    {
        do
        {
            Span<T> part = destination[..Math.Min(destination.Length, PartBytes / sizeof(T))];
            DownloadBytes(source, MemoryMarshal.AsBytes(part));
            destination = destination[part.Length..];
            source += (nint)part.Length * sizeof(T);
        }
        while (!destination.IsEmpty);
    }

    /// <summary>Bytes of a buffer, after its length and type are checked.</summary>
    internal static long BytesOf(long length, ElementType type, string what)
    {
        if (length is < 1 or > ElementCount.Most)
            throw new ArgumentOutOfRangeException(nameof(length), length, $"{what} wants 1 to {ElementCount.Most} elements");
        return length * type.Size();
    }

    internal abstract void UploadBytes(ReadOnlySpan<byte> source, nint destination);

    internal abstract void DownloadBytes(nint source, Span<byte> destination);

    private static void RequireNumbers(BufferView view, [CallerArgumentExpression(nameof(view))] string? name = null)
    {
        if (!view.IsAbsent && view.Type is not (ElementType.Float32 or ElementType.BFloat16))
            throw new ArgumentException($"holds {view.Type}, wanted Float32 or BFloat16", name);
    }

    private static void RequireDefined<T>(T value, [CallerArgumentExpression(nameof(value))] string? name = null)
        where T : unmanaged, Enum
    {
        if (!Names<T>.Has(value)) throw new ArgumentOutOfRangeException(name, value, $"unknown; wanted {string.Join(", ", Enum.GetNames<T>())}");
    }

    /// <summary>The defined values of a 32-bit enum that counts from 0. <see cref="Enum.IsDefined{T}"/> may allocate.</summary>
    private static class Names<T> where T : unmanaged, Enum
    {
        private static readonly int Count = Enum.GetValues<T>().Length;

        public static bool Has(T value) => (uint)Unsafe.As<T, int>(ref value) < (uint)Count;
    }

    internal static void RequireFinite(float value, [CallerArgumentExpression(nameof(value))] string? name = null)
    {
        if (!float.IsFinite(value)) throw new ArgumentOutOfRangeException(name, value, "wanted a finite number");
    }

    private static void RequirePositive(float value, [CallerArgumentExpression(nameof(value))] string? name = null)
    {
        if (!(value > 0) || !float.IsFinite(value)) throw new ArgumentOutOfRangeException(name, value, "wanted a positive, finite number");
    }

    private static void RequireLength(long length, [CallerArgumentExpression(nameof(length))] string? name = null)
    {
        if (length is < 1 or > ElementCount.Most) throw new ArgumentOutOfRangeException(name, length, $"wanted 1 to {ElementCount.Most} elements");
    }

    private protected static void RequireShape(in ConvShape shape, [CallerArgumentExpression(nameof(shape))] string? name = null)
    {
        if (shape.N == 0) throw new ArgumentException("is the default value, which has no sizes", name);
    }

    private protected static void RequireShape(in PoolShape shape, [CallerArgumentExpression(nameof(shape))] string? name = null)
    {
        if (shape.N == 0) throw new ArgumentException("is the default value, which has no sizes", name);
    }
}
