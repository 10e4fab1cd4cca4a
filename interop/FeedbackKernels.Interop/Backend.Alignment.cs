namespace FeedbackKernels.Interop;

public abstract partial class Backend
{
    /// <summary>Inner product and squared norms of W and Bᵀ.</summary>
    public WeightAlignment Align(in ConvShape shape, BufferView w, BufferView b)
    {
        using OperationScope call = new(this);
        RequireShape(shape);
        call.Read(w, shape.WeightLength);
        call.Read(b, shape.WeightLength);
        return AlignCore(shape, w, b);
    }

    internal abstract WeightAlignment AlignCore(in ConvShape shape, BufferView w, BufferView b);

    /// <summary>Inner product and squared norms of two tensors of one layout and type, Float32 or <see cref="ActivationType"/>.</summary>
    public WeightAlignment Compare(long length, BufferView a, BufferView b)
    {
        using OperationScope call = new(this);
        RequireLength(length);
        call.ReadEither(a, length);
        call.Read(b, length, a.Type);
        return CompareCore(length, a, b);
    }

    internal abstract WeightAlignment CompareCore(long length, BufferView a, BufferView b);
}
