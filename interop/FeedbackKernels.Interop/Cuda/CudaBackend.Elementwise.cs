namespace FeedbackKernels.Interop;

// native/activation.cu, fill.cu, sgd.cu, cross_entropy.cu
public sealed unsafe partial class CudaBackend
{
    internal override void ActivationForwardCore(Activation activation, long length, BufferView x, BufferView y) => Launch(
        "activation", "activation_forward", ElementGrid(length), ElementThreads,
        new ActivationForwardArguments
        {
            Length = length,
            Activation = (int)activation,
            Fours = AllowFours(x, y) ? 1 : 0,
            X = x.Floats,
            Y = y.Floats,
        },
        new Elements(length));

    internal override void ActivationBackwardCore(Activation activation, long length, BufferView y, BufferView dy, BufferView dx) => Launch(
        "activation", "activation_backward", ElementGrid(length), ElementThreads,
        new ActivationBackwardArguments
        {
            Length = length,
            Activation = (int)activation,
            Fours = AllowFours(y, dy, dx) ? 1 : 0,
            Y = y.Floats,
            Dy = dy.Floats,
            Dx = dx.Floats,
        },
        new Elements(length));

    internal override void FillCore(long length, BufferView values, float value) => Launch(
        "fill", "fill", ElementGrid(length), ElementThreads,
        new FillArguments { Length = length, Fours = AllowFours(values) ? 1 : 0, Value = value, Values = values.Floats },
        new Elements(length));

    internal override void FillGaussianCore(BufferView values, in RandomKey key, float standardDeviation) => Launch(
        "fill", "fill_gaussian", new Grid(DivideUp(values.Length, 4 * ElementThreads)), ElementThreads,
        new FillGaussianArguments
        {
            Length = values.Length,
            Key = new NativeRandomKey(key),
            StandardDeviation = standardDeviation,
            Values = values.Floats,
        },
        new Elements(values.Length));

    internal override void SgdUpdateCore(
        long length, BufferView parameter, BufferView gradient, BufferView velocity, in SgdStep step) => Launch(
        "sgd", "sgd_update", ElementGrid(length), ElementThreads,
        new SgdUpdateArguments
        {
            Length = length,
            Fours = AllowFours(parameter, gradient, velocity) ? 1 : 0,
            Step = new NativeSgdStep(step),
            Parameter = parameter.Floats,
            Gradient = gradient.Floats,
            Velocity = velocity.Floats,
        },
        new Elements(length));

    internal override void CrossEntropyCore(
        LossKind kind, int rows, int classes, BufferView logits, BufferView labels, float smoothing, BufferView losses, BufferView dLogits)
    {
        const int rowsPerBlock = 4, threads = 32 * rowsPerBlock;
        var arguments = new CrossEntropyArguments
        {
            Sigmoid = kind == LossKind.SigmoidCrossEntropy ? 1 : 0,
            Rows = rows,
            Classes = classes,
            Smoothing = smoothing,
            Logits = logits.Floats,
            Labels = labels.Ints,
            Losses = losses.Floats,
            DLogits = dLogits.Floats,
        };
        Launch("cross_entropy", "cross_entropy", new Grid(DivideUp(rows, rowsPerBlock)), threads, arguments, new RowsOfChannels(rows, classes));
    }

    /// <summary>A thread for each four elements, up to a grid that fills any device many times over.</summary>
    private static Grid ElementGrid(long length) => new(Math.Clamp(DivideUp(length, 4 * ElementThreads), 1, 16_384));

    private struct ActivationForwardArguments
    {
        public long Length;
        public int Activation, Fours;
        public float* X, Y;
    }

    private struct ActivationBackwardArguments
    {
        public long Length;
        public int Activation, Fours;
        public float* Y, Dy, Dx;
    }

    private struct FillArguments
    {
        public long Length;
        public int Fours;
        public float Value;
        public float* Values;
    }

    private struct FillGaussianArguments
    {
        public long Length;
        public NativeRandomKey Key;
        public float StandardDeviation;
        public fixed byte Hole[4];
        public float* Values;
    }

    private struct SgdUpdateArguments
    {
        public long Length;
        public int Fours;
        public NativeSgdStep Step;
        public fixed byte Hole[4];
        public float* Parameter, Gradient, Velocity;
    }

    private struct CrossEntropyArguments
    {
        public int Sigmoid, Rows, Classes;
        public float Smoothing;
        public float* Logits;
        public int* Labels;
        public float* Losses, DLogits;
    }
}
