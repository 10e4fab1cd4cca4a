using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Interop.Operations;

/// <summary>The element types that an operand may have.</summary>
internal enum Holds
{
    /// <summary>The type that the backend stores activations in.</summary>
    Activations,
    Floats,

    /// <summary>Float32 or the type of activations.</summary>
    Either,

    /// <summary>Float32 or BFloat16 on any backend.</summary>
    Numbers,
    Ints,
    Bytes,

    /// <summary>The type of activations if that is not Float32, else absent.</summary>
    Copy,
}

/// <summary>A buffer argument of an operation.</summary>
/// <param name="Path">The parameter, or the path of a member, such as <c>epilogue.Scale</c>.</param>
/// <param name="Length">Elements in a valid call.</param>
/// <param name="Holds">Types that they may have.</param>
internal sealed record Operand(string Path, long Length, Holds Holds = Holds.Activations)
{
    public bool Written { get; init; }

    public bool Optional { get; init; }

    /// <summary>Required number of elements.</summary>
    public long Needs { get; init; } = Length;

    /// <summary>Operands that may be the same buffer as this result.</summary>
    public string[] MayBe { get; init; } = [];

    /// <summary>Invalid values of elements, which the operation checks if the host can read the buffer.</summary>
    public int[] Outside { get; init; } = [];

    /// <summary>Its type in a valid call; null if it must be absent.</summary>
    public ElementType? TypeOn(Backend backend) => Holds switch
    {
        Holds.Activations => backend.ActivationType,
        Holds.Copy => backend.ActivationType == ElementType.Float32 ? null : backend.ActivationType,
        Holds.Ints => ElementType.Int32,
        Holds.Bytes => ElementType.UInt8,
        _ => ElementType.Float32,
    };

    public bool Allows(ElementType type, Backend backend) => Holds switch
    {
        Holds.Either => type == ElementType.Float32 || type == backend.ActivationType,
        Holds.Numbers => type is ElementType.Float32 or ElementType.BFloat16,
        _ => type == TypeOn(backend),
    };
}

/// <summary>A parameter, or a member of one, that is not a buffer.</summary>
/// <param name="Path">As for an operand.</param>
/// <param name="Valid">Its value in a valid call.</param>
/// <param name="Wrong">Values that must be rejected, in addition to those that are wrong for every parameter of the type.</param>
internal sealed record Setting(string Path, object Valid, params object[] Wrong)
{
    /// <summary>Whether every value of the type is valid.</summary>
    public bool Any { get; init; }
}

/// <summary>An operation: how to call it, and its arguments.</summary>
/// <param name="Name">The method, with its parameters if there are several with that name.</param>
/// <param name="Call">Calls it with the arguments.</param>
/// <param name="Parameters">Operands and settings, or arrays of them.</param>
internal sealed record OperationCase(string Name, Func<Backend, Arguments, object?> Call, params object[] Parameters)
{
    /// <summary>Calls with another type argument; each must be rejected.</summary>
    public Action<Backend, Arguments>[] WrongTypeArguments { get; init; } = [];

    public IReadOnlyList<Operand> Operands { get; } = [.. Flat(Parameters).OfType<Operand>()];

    public IReadOnlyList<Setting> Settings { get; } = [.. Flat(Parameters).OfType<Setting>()];

    private static IEnumerable<object> Flat(object[] parameters) => parameters.SelectMany(p => p as object[] ?? [p]);
}

/// <summary>Arguments by their paths.</summary>
internal sealed class Arguments
{
    private readonly Dictionary<string, object> _values;

    public Arguments() : this([])
    {
    }

    private Arguments(Dictionary<string, object> values) => _values = values;

    /// <summary>The buffer with a path; absent if there is none.</summary>
    public BufferView this[string path] => _values.TryGetValue(path, out object? view) ? (BufferView)view : default;

    public T Get<T>(string path) => (T)_values[path];

    public void Set(string path, object value) => _values[path] = value;

    /// <summary>The same arguments with one replaced.</summary>
    public Arguments With(string path, object value) => new(new Dictionary<string, object>(_values) { [path] = value });
}
