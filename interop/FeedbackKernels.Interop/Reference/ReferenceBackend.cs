using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// The executable definition of every operation: plain loops in the order of the formulas, double accumulators, one thread. Every other
/// backend is tested against it.
/// </summary>
/// <param name="activationType">Element type of activations and errors: Float32 or BFloat16.</param>
/// <exception cref="ArgumentOutOfRangeException">The type is neither.</exception>
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

    internal override SafeHandle AllocateMemory(long bytes, string purpose) => new NativeMemoryHandle(bytes);

    internal override void UploadBytes(ReadOnlySpan<byte> source, nint destination) =>
        source.CopyTo(new Span<byte>((void*)destination, source.Length));

    internal override void DownloadBytes(nint source, Span<byte> destination) =>
        new ReadOnlySpan<byte>((void*)source, destination.Length).CopyTo(destination);

    private static void Copy(BufferView parameter, BufferView copy, long i)
    {
        if (!copy.IsAbsent) copy.Write(i, parameter.Floats[i]);
    }
}
