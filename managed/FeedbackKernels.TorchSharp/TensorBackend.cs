using FeedbackKernels.Interop;
using TorchSharp;
using static TorchSharp.torch;

namespace FeedbackKernels.TorchSharp;

/// <summary>Sizes of an activation tensor in the order of the kernels.</summary>
internal readonly record struct MapSizes(int N, int H, int W, int C)
{
    public static MapSizes Input(in ConvShape shape) => new(shape.N, shape.H, shape.W, shape.C);

    public static MapSizes Output(in ConvShape shape) => new(shape.N, shape.P, shape.Q, shape.K);

    /// <summary>Whether a dense tensor has the same order of elements in both formats.</summary>
    public bool HasOneOrder => C == 1 || (H == 1 && W == 1);
}

/// <summary>
/// Runs operations of a <see cref="Interop.Backend"/> on tensors of one device. A backend serves one caller at a time, so calls wait for
/// each other. Tensors are Float32 and on the device; the caller has checked that.
/// </summary>
internal abstract class TensorBackend(Backend backend)
{
    private static readonly Lock Creation = new();
    private static readonly Dictionary<int, TensorBackend> CudaDevices = [];
    private static TensorBackend? s_cpu;

    private readonly Lock _gate = new();

    /// <summary>What runs the kernels. Call it inside <see cref="Run"/> only.</summary>
    public Backend Backend { get; } = backend;

    /// <summary>The backend of a tensor's device, created at the first call.</summary>
    /// <exception cref="NotSupportedException">The device is neither a CPU nor a CUDA device.</exception>
    /// <exception cref="PlatformNotSupportedException">This build has no CUDA kernels, or the driver is missing or too old.</exception>
    public static TensorBackend For(Tensor tensor)
    {
        lock (Creation)
        {
            switch (tensor.device_type)
            {
                case DeviceType.CPU:
                    return s_cpu ??= new CpuTensorBackend(get_num_threads());
                case DeviceType.CUDA:
                    if (!CudaDevices.TryGetValue(tensor.device_index, out TensorBackend? found))
                        CudaDevices.Add(tensor.device_index, found = new CudaTensorBackend(tensor.device_index));
                    return found;
                default:
                    throw new NotSupportedException($"feedback layers run on CPU and CUDA tensors, not on {tensor.device}");
            }
        }
    }

    /// <summary>The forward convolution.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="x">Input, of any strides.</param>
    /// <param name="w">Weights, OIHW or [out][in].</param>
    /// <param name="bias">K numbers, or null.</param>
    /// <param name="y">Result: dense, NCHW or NHWC.</param>
    public void Forward(ConvShape shape, Tensor x, Tensor w, Tensor? bias, Tensor y) => Run(() =>
    {
        BufferView input = ReadMap(x, MapSizes.Input(shape)), weights = ReadWeights(w, shape, FeedbackLayout.Forward);
        var epilogue = new ConvEpilogue(Bias: bias is null ? default : Dense(bias).View());
        Backend.ConvForward(shape, input, weights, WriteMap(y, MapSizes.Output(shape)), epilogue);
    });

    /// <summary>The feedback convolution.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="dy">Error at the output, of any strides.</param>
    /// <param name="b">Feedback weights in the layout of W.</param>
    /// <param name="dx">Result: dense, NCHW or NHWC.</param>
    public void Feedback(ConvShape shape, Tensor dy, Tensor b, Tensor dx) => Run(() =>
    {
        BufferView error = ReadMap(dy, MapSizes.Output(shape)), weights = ReadWeights(b, shape, FeedbackLayout.Feedback);
        Backend.ConvFeedback(shape, error, weights, FeedbackLayout.Feedback, WriteMap(dx, MapSizes.Input(shape)));
    });

    /// <summary>The gradients of weights and bias.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="x">Input; null if <paramref name="dw"/> is.</param>
    /// <param name="dy">Error at the output.</param>
    /// <param name="dw">Result in the layout of W, dense; null if it is not wanted.</param>
    /// <param name="db">Result, K numbers; null if it is not wanted.</param>
    public void Gradients(ConvShape shape, Tensor? x, Tensor dy, Tensor? dw, Tensor? db) => Run(() =>
    {
        BufferView error = ReadMap(dy, MapSizes.Output(shape));
        if (db is not null) Backend.BiasGradient((long)shape.N * shape.P * shape.Q, shape.K, error, db.View());
        if (dw is not null) Backend.ConvWeightGradient(shape, ReadMap(x!, MapSizes.Input(shape)), error, WriteWeights(dw, shape, FeedbackLayout.Forward));
    });

    /// <summary>Reads forward weights.</summary>
    /// <param name="shape">The layer.</param>
    /// <param name="w">W.</param>
    /// <param name="read">Gets this backend and W as [R][S][C][K].</param>
    public void Read(ConvShape shape, Tensor w, Action<TensorBackend, BufferView> read) =>
        Run(() => read(this, ReadWeights(w, shape, FeedbackLayout.Forward)));

    /// <summary>Changes feedback weights in place.</summary>
    /// <param name="shape">The layer.</param>
    /// <param name="b">B, in the layout of W.</param>
    /// <param name="change">Gets this backend and B as [R][S][K][C], which it changes.</param>
    public void Update(ConvShape shape, Tensor b, Action<TensorBackend, BufferView> change) => Run(() => change(this, ReadAndWrite(b, shape)));

    /// <summary>Changes feedback weights in place by forward weights.</summary>
    /// <param name="shape">The layer.</param>
    /// <param name="w">W.</param>
    /// <param name="b">B, in the layout of W.</param>
    /// <param name="change">Gets this backend, W as [R][S][C][K] and B as [R][S][K][C], which it changes.</param>
    public void Update(ConvShape shape, Tensor w, Tensor b, Action<TensorBackend, BufferView, BufferView> change) => Run(() =>
    {
        BufferView weights = ReadWeights(w, shape, FeedbackLayout.Forward);
        change(this, weights, ReadAndWrite(b, shape));
    });

    /// <summary>Fills a dense tensor with normally distributed numbers.</summary>
    public void FillGaussian(Tensor values, RandomKey key, float standardDeviation) =>
        Run(() => Backend.FillGaussian(values.View(), key, standardDeviation));

    /// <summary>Scratch memory of Float32 numbers until the end of the operation.</summary>
    public abstract BufferView Scratch(long length);

    /// <summary>Runs an operation alone, then moves results to their tensors and releases what the operation needed.</summary>
    protected void Run(Action operation)
    {
        lock (_gate)
        {
            using IDisposable noGradients = no_grad();
            try
            {
                operation();
                Finish();
            }
            finally
            {
                Release();
                // The kernels got addresses alone: the tensors of the operation must not be collected before.
                GC.KeepAlive(operation);
            }
        }
    }

    /// <summary>An activation tensor as NHWC: itself, or a copy.</summary>
    protected abstract BufferView ReadMap(Tensor map, MapSizes sizes);

    /// <summary>Weights in OIHW in a layout of the kernels: themselves, or a copy.</summary>
    protected abstract BufferView ReadWeights(Tensor weights, ConvShape shape, FeedbackLayout layout);

    /// <summary>Where a kernel writes a map: the tensor, or memory from which <see cref="Finish"/> fills it.</summary>
    protected abstract BufferView WriteMap(Tensor map, MapSizes sizes);

    /// <summary>Where a kernel writes weights: the tensor, or memory from which <see cref="Finish"/> fills it.</summary>
    /// <param name="weights">Dense OIHW.</param>
    /// <param name="shape">The layer.</param>
    /// <param name="layout">The layout that the kernel writes.</param>
    /// <param name="memory">Memory to use; absent for new one.</param>
    protected abstract BufferView WriteWeights(Tensor weights, ConvShape shape, FeedbackLayout layout, BufferView memory = default);

    /// <summary>The tensor, or a contiguous copy that lives until the end of the operation.</summary>
    protected Tensor Dense(Tensor tensor) => tensor.is_contiguous() ? tensor : Keep(tensor.contiguous());

    /// <summary>Keeps a tensor until the end of the operation.</summary>
    protected Tensor Keep(Tensor temporary)
    {
        _temporaries.Add(temporary);
        return temporary;
    }

    /// <summary>Fills the result tensors.</summary>
    protected abstract void Finish();

    /// <summary>Releases scratch and temporary tensors.</summary>
    protected virtual void Release()
    {
        foreach (Tensor temporary in _temporaries) temporary.Dispose();
        _temporaries.Clear();
    }

    private readonly List<Tensor> _temporaries = [];

    // One buffer for both: a kernel that changes B reads it there.
    private BufferView ReadAndWrite(Tensor b, ConvShape shape) =>
        WriteWeights(b, shape, FeedbackLayout.Feedback, ReadWeights(b, shape, FeedbackLayout.Feedback));
}
