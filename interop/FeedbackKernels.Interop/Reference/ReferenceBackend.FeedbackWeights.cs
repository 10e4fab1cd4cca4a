namespace FeedbackKernels.Interop;

public sealed unsafe partial class ReferenceBackend
{
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
}
