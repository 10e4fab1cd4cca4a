using System.Runtime.InteropServices;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Interop.Operations;

/// <summary>
/// The buffers of one operation on one backend, each between guard areas, with the arguments of a valid call. A second backend of
/// the same kind reads them, so that they can be read while the first is busy or disposed.
/// </summary>
internal sealed class OperationRig : IDisposable
{
    private const int Guard = 16;

    private readonly Backend _reader;
    private readonly List<(DeviceBuffer Whole, DeviceBuffer Inside)> _buffers = [];
    private readonly List<IDisposable> _others = [];

    public OperationRig(Func<Backend> create, OperationCase operation)
    {
        Backend = create();
        _reader = create();
        Operation = operation;
        foreach (Operand operand in operation.Operands)
        {
            if (operand.TypeOn(Backend) is { } type) Valid.Set(operand.Path, (BufferView)Put(operand, type));
        }

        foreach (Setting setting in operation.Settings) Valid.Set(setting.Path, Made(setting.Valid));
        Backend.Synchronize();
    }

    public Backend Backend { get; }

    public OperationCase Operation { get; }

    /// <summary>Arguments of a valid call, including every optional operand.</summary>
    public Arguments Valid { get; } = new();

    /// <summary>Makes a call on the backend of the rig, or on another.</summary>
    public void Call(Arguments arguments, Backend? on = null)
    {
        if (Operation.Call(on ?? Backend, arguments) is IDisposable made) made.Dispose();
    }

    /// <summary>Allocates memory that is released with the rig.</summary>
    public DeviceBuffer Allocate(long length, string name, ElementType type = ElementType.Float32)
    {
        DeviceBuffer made = Backend.Allocate(length, name, type);
        _others.Add(made);
        return made;
    }

    /// <summary>All bytes of all buffers, guards included.</summary>
    public byte[] Bytes() => Read(guardsOnly: false);

    /// <summary>The bytes of the guards alone.</summary>
    public byte[] Guards() => Read(guardsOnly: true);

    public void Dispose()
    {
        foreach (IDisposable other in _others) other.Dispose();
        foreach ((DeviceBuffer whole, _) in _buffers) whole.Dispose();
        Backend.Dispose();
        _reader.Dispose();
    }

    private byte[] Read(bool guardsOnly)
    {
        var all = new List<byte>();
        foreach ((DeviceBuffer whole, DeviceBuffer inside) in _buffers)
        {
            int size = SizeOf(whole.Type);
            var bytes = new byte[whole.Length * size];
            _reader.Download<byte>(BufferView.FromPointer(whole.Address, bytes.Length, ElementType.UInt8), bytes);
            if (guardsOnly) bytes = [.. bytes[..(Guard * size)], .. bytes[^(Guard * size)..]];
            all.AddRange(bytes);
        }

        return [.. all];
    }

    private DeviceBuffer Put(Operand operand, ElementType type)
    {
        DeviceBuffer whole = Backend.Allocate(operand.Length + 2 * Guard, operand.Path, type), inside = whole.Slice(Guard, operand.Length);
        _buffers.Add((whole, inside));
        // Bits that no operation produces by chance; for indices, numbers that are valid everywhere.
        float[] numbers = [.. Enumerable.Range(0, (int)whole.Length).Select(i => 0.5f + i % 7)];
        if (type == ElementType.Int32) Backend.Upload<int>([.. numbers.Select(_ => 1)], whole);
        else if (type == ElementType.UInt8) Backend.Upload<byte>([.. numbers.Select((_, i) => (byte)i)], whole);
        else Backend.UploadFloats(numbers, whole);
        return inside;
    }

    private object Made(object valid)
    {
        if (valid is not Type type) return valid;
        CudaEvent made = ((CudaBackend)Backend).RecordEvent();
        _others.Add(made);
        return type == typeof(nint) ? made.Handle : made;
    }

    internal static int SizeOf(ElementType type) => type switch
    {
        ElementType.Float32 or ElementType.Int32 => 4,
        ElementType.BFloat16 => Marshal.SizeOf<BFloat16>(),
        _ => 1,
    };
}
