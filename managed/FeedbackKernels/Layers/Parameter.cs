using FeedbackKernels.Interop;

namespace FeedbackKernels.Layers;

/// <summary>A tensor that training changes, with its gradient and velocity.</summary>
public sealed class Parameter : IDisposable
{
    private readonly Backend _backend;

    /// <summary>Allocates the value.</summary>
    /// <param name="backend">Where it lives.</param>
    /// <param name="name">Name in checkpoints and messages.</param>
    /// <param name="sizes">Sizes of the dimensions.</param>
    /// <param name="decays">Whether weight decay applies: to weights, not to biases and batch norms.</param>
    /// <param name="multiplies">Whether it is an operand of products, which a backend may want in another type.</param>
    public Parameter(Backend backend, string name, int[] sizes, bool decays, bool multiplies = false)
    {
        ArgumentNullException.ThrowIfNull(backend);
        _backend = backend;
        Name = name;
        Sizes = sizes;
        Decays = decays;
        Value = backend.Allocate(Sizes.Aggregate(1L, (product, size) => product * size), name);
        if (multiplies && backend.ActivationType != ElementType.Float32)
            Copy = backend.Allocate(Length, $"copy of {name}", backend.ActivationType);
    }

    /// <summary>Name in checkpoints and messages.</summary>
    public string Name { get; }

    /// <summary>Sizes of the dimensions.</summary>
    public IReadOnlyList<int> Sizes { get; }

    /// <summary>Whether weight decay applies.</summary>
    public bool Decays { get; }

    /// <summary>Number of elements.</summary>
    public long Length => Value.Length;

    /// <summary>The tensor, Float32.</summary>
    public DeviceBuffer Value { get; }

    /// <summary>The tensor rounded to what products take, where that is not Float32. Whatever writes <see cref="Value"/> writes
    /// it too, in the same pass or by <see cref="RefreshCopy"/>.</summary>
    public DeviceBuffer? Copy { get; }

    /// <summary>What products read: the copy, where there is one.</summary>
    public DeviceBuffer Operand => Copy ?? Value;

    /// <summary>Gradient of the loss; absent until <see cref="EnableTraining"/>.</summary>
    public DeviceBuffer? Gradient { get; private set; }

    /// <summary>Velocity of SGD with momentum; absent until <see cref="EnableTraining"/>.</summary>
    public DeviceBuffer? Velocity { get; private set; }

    /// <summary>Allocates what training needs besides the value.</summary>
    public void EnableTraining()
    {
        Gradient ??= _backend.Allocate(Length, $"gradient of {Name}");
        Velocity ??= _backend.Allocate(Length, $"velocity of {Name}");
    }

    /// <summary>Makes the copy anew, after the value has been loaded or drawn.</summary>
    public void RefreshCopy()
    {
        if (Copy is not null) _backend.Convert(Length, Value, Copy);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Value.Dispose();
        Copy?.Dispose();
        Gradient?.Dispose();
        Velocity?.Dispose();
    }
}
