namespace FeedbackKernels.Interop;

public abstract partial class Backend
{
    /// <summary>Inner product and squared norms of W and Bᵀ, and so the angle between them (the matrix angle of Akrout et al.
    /// 2019).</summary>
    /// <param name="shape">Sizes of the layer.</param>
    /// <param name="w">Forward weights, [R][S][C][K], Float32.</param>
    /// <param name="b">Feedback weights, [R][S][K][C], Float32.</param>
    public WeightAlignment Align(in ConvShape shape, BufferView w, BufferView b)
    {
        using OperationScope call = new(this);
        RequireShape(shape);
        call.Read(w, shape.WeightLength);
        call.Read(b, shape.WeightLength);
        return AlignCore(shape, w, b);
    }

    internal abstract WeightAlignment AlignCore(in ConvShape shape, BufferView w, BufferView b);

    /// <summary>Inner product and squared norms of two tensors of one layout and type, Float32 or <see cref="ActivationType"/>. Of a
    /// layer's error and that of backprop they give the delta angle of Akrout et al. 2019.</summary>
    /// <param name="length">Number of elements.</param>
    /// <param name="a">First tensor.</param>
    /// <param name="b">Second tensor, of the same type.</param>
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
