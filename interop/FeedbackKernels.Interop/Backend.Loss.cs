namespace FeedbackKernels.Interop;

public abstract partial class Backend
{
    /// <summary>
    /// Loss of each row and, optionally, the gradient of their mean; the sources are at <see cref="LossKind"/>. The target of the labelled
    /// class is 1 - smoothing + smoothing / classes, that of every other class smoothing / classes (label smoothing: Szegedy et al. 2016,
    /// section 7).
    /// </summary>
    /// <param name="kind">Softmax or sigmoid.</param>
    /// <param name="rows">N.</param>
    /// <param name="classes">K.</param>
    /// <param name="logits">[N][K], Float32 or <see cref="ActivationType"/>.</param>
    /// <param name="labels">[N], Int32, each in [0, classes). If the host cannot read them, loss and gradient of a row with an invalid
    /// label are NaN, and the next download or <see cref="Readback.Read"/> throws.</param>
    /// <param name="smoothing">In [0, 1).</param>
    /// <param name="losses">[N], Float32, in nats.</param>
    /// <param name="dLogits">Optional [N][K], <see cref="ActivationType"/>, divided by N; may be logits of that type.</param>
    /// <exception cref="ArgumentOutOfRangeException">The smoothing is out of range. Or the host can read the labels and one is not a
    /// class; the message names its row.</exception>
    public void CrossEntropy(
        LossKind kind, int rows, int classes, BufferView logits, BufferView labels, float smoothing, BufferView losses, BufferView dLogits)
    {
        using OperationScope call = new(this);
        RequireDefined(kind);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(classes);
        long length = ElementCount.Of("N*K", rows, classes);
        if (!(smoothing >= 0 && smoothing < 1))
            throw new ArgumentOutOfRangeException(nameof(smoothing), smoothing, "wanted 0 to below 1");
        int input = call.ReadEither(logits, length);
        call.Read(labels, rows, ElementType.Int32);
        call.Write(losses, rows);
        call.Allow(call.WriteActivationsIfPresent(dLogits, length), input);
        call.RequireApart();
        if (HostAddressable) RequireLabels(labels, rows, classes);
        CrossEntropyCore(kind, rows, classes, logits, labels, smoothing, losses, dLogits);
    }

    internal abstract void CrossEntropyCore(
        LossKind kind, int rows, int classes, BufferView logits, BufferView labels, float smoothing, BufferView losses, BufferView dLogits);

    private static unsafe void RequireLabels(BufferView labels, int rows, int classes)
    {
        var given = new ReadOnlySpan<int>(labels.Ints, rows);
        int row = IndexRange.FirstOutside(given, classes);
        if (row >= 0) throw LabelOutside(row, given[row], classes);
    }

    /// <summary>The exception for a label that is not a class.</summary>
    internal static ArgumentOutOfRangeException LabelOutside(long row, int label, int classes, string name = "labels") =>
        new(name, label, $"row {row} has no such class; there are {classes}, 0 to {classes - 1}");
}
