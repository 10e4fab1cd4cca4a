namespace FeedbackKernels.Interop;

public sealed unsafe partial class ReferenceBackend
{
    internal override ConvExplanation ExplainCore(in ConvRequest request) =>
        new("reference loops", "the definition of the operation; not meant to be fast");

    internal override void ConvForwardCore(in ConvShape shape, BufferView x, BufferView w, BufferView y, in ConvEpilogue epilogue)
    {
        using DeviceBuffer? rounded = RoundOperand(w, shape.WeightLength);
        BufferView weights = rounded is null ? w : rounded;
        long output = 0;
        for (int n = 0; n < shape.N; n++)
            for (int p = 0; p < shape.P; p++)
                for (int q = 0; q < shape.Q; q++)
                    for (int k = 0; k < shape.K; k++, output++)
                    {
                        double sum = 0;
                        for (int r = 0; r < shape.R; r++)
                            for (int s = 0; s < shape.S; s++)
                            {
                                long pixel = InputPixel(shape, n, p, q, r, s);
                                if (pixel < 0) continue;
                                for (int c = 0; c < shape.C; c++)
                                    sum += x.Read(pixel * shape.C + c) * weights.Read(WeightIndex(shape, r, s, c, k));
                            }

                        if (!epilogue.Scale.IsAbsent) sum *= epilogue.Scale.Floats[k];
                        if (!epilogue.Bias.IsAbsent) sum += epilogue.Bias.Floats[k];
                        if (!epilogue.Residual.IsAbsent) sum += epilogue.Residual.Read(output);
                        y.Write(output, Apply(epilogue.Activation, sum));
                    }

        if (!epilogue.Statistics.IsAbsent)
            BatchNormStatisticsCore((long)shape.N * shape.P * shape.Q, shape.K, y, epilogue.Statistics);
    }

    internal override void ConvFeedbackCore(
        in ConvShape shape, BufferView dy, BufferView weights, FeedbackLayout layout, BufferView dx, bool accumulate)
    {
        using DeviceBuffer? rounded = RoundOperand(weights, shape.WeightLength);
        BufferView operand = rounded is null ? weights : rounded;
        var sums = new double[shape.C];
        for (int n = 0; n < shape.N; n++)
            for (int h = 0; h < shape.H; h++)
                for (int w = 0; w < shape.W; w++)
                {
                    long pixel = (((long)n * shape.H) + h) * shape.W + w;
                    for (int c = 0; c < shape.C; c++) sums[c] = accumulate ? dx.Read(pixel * shape.C + c) : 0;
                    for (int r = 0; r < shape.R; r++)
                        for (int s = 0; s < shape.S; s++)
                        {
                            long outputPixel = OutputPixel(shape, n, h, w, r, s);
                            if (outputPixel < 0) continue;
                            for (int c = 0; c < shape.C; c++)
                                for (int k = 0; k < shape.K; k++)
                                {
                                    long index = layout == FeedbackLayout.Forward ? WeightIndex(shape, r, s, c, k) : FeedbackIndex(shape, r, s, k, c);
                                    sums[c] += dy.Read(outputPixel * shape.K + k) * operand.Read(index);
                                }
                        }

                    for (int c = 0; c < shape.C; c++) dx.Write(pixel * shape.C + c, sums[c]);
                }
    }

    internal override void ConvWeightGradientCore(in ConvShape shape, BufferView x, BufferView dy, BufferView dw)
    {
        var sums = new double[shape.WeightLength];
        AddWeightGradient(shape, x, dy, sums);
        for (long i = 0; i < shape.WeightLength; i++) dw.Floats[i] = (float)sums[i];
    }

    /// <summary>Rounds Float32 weights to the operand type of products; null if they have that type already.</summary>
    private DeviceBuffer? RoundOperand(BufferView weights, long length)
    {
        if (weights.Type == ActivationType) return null;
        DeviceBuffer rounded = AllocateBuffer(length, "rounded weights", ActivationType);
        ConvertCore(length, weights, rounded);
        return rounded;
    }

    private static void AddWeightGradient(in ConvShape shape, BufferView x, BufferView dy, double[] sums)
    {
        for (int n = 0; n < shape.N; n++)
            for (int p = 0; p < shape.P; p++)
                for (int q = 0; q < shape.Q; q++)
                    for (int r = 0; r < shape.R; r++)
                        for (int s = 0; s < shape.S; s++)
                        {
                            long pixel = InputPixel(shape, n, p, q, r, s);
                            if (pixel < 0) continue;
                            long outputPixel = (((long)n * shape.P) + p) * shape.Q + q;
                            for (int c = 0; c < shape.C; c++)
                                for (int k = 0; k < shape.K; k++)
                                    sums[WeightIndex(shape, r, s, c, k)] += x.Read(pixel * shape.C + c) * dy.Read(outputPixel * shape.K + k);
                        }
    }

    private static long WeightIndex(in ConvShape shape, int r, int s, int c, int k) =>
        ((((long)r * shape.S) + s) * shape.C + c) * shape.K + k;

    private static long FeedbackIndex(in ConvShape shape, int r, int s, int k, int c) =>
        ((((long)r * shape.S) + s) * shape.K + k) * shape.C + c;

    /// <summary>The input pixel that tap (r, s) reads for output (p, q); -1 on the padding.</summary>
    private static long InputPixel(in ConvShape shape, int n, int p, int q, int r, int s)
    {
        int h = p * shape.Stride - shape.Padding + r, w = q * shape.Stride - shape.Padding + s;
        return h < 0 || h >= shape.H || w < 0 || w >= shape.W ? -1 : (((long)n * shape.H) + h) * shape.W + w;
    }

    /// <summary>The output pixel for which tap (r, s) reads input (h, w); -1 if there is none.</summary>
    private static long OutputPixel(in ConvShape shape, int n, int h, int w, int r, int s)
    {
        int pu = h + shape.Padding - r, qu = w + shape.Padding - s;
        if (pu < 0 || qu < 0 || pu % shape.Stride != 0 || qu % shape.Stride != 0) return -1;
        int p = pu / shape.Stride, q = qu / shape.Stride;
        return p >= shape.P || q >= shape.Q ? -1 : (((long)n * shape.P) + p) * shape.Q + q;
    }
}
