namespace FeedbackKernels.Interop;

public sealed unsafe partial class ReferenceBackend
{
    internal override void CrossEntropyCore(
        LossKind kind, int rows, int classes, BufferView logits, BufferView labels, float smoothing, BufferView losses, BufferView dLogits)
    {
        float[] row = new float[classes], gradient = new float[dLogits.IsAbsent ? 0 : classes];
        for (int n = 0; n < rows; n++)
        {
            long offset = (long)n * classes;
            for (int k = 0; k < classes; k++) row[k] = (float)logits.Read(offset + k);
            losses.Floats[n] = CrossEntropyRow.Run(kind, row, labels.Ints[n], smoothing, 1.0 / rows, gradient);
            for (int k = 0; k < gradient.Length; k++) dLogits.Write(offset + k, gradient[k]);
        }
    }
}
