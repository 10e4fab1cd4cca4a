using FeedbackKernels.Interop;

namespace FeedbackKernels.Layers;

/// <summary>
/// Parameters side by side in one block of memory for each role: values, gradients, and copies in the type of products. A parameter
/// has the same offset in each. One operation updates all of them, and a prefix of the gradients is complete as soon as the backward
/// pass has finished the parameters in it.
/// </summary>
public sealed class ParameterSlab : IDisposable
{
    // Elements. In bf16 a cache line, in Float32 two: a load of any width that starts on a parameter crosses no line.
    private const long Alignment = 32;

    /// <summary>Allocates the blocks, zeroed, and gives each parameter its place.</summary>
    /// <param name="backend">Where they live.</param>
    /// <param name="parameters">In the order in which the backward pass finishes them; none of them used so far.</param>
    /// <param name="name">What the slab holds; errors quote it.</param>
    /// <exception cref="ArgumentException">There are no parameters, or one of them has memory already.</exception>
    /// <exception cref="OutOfMemoryException">The host has not enough memory.</exception>
    /// <exception cref="CudaException">The device has not enough memory.</exception>
    public ParameterSlab(Backend backend, IReadOnlyList<Parameter> parameters, string name)
    {
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentNullException.ThrowIfNull(parameters);
        if (parameters.Count == 0) throw new ArgumentException("no parameters, wanted at least one", nameof(parameters));
        if (parameters.FirstOrDefault(p => p.HasMemory) is { } used)
            throw new ArgumentException($"parameter '{used.Name}' has memory already, wanted one that has not been used", nameof(parameters));
        (Backend, Parameters) = (backend, parameters);
        long[] offsets = new long[parameters.Count];
        for (int i = 0; i < offsets.Length; i++)
        {
            offsets[i] = Length;
            Length = checked(Length + Padded(parameters[i].Length));
        }

        try
        {
            Values = backend.Allocate(Length, name);
            if (parameters.Any(p => p.Trains)) Gradients = backend.Allocate(Length, $"gradients of {name}");
            if (parameters.Any(p => p.HasCopy)) Copies = backend.Allocate(Length, $"copies of {name}", backend.ActivationType);
        }
        catch
        {
            Dispose();
            throw;
        }

        for (int i = 0; i < offsets.Length; i++) parameters[i].Bind(this, offsets[i]);
    }

    /// <summary>Where the blocks lie.</summary>
    internal Backend Backend { get; }

    /// <summary>The parameters, in the order of their offsets.</summary>
    public IReadOnlyList<Parameter> Parameters { get; }

    /// <summary>Elements of each block, gaps between parameters included. Elements in gaps are 0.</summary>
    public long Length { get; }

    /// <summary>All values, Float32.</summary>
    public DeviceBuffer Values { get; } = null!;

    /// <summary>All gradients, Float32; null where no parameter trains.</summary>
    public DeviceBuffer? Gradients { get; }

    /// <summary>All copies, in the type that products take; null where that is Float32, or no parameter multiplies.</summary>
    public DeviceBuffer? Copies { get; }

    /// <summary>Elements that a tensor takes in a slab, so that the next one is aligned.</summary>
    /// <param name="length">Its own elements.</param>
    internal static long Padded(long length) => (length + Alignment - 1) / Alignment * Alignment;

    /// <inheritdoc/>
    public void Dispose()
    {
        Values?.Dispose();
        Gradients?.Dispose();
        Copies?.Dispose();
    }
}
