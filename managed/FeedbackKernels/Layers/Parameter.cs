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
    public Parameter(Backend backend, string name, int[] sizes, bool decays)
    {
        ArgumentNullException.ThrowIfNull(backend);
        _backend = backend;
        Name = name;
        Sizes = sizes;
        Decays = decays;
        Value = backend.Allocate(Sizes.Aggregate(1L, (product, size) => product * size), name);
    }

    /// <summary>Name in checkpoints and messages.</summary>
    public string Name { get; }

    /// <summary>Sizes of the dimensions.</summary>
    public IReadOnlyList<int> Sizes { get; }

    /// <summary>Whether weight decay applies.</summary>
    public bool Decays { get; }

    /// <summary>Number of elements.</summary>
    public long Length => Value.Length;

    /// <summary>The tensor.</summary>
    public DeviceBuffer Value { get; }

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

    /// <inheritdoc/>
    public void Dispose()
    {
        Value.Dispose();
        Gradient?.Dispose();
        Velocity?.Dispose();
    }
}
