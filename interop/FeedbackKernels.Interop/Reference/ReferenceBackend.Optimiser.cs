namespace FeedbackKernels.Interop;

public sealed unsafe partial class ReferenceBackend
{
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

    private static void Update(ref float parameter, float gradient, ref float velocity, in SgdStep step)
    {
        double v = velocity;
        parameter = (float)step.Apply(parameter, gradient, ref v);
        velocity = (float)v;
    }
}
