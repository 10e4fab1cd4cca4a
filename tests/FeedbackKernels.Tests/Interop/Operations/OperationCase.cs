using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Interop.Operations;

/// <summary>What the elements of an operand may be.</summary>
internal enum Holds
{
    /// <summary>The type that the backend stores activations in.</summary>
    Activations,
    Floats,

    /// <summary>Float32 or what activations are.</summary>
    Either,

    /// <summary>Float32 or BFloat16 on any backend.</summary>
    Numbers,
    Ints,
    Bytes,

    /// <summary>What activations are, where that is not Float32; absent elsewhere.</summary>
    Copy,
}

/// <summary>A buffer that an operation is given.</summary>
/// <param name="Path">The parameter; for a member of one its path, as <c>epilogue.Scale</c>.</param>
/// <param name="Length">Elements in a valid call.</param>
/// <param name="Holds">What they may be.</param>
internal sealed record Operand(string Path, long Length, Holds Holds = Holds.Activations)
{
    public bool Written { get; init; }

    public bool Optional { get; init; }

    /// <summary>Elements that it has to have.</summary>
    public long Needs { get; init; } = Length;

    /// <summary>Operands that this result may be.</summary>
    public string[] MayBe { get; init; } = [];

    /// <summary>Numbers that no element may be; what they are checked against is the host's to read.</summary>
    public int[] Outside { get; init; } = [];

    /// <summary>Its type in a valid call; null where it has to be absent.</summary>
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

/// <summary>A parameter that is no buffer, or a member of one.</summary>
/// <param name="Path">As of an operand.</param>
/// <param name="Valid">Its value in a valid call.</param>
/// <param name="Wrong">Values to be refused, besides those that any parameter of the type refuses.</param>
internal sealed record Setting(string Path, object Valid, params object[] Wrong)
{
    /// <summary>Whether any value of the type is good.</summary>
    public bool Any { get; init; }
}

/// <summary>An operation: how to call it, and what it is given.</summary>
/// <param name="Name">The method; with its parameters where there are several of one name.</param>
/// <param name="Call">Calls it with the arguments.</param>
/// <param name="Parameters">Operands and settings, or arrays of them.</param>
internal sealed record OperationCase(string Name, Func<Backend, Arguments, object?> Call, params object[] Parameters)
{
    /// <summary>Calls with another type argument, each to be refused.</summary>
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

    /// <summary>A buffer; absent where there is none of the path.</summary>
    public BufferView this[string path] => _values.TryGetValue(path, out object? view) ? (BufferView)view : default;

    public T Get<T>(string path) => (T)_values[path];

    public void Set(string path, object value) => _values[path] = value;

    /// <summary>The same arguments but for one.</summary>
    public Arguments With(string path, object value) => new(new Dictionary<string, object>(_values) { [path] = value });
}
