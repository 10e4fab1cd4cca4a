namespace FeedbackKernels.Interop;

/// <summary>struct ConvShape of native/shapes.cuh.</summary>
internal readonly struct NativeConvShape(in ConvShape shape)
{
    public readonly int N = shape.N, H = shape.H, W = shape.W, C = shape.C, K = shape.K, R = shape.R, S = shape.S;
    public readonly int P = shape.P, Q = shape.Q, Stride = shape.Stride, Padding = shape.Padding;
}

/// <summary>struct PoolShape of native/shapes.cuh.</summary>
internal readonly struct NativePoolShape(in PoolShape shape)
{
    public readonly int N = shape.N, H = shape.H, W = shape.W, C = shape.C, R = shape.R, S = shape.S;
    public readonly int P = shape.P, Q = shape.Q, Stride = shape.Stride, Padding = shape.Padding;
}

/// <summary>struct TransposedShape of native/transposed.cuh.</summary>
internal readonly struct NativeTransposedShape(in ConvShape shape)
{
    public readonly int Taps = shape.R * shape.S, C = shape.C, K = shape.K;
}

/// <summary>struct SgdStep of native/sgd.cuh.</summary>
internal readonly struct NativeSgdStep(in SgdStep step)
{
    public readonly float LearningRate = step.LearningRate, Momentum = step.Momentum, WeightDecay = step.WeightDecay;
    public readonly float GradientScale = step.GradientScale, Shrink = step.Shrink;
    public readonly int Nesterov = step.Nesterov ? 1 : 0;
    public readonly nint GradientFactor = step.GradientFactor.Address;
}

/// <summary>struct RandomKey of native/random.cuh.</summary>
internal readonly struct NativeRandomKey(in RandomKey key)
{
    public readonly ulong Seed = key.Seed;
    public readonly uint Purpose = (uint)key.Purpose, Layer = key.Layer, Step = key.Step, Hole = 0;
}

/// <summary>struct MirrorNoise of native/random.cuh.</summary>
internal readonly struct NativeMirrorNoise(in MirrorNoise noise)
{
    public readonly ulong Seed = noise.Seed;
    public readonly uint Layer = noise.Layer;
    public readonly int Kind = (int)noise.Kind;
    public readonly int Prime = noise.Matrix.Prime, SylvesterBits = noise.Matrix.SylvesterBits;
    public readonly float StandardDeviation = noise.StandardDeviation;
    public readonly int Hole = 0;
}
