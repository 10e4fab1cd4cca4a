namespace FeedbackKernels.Interop;

public sealed unsafe partial class ReferenceBackend
{
    internal override void CrossEntropyCore(
        LossKind kind, int rows, int classes, BufferView logits, BufferView labels, float smoothing, BufferView losses, BufferView dLogits)
    {
        for (int n = 0; n < rows; n++)
        {
            long offset = (long)n * classes;
            float* gradient = dLogits.IsAbsent ? null : dLogits.Floats + offset;
            losses.Floats[n] = CrossEntropyRow.Run(
                kind, new ReadOnlySpan<float>(logits.Floats + offset, classes), labels.Ints[n], smoothing, 1.0 / rows,
                new Span<float>(gradient, gradient == null ? 0 : classes));
        }
    }

    internal override void SgdUpdateCore(
        long length, BufferView parameter, BufferView gradient, BufferView velocity, in SgdStep step)
    {
        for (long i = 0; i < length; i++) Update(ref parameter.Floats[i], gradient.Floats[i], ref velocity.Floats[i], step);
    }

    internal override void SgdUpdateTransposedCore(
        in ConvShape shape, BufferView b, BufferView dw, BufferView velocity, in SgdStep step)
    {
        for (int r = 0; r < shape.R; r++)
            for (int s = 0; s < shape.S; s++)
                for (int k = 0; k < shape.K; k++)
                    for (int c = 0; c < shape.C; c++)
                    {
                        long i = FeedbackIndex(shape, r, s, k, c);
                        Update(ref b.Floats[i], dw.Floats[WeightIndex(shape, r, s, c, k)], ref velocity.Floats[i], step);
                    }
    }

    internal override void TransposedCombineCore(
        in ConvShape shape, float alpha, BufferView w, float beta, BufferView r, BufferView b)
    {
        for (int row = 0; row < shape.R; row++)
            for (int s = 0; s < shape.S; s++)
                for (int k = 0; k < shape.K; k++)
                    for (int c = 0; c < shape.C; c++)
                    {
                        long i = FeedbackIndex(shape, row, s, k, c);
                        double value = (double)alpha * w.Floats[WeightIndex(shape, row, s, c, k)];
                        b.Floats[i] = (float)(beta == 0 ? value : value + (double)beta * r.Floats[i]);
                    }
    }

    internal override void SignTransposedCore(in ConvShape shape, BufferView w, BufferView magnitudes, float scale, BufferView b)
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

    private static void Update(ref float parameter, float gradient, ref float velocity, in SgdStep step)
    {
        double g = (double)step.GradientScale * gradient + (double)step.WeightDecay * parameter;
        double v = (double)step.Momentum * velocity + g;
        double move = step.Nesterov ? g + step.Momentum * v : v;
        parameter = (float)(step.Shrink * (parameter - step.LearningRate * move));
        velocity = (float)v;
    }
}
