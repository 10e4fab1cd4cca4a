using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Interop.Operations;

/// <summary>What can be wrong with a call: the columns of the table in tests/README.md.</summary>
internal enum Wrong
{
    Null,
    DisposedBuffer,
    DisposedBackend,
    Thread,
    Length,
    Type,
    Overlap,
    Enum,
    Size,
    Number,
    Contents,
}

/// <summary>A call that must be rejected.</summary>
/// <param name="Kind">What is wrong.</param>
/// <param name="Text">The wrong argument.</param>
/// <param name="Exception">The type of the exception.</param>
/// <param name="Names">A text that the exception must contain, in the name of the argument or in the message.</param>
/// <param name="Run">Makes the call.</param>
internal sealed record WrongCall(Wrong Kind, string Text, Type Exception, string Names, Action Run);

/// <summary>Every wrong call that differs from a valid call in one argument.</summary>
internal static class WrongCalls
{
    public static IEnumerable<WrongCall> Of(OperationRig rig, Func<Backend> create) =>
    [
        .. OfTheBackend(rig, create), .. rig.Operation.Operands.SelectMany(o => OfAnOperand(rig, o)), .. Overlaps(rig),
        .. rig.Operation.Settings.SelectMany(s => OfASetting(rig, s)),
        .. rig.Operation.WrongTypeArguments.Select(call => new WrongCall(
            Wrong.Type, "type argument", typeof(ArgumentException), "elements of type", () => call(rig.Backend, rig.Valid))),
    ];

    /// <summary>Pairs of operands, one of them a result, placed in one block of memory, and whether a call may have them there.</summary>
    public static IEnumerable<(Arguments Arguments, string Text, string Result, bool Allowed)> Placements(OperationRig rig)
    {
        foreach (Operand result in rig.Operation.Operands.Where(o => o.Written && o.TypeOn(rig.Backend) is not null))
        {
            foreach (Operand other in rig.Operation.Operands.Where(o => o != result && o.TypeOn(rig.Backend) is not null))
            {
                ElementType type = result.TypeOn(rig.Backend)!.Value, otherType = other.TypeOn(rig.Backend)!.Value;
                long bytes = result.Length * OperationRig.SizeOf(type), otherBytes = other.Length * OperationRig.SizeOf(otherType);
                bool mayBe = type == otherType && (result.MayBe.Contains(other.Path) || other.MayBe.Contains(result.Path));
                yield return Place(0, 0, mayBe, "at");
                // One starts inside the other, whichever is longer, by the smallest offset that is aligned for every type.
                if (otherBytes > 4) yield return Place(4, 0, allowed: false, "inside");
                if (bytes > 4) yield return Place(0, 4, allowed: false, "before");
                if (otherBytes > 4) yield return Place(otherBytes - 4, 0, allowed: false, "at the end of");
                yield return Place(0, bytes, allowed: true, "just before");
                yield return Place(otherBytes, 0, allowed: true, "just after");

                (Arguments, string, string, bool) Place(long at, long otherAt, bool allowed, string where)
                {
                    DeviceBuffer room = rig.Allocate(bytes + otherBytes + 16, "room", ElementType.UInt8);
                    Arguments arguments = rig.Valid
                        .With(result.Path, BufferView.FromPointer(room.Address + (nint)at, result.Length, type))
                        .With(other.Path, BufferView.FromPointer(room.Address + (nint)otherAt, other.Length, otherType));
                    return (arguments, $"{result.Path} {where} {other.Path}", result.Path, allowed);
                }
            }
        }
    }

    private static IEnumerable<WrongCall> OfTheBackend(OperationRig rig, Func<Backend> create)
    {
        yield return new WrongCall(Wrong.DisposedBackend, "backend", typeof(ObjectDisposedException), $"'{rig.Backend.Name}'", () =>
        {
            Backend gone = create();
            gone.Dispose();
            rig.Call(rig.Valid, gone);
        });
        yield return new WrongCall(Wrong.Thread, "a caller inside", typeof(InvalidOperationException), "one caller at a time", () =>
        {
            rig.Backend.Enter();
            try
            {
                rig.Call(rig.Valid);
            }
            finally
            {
                rig.Backend.Leave();
            }
        });
    }

    private static IEnumerable<WrongCall> OfAnOperand(OperationRig rig, Operand operand)
    {
        Backend backend = rig.Backend;
        BufferView valid = rig.Valid[operand.Path];
        if (!operand.Optional)
            yield return Call(Wrong.Null, typeof(ArgumentNullException), operand.Path, default);
        if (valid.IsAbsent)
        {
            // A copy on a backend without copies.
            yield return Call(Wrong.Type, typeof(ArgumentException), operand.Path, rig.Allocate(operand.Length, "copy"));
            yield break;
        }

        string name = $"gone {operand.Path}";
        DeviceBuffer gone = backend.Allocate(operand.Length, name, valid.Type);
        BufferView before = gone;
        gone.Dispose();
        yield return Call(Wrong.DisposedBuffer, typeof(ObjectDisposedException), $"'{name}'", before);

        if (operand.Needs > 0)
        {
            yield return Call(
                Wrong.Length, typeof(ArgumentException), operand.Path, BufferView.FromPointer(valid.Address, operand.Needs - 1, valid.Type));
        }

        foreach (ElementType type in Enum.GetValues<ElementType>().Where(t => !operand.Allows(t, backend)))
            yield return Call(Wrong.Type, typeof(ArgumentException), operand.Path, BufferView.FromPointer(valid.Address, operand.Length, type));

        foreach (int outside in backend.HostAddressable ? operand.Outside : [])
        {
            DeviceBuffer filled = rig.Allocate(operand.Length, operand.Path, ElementType.Int32);
            int[] indices = [.. Enumerable.Repeat(1, (int)operand.Length - 1), outside];
            backend.Upload<int>(indices, filled);
            yield return Call(Wrong.Contents, typeof(ArgumentOutOfRangeException), operand.Path, filled);
        }

        WrongCall Call(Wrong kind, Type exception, string names, BufferView view) =>
            new(kind, $"{operand.Path} {view.Type} {view.Length}", exception, names, () => rig.Call(rig.Valid.With(operand.Path, view)));
    }

    private static IEnumerable<WrongCall> Overlaps(OperationRig rig) => Placements(rig).Where(p => !p.Allowed).Select(p => new WrongCall(
        Wrong.Overlap, p.Text, typeof(ArgumentException), "overlaps", () => rig.Call(p.Arguments)));

    private static IEnumerable<WrongCall> OfASetting(OperationRig rig, Setting setting)
    {
        if (setting.Any) yield break;
        foreach (object wrong in setting.Wrong) yield return Call(wrong is float or Activation ? Wrong.Number : Wrong.Size, wrong);
        switch (setting.Valid)
        {
            case Enum valid:
                yield return Call(Wrong.Enum, Enum.ToObject(valid.GetType(), 77));
                yield return Call(Wrong.Enum, Enum.ToObject(valid.GetType(), -1));
                break;
            case float:
                foreach (float wrong in (float[])[float.NaN, float.PositiveInfinity, float.NegativeInfinity]) yield return Call(Wrong.Number, wrong);
                break;
            case ConvShape:
                yield return Call(Wrong.Size, default(ConvShape));
                break;
            case PoolShape:
                yield return Call(Wrong.Size, default(PoolShape));
                break;
            case string or Type:
                if (setting.Valid is string || (Type)setting.Valid != typeof(nint))
                {
                    yield return new WrongCall(
                        Wrong.Null, setting.Path, typeof(ArgumentNullException), setting.Path, () => rig.Call(rig.Valid.With(setting.Path, null!)));
                }

                break;
        }

        WrongCall Call(Wrong kind, object value) => new(
            kind, $"{setting.Path} = {value}", typeof(ArgumentException), "", () => rig.Call(rig.Valid.With(setting.Path, value)));
    }
}
