using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

// native/activation.cu, fill.cu, sgd.cu, cross_entropy.cu
public sealed unsafe partial class CudaBackend
{
    internal override void ActivationForwardCore(Activation activation, long length, BufferView x, BufferView y) => Launch(
        "activation", $"activation_forward_{ProductName}", ElementGrid(length), ElementThreads,
        new ActivationForwardArguments
        {
            Length = length,
            Activation = (int)activation,
            Wide = AllowWide(x, y) ? 1 : 0,
            X = x.Pointer,
            Y = y.Pointer,
        },
        new Elements(length));

    internal override void ActivationBackwardCore(Activation activation, long length, BufferView y, BufferView dy, BufferView dx) => Launch(
        "activation", $"activation_backward_{ProductName}", ElementGrid(length), ElementThreads,
        new ActivationBackwardArguments
        {
            Length = length,
            Activation = (int)activation,
            Wide = AllowWide(y, dy, dx) ? 1 : 0,
            Y = y.Pointer,
            Dy = dy.Pointer,
            Dx = dx.Pointer,
        },
        new Elements(length));

    internal override void FillCore(long length, BufferView values, float value) => Launch(
        "fill", $"fill_{NameOf(values.Type)}", ElementGrid(length), ElementThreads,
        new FillArguments { Length = length, Wide = AllowWide(values) ? 1 : 0, Value = value, Values = values.Pointer },
        new Elements(length));

    internal override void ConvertCore(long length, BufferView source, BufferView result) => Launch(
        "fill", $"convert_{NameOf(source.Type)}_to_{NameOf(result.Type)}", ElementGrid(length), ElementThreads,
        new ConvertArguments { Length = length, Wide = AllowWide(source, result) ? 1 : 0, Source = source.Pointer, Result = result.Pointer },
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
        long length, BufferView parameter, BufferView gradient, BufferView velocity, in SgdStep step, BufferView copy) => Launch(
        "sgd", "sgd_update", ElementGrid(length), ElementThreads,
        new SgdUpdateArguments
        {
            Length = length,
            Wide = AllowWide(parameter, gradient, velocity, copy) ? 1 : 0,
            Step = new NativeSgdStep(step),
            Parameter = parameter.Floats,
            Gradient = gradient.Floats,
            Velocity = velocity.Floats,
            Copy = copy.Pointer,
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
            Logits = logits.Pointer,
            Labels = labels.Ints,
            Losses = losses.Floats,
            DLogits = dLogits.Pointer,
            Fault = (int*)_labels.Note(),
        };
        Launch(
            "cross_entropy", $"cross_entropy_{NameOf(logits.Type)}_{ProductName}", new Grid(DivideUp(rows, rowsPerBlock)), threads, arguments,
            new RowsOfChannels(rows, classes));
    }

    /// <summary>A thread for each four elements, up to a grid that fills any device many times over.</summary>
    private static Grid ElementGrid(long length) => new(Math.Clamp(DivideUp(length, 4 * ElementThreads), 1, 16_384));

    private struct ActivationForwardArguments
    {
        public long Length;
        public int Activation, Wide;
        public void* X, Y;
    }

    private struct ActivationBackwardArguments
    {
        public long Length;
        public int Activation, Wide;
        public void* Y, Dy, Dx;
    }

    private struct FillArguments
    {
        public long Length;
        public int Wide;
        public float Value;
        public void* Values;
    }

    private struct ConvertArguments
    {
        public long Length;
        public int Wide;
        public fixed byte Hole[4];
        public void* Source, Result;
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
        public int Wide;
        public fixed byte Hole[4];
        public NativeSgdStep Step;
        public float* Parameter, Gradient, Velocity;
        public void* Copy;
    }

    private struct CrossEntropyArguments
    {
        public int Sigmoid, Rows, Classes;
        public float Smoothing;
        public void* Logits;
        public int* Labels;
        public float* Losses;
        public void* DLogits;
        public int* Fault;
    }
}
