namespace FeedbackKernels.Interop;

public abstract partial class Backend
{
    /// <summary>
    /// Maximum of each window and its position, h*W+w within the image (max pooling: Scherer, Müller and Behnke 2010). Of equal values the
    /// first counts. A NaN in a window is its maximum.
    /// </summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="x">Input, NHWC.</param>
    /// <param name="y">Maxima, NPQC.</param>
    /// <param name="positions">Their positions, NPQC, Int32.</param>
    public void MaxPoolForward(in PoolShape shape, BufferView x, BufferView y, BufferView positions)
    {
        using OperationScope call = new(this);
        RequireShape(shape);
        call.ReadActivations(x, shape.InputLength);
        call.WriteActivations(y, shape.OutputLength);
        call.Write(positions, shape.OutputLength, ElementType.Int32);
        call.RequireApart();
        MaxPoolForwardCore(shape, x, y, positions);
    }

    internal abstract void MaxPoolForwardCore(in PoolShape shape, BufferView x, BufferView y, BufferView positions);

    /// <summary>dx = sum of the errors of the windows whose maximum was at that position: the derivative of
    /// <see cref="MaxPoolForward"/>.</summary>
    /// <param name="shape">Sizes of the forward pass.</param>
    /// <param name="dy">Error at the output, NPQC.</param>
    /// <param name="positions">From the forward pass, NPQC, Int32, each in [0, H*W). If the host cannot read them, windows with an
    /// invalid position are ignored.</param>
    /// <param name="dx">Error at the input, NHWC.</param>
    /// <exception cref="ArgumentOutOfRangeException">The host can read the positions, and one lies outside the image.</exception>
    public void MaxPoolBackward(in PoolShape shape, BufferView dy, BufferView positions, BufferView dx)
    {
        using OperationScope call = new(this);
        RequireShape(shape);
        call.ReadActivations(dy, shape.OutputLength);
        call.Read(positions, shape.OutputLength, ElementType.Int32);
        call.WriteActivations(dx, shape.InputLength);
        call.RequireApart();
        if (HostAddressable) RequirePositions(positions, shape);
        MaxPoolBackwardCore(shape, dy, positions, dx);
    }

    internal abstract void MaxPoolBackwardCore(in PoolShape shape, BufferView dy, BufferView positions, BufferView dx);

    /// <summary>Mean of each window over the pixels that are not padding: the subsampling of LeCun et al. 1998 without its coefficient, bias
    /// and sigmoid; over the whole map, the global average pooling of Lin, Chen and Yan 2014, section 3.2.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="x">Input, NHWC.</param>
    /// <param name="y">Means, NPQC.</param>
    public void AveragePoolForward(in PoolShape shape, BufferView x, BufferView y)
    {
        using OperationScope call = new(this);
        RequireShape(shape);
        call.ReadActivations(x, shape.InputLength);
        call.WriteActivations(y, shape.OutputLength);
        call.RequireApart();
        AveragePoolForwardCore(shape, x, y);
    }

    internal abstract void AveragePoolForwardCore(in PoolShape shape, BufferView x, BufferView y);

    /// <summary>dx = sum over the windows that contain a pixel of dy / (pixels of the window): the derivative of
    /// <see cref="AveragePoolForward"/>.</summary>
    /// <param name="shape">Sizes of the forward pass.</param>
    /// <param name="dy">Error at the output, NPQC.</param>
    /// <param name="dx">Error at the input, NHWC.</param>
    public void AveragePoolBackward(in PoolShape shape, BufferView dy, BufferView dx)
    {
        using OperationScope call = new(this);
        RequireShape(shape);
        call.ReadActivations(dy, shape.OutputLength);
        call.WriteActivations(dx, shape.InputLength);
        call.RequireApart();
        AveragePoolBackwardCore(shape, dy, dx);
    }

    internal abstract void AveragePoolBackwardCore(in PoolShape shape, BufferView dy, BufferView dx);

    private static unsafe void RequirePositions(BufferView positions, in PoolShape shape)
    {
        const int part = 1 << 30;
        for (long first = 0; first < shape.OutputLength; first += part)
        {
            var given = new ReadOnlySpan<int>(positions.Ints + first, (int)Math.Min(part, shape.OutputLength - first));
            int i = IndexRange.FirstOutside(given, shape.H * shape.W);
            if (i < 0) continue;
            throw new ArgumentOutOfRangeException(
                nameof(positions), given[i], $"element {first + i} lies outside an image of {shape.H}x{shape.W} pixels, 0 to {shape.H * shape.W - 1}");
        }
    }
}
