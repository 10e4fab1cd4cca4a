namespace FeedbackKernels.Interop;

/// <summary>struct ConvForwardArguments of native/convolution_forward.cuh.</summary>
internal unsafe struct ConvForwardArguments
{
    public NativeConvShape Shape;
    public int Activation;
    public void* X, W, Y;
    public float* Scale, Bias;
    public void* Residual;
    public float* Partials;

    /// <param name="shape">Sizes.</param>
    /// <param name="x">Input.</param>
    /// <param name="w">Weights.</param>
    /// <param name="y">Output.</param>
    /// <param name="epilogue">What is done to y.</param>
    /// <param name="partials">Statistics of each tile; null where none are wanted.</param>
    public ConvForwardArguments(in ConvShape shape, BufferView x, BufferView w, BufferView y, in ConvEpilogue epilogue, float* partials)
    {
        Shape = new NativeConvShape(shape);
        Activation = (int)epilogue.Activation;
        X = x.Pointer;
        W = w.Pointer;
        Y = y.Pointer;
        Scale = epilogue.Scale.Floats;
        Bias = epilogue.Bias.Floats;
        Residual = epilogue.Residual.Pointer;
        Partials = partials;
    }
}

/// <summary>struct ConvFeedbackArguments of native/convolution_feedback.cuh.</summary>
internal unsafe struct ConvFeedbackArguments
{
    public NativeConvShape Shape;
    public int Accumulate;
    public void* Dy, Weights, Dx;

    public ConvFeedbackArguments(in ConvShape shape, BufferView dy, BufferView weights, BufferView dx, bool accumulate)
    {
        Shape = new NativeConvShape(shape);
        Accumulate = accumulate ? 1 : 0;
        Dy = dy.Pointer;
        Weights = weights.Pointer;
        Dx = dx.Pointer;
    }
}

/// <summary>struct ConvWeightGradientArguments of native/convolution_weight_gradient.cuh.</summary>
internal unsafe struct ConvWeightGradientArguments
{
    public NativeConvShape Shape;
    public fixed byte Hole[4];
    public void* X, Dy;
    public NativeSplitK Split;

    public ConvWeightGradientArguments(in ConvShape shape, BufferView x, BufferView dy, in NativeSplitK split)
    {
        Shape = new NativeConvShape(shape);
        X = x.Pointer;
        Dy = dy.Pointer;
        Split = split;
    }
}
