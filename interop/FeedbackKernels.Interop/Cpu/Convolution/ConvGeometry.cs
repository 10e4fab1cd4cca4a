namespace FeedbackKernels.Interop;

/// <summary>
/// A convolution as a gather: out[n,p,q,:] = sum over tap rows r and tap columns s of in[n, p*Step + r - OriginRow,
/// q*Step + s - OriginColumn, :] times the weights of the tap. The forward pass is one gather. The feedback pass is one gather for each
/// residue class of the input pixels, of step 1 over dy, with the taps that reach the class in reverse order.
/// </summary>
internal struct ConvGeometry
{
    public int N, InputRows, InputColumns, InputChannels;
    public int P, Q, TapRows, TapColumns, Step, OriginRow, OriginColumn;

    /// <summary>Channels of the output.</summary>
    public int OutputChannels;

    /// <summary>Floats from one row or image of the input to the next. Its pixels lie side by side.</summary>
    public nint InputRowStride, InputImageStride;

    /// <summary>Floats from one pixel, row or image of the output to the next, and from the start of the tensor to its first pixel.</summary>
    public nint OutputPixelStride, OutputRowStride, OutputImageStride, OutputOffset;

    /// <summary>Rows and columns of the map that the output pixels are a part of, and the distance between them in that map.</summary>
    public int MapRows, MapColumns, MapStep;

    public static ConvGeometry Forward(in ConvShape shape) => new()
    {
        N = shape.N,
        InputRows = shape.H,
        InputColumns = shape.W,
        InputChannels = shape.C,
        P = shape.P,
        Q = shape.Q,
        TapRows = shape.R,
        TapColumns = shape.S,
        Step = shape.Stride,
        OriginRow = shape.Padding,
        OriginColumn = shape.Padding,
        OutputChannels = shape.K,
        InputRowStride = (nint)shape.W * shape.C,
        InputImageStride = (nint)shape.H * shape.W * shape.C,
        OutputPixelStride = shape.K,
        OutputRowStride = (nint)shape.Q * shape.K,
        OutputImageStride = (nint)shape.P * shape.Q * shape.K,
        MapRows = shape.P,
        MapColumns = shape.Q,
        MapStep = 1,
    };

    public static ConvGeometry Feedback(in ConvShape shape, in ResidueClass rows, in ResidueClass columns) => new()
    {
        N = shape.N,
        InputRows = shape.P,
        InputColumns = shape.Q,
        InputChannels = shape.K,
        P = rows.Positions,
        Q = columns.Positions,
        TapRows = rows.Taps,
        TapColumns = columns.Taps,
        Step = 1,
        OriginRow = rows.Origin,
        OriginColumn = columns.Origin,
        OutputChannels = shape.C,
        InputRowStride = (nint)shape.Q * shape.K,
        InputImageStride = (nint)shape.P * shape.Q * shape.K,
        OutputPixelStride = (nint)shape.Stride * shape.C,
        OutputRowStride = (nint)shape.Stride * shape.W * shape.C,
        OutputImageStride = (nint)shape.H * shape.W * shape.C,
        OutputOffset = ((nint)rows.Residue * shape.W + columns.Residue) * shape.C,
        MapRows = shape.H,
        MapColumns = shape.W,
        MapStep = shape.Stride,
    };

    /// <summary>Rows of the product's reduction: tap rows by tap columns by input channels.</summary>
    public readonly nint Depth => (nint)TapRows * TapColumns * InputChannels;

    public readonly long OutputBytes => (long)N * OutputImageStride * sizeof(float);

    /// <summary>Whether every output sees all taps.</summary>
    public readonly bool NeverPadded =>
        OriginRow == 0 && OriginColumn == 0 && (P - 1) * Step + TapRows <= InputRows && (Q - 1) * Step + TapColumns <= InputColumns;

    /// <summary>Whether the input pixels of all outputs, in order, are one run of memory.</summary>
    public readonly bool InputIsContiguous => Step == 1 && P == InputRows && Q == InputColumns;

    /// <summary>Whether the output pixels are equally far apart over rows and images.</summary>
    public readonly bool OutputIsContiguous => OutputRowStride == Q * OutputPixelStride && OutputImageStride == P * OutputRowStride;

    /// <summary>Whether the gather has one tap and no padding, so that rows and images do not matter and all its pixels can be one row:
    /// a 1x1 convolution, or a residue class that one tap reaches.</summary>
    public readonly bool IsPointwise =>
        TapRows * TapColumns == 1 && NeverPadded && (InputIsContiguous || OutputIsContiguous) && (long)N * P * Q <= int.MaxValue;

    /// <summary>The same pixels as one row of one image.</summary>
    public readonly ConvGeometry AsOneRow()
    {
        ConvGeometry row = this;
        row.Q = row.InputColumns = checked(N * P * Q);
        row.OutputRowStride = row.OutputImageStride = OutputImageStride * N;
        row.N = row.P = row.InputRows = row.Step = 1;
        return row;
    }
}
