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

    internal override void SgdUpdateCore(
        long length, BufferView parameter, BufferView gradient, BufferView velocity, in SgdStep step, BufferView copy)
    {
        for (long i = 0; i < length; i++)
        {
            Update(ref parameter.Floats[i], gradient.Floats[i], ref velocity.Floats[i], step);
            Copy(parameter, copy, i);
        }
    }

    internal override void SgdUpdateTransposedCore(
        in ConvShape shape, BufferView b, BufferView dw, BufferView velocity, in SgdStep step, BufferView copy)
    {
        for (int r = 0; r < shape.R; r++)
            for (int s = 0; s < shape.S; s++)
                for (int k = 0; k < shape.K; k++)
                    for (int c = 0; c < shape.C; c++)
                    {
                        long i = FeedbackIndex(shape, r, s, k, c);
                        Update(ref b.Floats[i], dw.Floats[WeightIndex(shape, r, s, c, k)], ref velocity.Floats[i], step);
                        Copy(b, copy, i);
                    }
    }

    internal override void TransposedCombineCore(
        in ConvShape shape, float alpha, BufferView w, float beta, BufferView r, BufferView b, BufferView copy)
    {
        for (int row = 0; row < shape.R; row++)
            for (int s = 0; s < shape.S; s++)
                for (int k = 0; k < shape.K; k++)
                    for (int c = 0; c < shape.C; c++)
                    {
                        long i = FeedbackIndex(shape, row, s, k, c);
                        double value = (double)alpha * w.Floats[WeightIndex(shape, row, s, c, k)];
                        b.Floats[i] = (float)(beta == 0 ? value : value + (double)beta * r.Floats[i]);
                        Copy(b, copy, i);
                    }
    }

    internal override void SignTransposedCore(
        in ConvShape shape, BufferView w, BufferView magnitudes, float scale, BufferView b, BufferView copy)
    {
        for (int r = 0; r < shape.R; r++)
            for (int s = 0; s < shape.S; s++)
                for (int k = 0; k < shape.K; k++)
                    for (int c = 0; c < shape.C; c++)
                    {
                        long i = FeedbackIndex(shape, r, s, k, c);
                        float weight = w.Floats[WeightIndex(shape, r, s, c, k)];
                        float magnitude = magnitudes.IsAbsent ? scale : scale * Math.Abs(magnitudes.Floats[i]);
                        b.Floats[i] = weight > 0 ? magnitude : weight < 0 ? -magnitude : 0;
                        Copy(b, copy, i);
                    }
    }

    internal override WeightAlignment AlignCore(in ConvShape shape, BufferView w, BufferView b)
    {
        double dot = 0, squaredW = 0, squaredB = 0;
        for (int r = 0; r < shape.R; r++)
            for (int s = 0; s < shape.S; s++)
                for (int k = 0; k < shape.K; k++)
                    for (int c = 0; c < shape.C; c++)
                    {
                        double vw = w.Floats[WeightIndex(shape, r, s, c, k)], vb = b.Floats[FeedbackIndex(shape, r, s, k, c)];
                        dot += vw * vb;
                        squaredW += vw * vw;
                        squaredB += vb * vb;
                    }

        return new WeightAlignment(dot, squaredW, squaredB);
    }

    private static void Copy(BufferView parameter, BufferView copy, long i)
    {
        if (!copy.IsAbsent) copy.Write(i, parameter.Floats[i]);
    }

    private static void Update(ref float parameter, float gradient, ref float velocity, in SgdStep step)
    {
        double g = (double)step.GradientScale * gradient + (double)step.WeightDecay * parameter;
        double v = (double)step.Momentum * velocity + g;
        double move = step.Nesterov ? g + step.Momentum * v : v;
        parameter = (float)(step.Shrink * (parameter - step.LearningRate * move));
        velocity = (float)v;
    }
}
