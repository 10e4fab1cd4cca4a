namespace FeedbackKernels.Interop;

public sealed unsafe partial class ReferenceBackend
{
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
}
