using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// The executable definition of every operation: plain loops in the order of the formulas, double accumulators, one
/// thread. Every other backend is tested against it.
/// </summary>
/// <param name="activationType">What activations and errors are stored in: Float32 or BFloat16.</param>
/// <exception cref="ArgumentOutOfRangeException">The type is another one.</exception>
public sealed unsafe partial class ReferenceBackend(ElementType activationType = ElementType.Float32) : Backend
{
    /// <inheritdoc/>
    public override string Name => "reference";

    /// <inheritdoc/>
    public override ElementType ActivationType { get; } = activationType is ElementType.Float32 or ElementType.BFloat16
        ? activationType
        : throw new ArgumentOutOfRangeException(nameof(activationType), activationType, "wanted Float32 or BFloat16");

    /// <inheritdoc/>
    public override string Description => $"plain loops, double accumulation, activations in {ActivationType}, 1 thread";

    /// <inheritdoc/>
    public override bool HostAddressable => true;

    internal override ConvPlan ExplainCore(in ConvShape shape, ConvPass pass) =>
        new("reference loops", "the definition of the operation; not meant to be fast");

    internal override SafeHandle AllocateMemory(long bytes, string purpose) => new NativeMemoryHandle(bytes);

    internal override void UploadBytes(ReadOnlySpan<byte> source, nint destination) =>
        source.CopyTo(new Span<byte>((void*)destination, source.Length));

    internal override void DownloadBytes(nint source, Span<byte> destination) =>
        new ReadOnlySpan<byte>((void*)source, destination.Length).CopyTo(destination);

    internal override void ActivationForwardCore(Activation activation, long length, BufferView x, BufferView y)
    {
        for (long i = 0; i < length; i++) y.Write(i, Apply(activation, x.Read(i)));
    }

    internal override void ActivationBackwardCore(Activation activation, long length, BufferView y, BufferView dy, BufferView dx)
    {
        for (long i = 0; i < length; i++)
        {
            double output = y.Read(i);
            double slope = activation switch
            {
                Activation.Relu => output > 0 ? 1 : 0,
                Activation.Sigmoid => output * (1 - output),
                _ => 1,
            };
            dx.Write(i, dy.Read(i) * slope);
        }
    }

    internal override void ConvertCore(long length, BufferView source, BufferView result)
    {
        for (long i = 0; i < length; i++) result.Write(i, source.Read(i));
    }

    internal override void FillCore(long length, BufferView values, float value)
    {
        for (long i = 0; i < length; i++) values.Write(i, value);
    }

    internal override void FillGaussianCore(BufferView values, in RandomKey key, float standardDeviation)
    {
        // A span at a time; a multiple of the four numbers of a block.
        const int part = 1 << 20;
        for (long first = 0; first < values.Length; first += part)
            key.FillGaussian(new Span<float>(values.Floats + first, (int)Math.Min(part, values.Length - first)), standardDeviation, (uint)(first / 4));
    }

    internal override WeightAlignment CompareCore(long length, BufferView a, BufferView b)
    {
        double dot = 0, squaredA = 0, squaredB = 0;
        for (long i = 0; i < length; i++)
        {
            double va = a.Read(i), vb = b.Read(i);
            dot += va * vb;
            squaredA += va * va;
            squaredB += vb * vb;
        }

        return new WeightAlignment(dot, squaredA, squaredB);
    }

    internal static double Apply(Activation activation, double x) => activation switch
    {
        // A NaN is neither above 0 nor not: it stays a NaN.
        Activation.Relu => x > 0 || double.IsNaN(x) ? x : 0,
        Activation.Sigmoid => 1 / (1 + Math.Exp(-x)),
        _ => x,
    };
}
