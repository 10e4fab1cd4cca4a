using FeedbackKernels.Interop;

namespace FeedbackKernels.Layers;

/// <summary>
/// A tensor that training changes, and its gradient. A model puts its parameters into a <see cref="ParameterSlab"/>; a parameter
/// that is in none allocates memory of its own when it is first used.
/// </summary>
public sealed class Parameter : IDisposable
{
    private readonly Backend _backend;
    private readonly bool _multiplies;
    private bool _trains;
    private DeviceBuffer? _value, _copy, _gradient;

    /// <summary>Describes the tensor; allocates nothing.</summary>
    /// <param name="backend">Where it lives.</param>
    /// <param name="name">Name in checkpoints and messages.</param>
    /// <param name="sizes">Sizes of the dimensions.</param>
    /// <param name="decays">Whether weight decay applies: to weights, not to biases and batch norms.</param>
    /// <param name="multiplies">Whether it is an operand of products, which a backend may want in another type.</param>
    public Parameter(Backend backend, string name, int[] sizes, bool decays, bool multiplies = false)
    {
        ArgumentNullException.ThrowIfNull(backend);
        _backend = backend;
        _multiplies = multiplies && backend.ActivationType != ElementType.Float32;
        Name = name;
        Sizes = sizes;
        Decays = decays;
        Length = sizes.Aggregate(1L, (product, size) => product * size);
    }

    /// <summary>Name in checkpoints and messages.</summary>
    public string Name { get; }

    /// <summary>Sizes of the dimensions.</summary>
    public IReadOnlyList<int> Sizes { get; }

    /// <summary>Whether weight decay applies.</summary>
    public bool Decays { get; }

    /// <summary>Number of elements.</summary>
    public long Length { get; }

    /// <summary>The slab that holds the parameter; null where it has memory of its own.</summary>
    public ParameterSlab? Slab { get; private set; }

    /// <summary>Elements of the slab in front of this parameter.</summary>
    public long Offset { get; private set; }

    /// <summary>The tensor, Float32.</summary>
    public DeviceBuffer Value => _value ??= _backend.Allocate(Length, Name);

    /// <summary>The tensor rounded to the type that products take, where that is not Float32. Whatever writes <see cref="Value"/>
    /// writes the copy too, in the same pass or by <see cref="RefreshCopy"/>.</summary>
    public DeviceBuffer? Copy => _multiplies ? _copy ??= _backend.Allocate(Length, $"copy of {Name}", _backend.ActivationType) : null;

    /// <summary>What products read: the copy, where there is one.</summary>
    public DeviceBuffer Operand => Copy ?? Value;

    /// <summary>Gradient of the loss; absent until <see cref="EnableTraining"/>.</summary>
    public DeviceBuffer? Gradient => _trains ? _gradient ??= _backend.Allocate(Length, $"gradient of {Name}") : null;

    /// <summary>Whether products read a copy in another type.</summary>
    internal bool HasCopy => _multiplies;

    /// <summary>Whether there is a gradient.</summary>
    internal bool Trains => _trains;

    /// <summary>Whether memory has been allocated, here or in a slab.</summary>
    internal bool HasMemory => _value is not null || _copy is not null || _gradient is not null;

    /// <summary>Makes room for the gradient.</summary>
    public void EnableTraining() => _trains = true;

    /// <summary>Makes the copy anew, after the value has been loaded or drawn.</summary>
    public void RefreshCopy()
    {
        if (Copy is { } copy) _backend.Convert(Length, Value, copy);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _value?.Dispose();
        _copy?.Dispose();
        _gradient?.Dispose();
    }

    /// <summary>Takes a place in a slab. The parameter has no memory yet.</summary>
    internal void Bind(ParameterSlab slab, long offset)
    {
        (Slab, Offset) = (slab, offset);
        _value = slab.Values.Slice(offset, Length, Name);
        if (_multiplies) _copy = slab.Copies!.Slice(offset, Length, $"copy of {Name}");
        if (_trains) _gradient = slab.Gradients!.Slice(offset, Length, $"gradient of {Name}");
    }
}
