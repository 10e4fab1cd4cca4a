namespace FeedbackKernels.Interop;

public sealed unsafe partial class ReferenceBackend
{
    internal override void MaxPoolForwardCore(in PoolShape shape, BufferView x, BufferView y, BufferView positions)
    {
        long output = 0;
        for (int n = 0; n < shape.N; n++)
            for (int p = 0; p < shape.P; p++)
                for (int q = 0; q < shape.Q; q++)
                {
                    PoolWindow window = PoolWindow.Of(shape, p, q);
                    for (int c = 0; c < shape.C; c++, output++)
                    {
                        double most = double.NegativeInfinity;
                        int place = window.FirstRow * shape.W + window.FirstColumn;
                        for (int h = window.FirstRow; h < window.EndRow; h++)
                            for (int w = window.FirstColumn; w < window.EndColumn; w++)
                            {
                                double value = x.Read(((((long)n * shape.H) + h) * shape.W + w) * shape.C + c);
                                if (value <= most || double.IsNaN(most)) continue;
                                most = value;
                                place = h * shape.W + w;
                            }

                        y.Write(output, most);
                        positions.Ints[output] = place;
                    }
                }
    }

    internal override void MaxPoolBackwardCore(in PoolShape shape, BufferView dy, BufferView positions, BufferView dx)
    {
        var sums = new double[shape.InputLength];
        long image = (long)shape.P * shape.Q * shape.C;
        for (long i = 0; i < shape.OutputLength; i++)
        {
            long n = i / image, c = i % shape.C;
            sums[(n * shape.H * shape.W + positions.Ints[i]) * shape.C + c] += dy.Read(i);
        }

        for (long i = 0; i < sums.Length; i++) dx.Write(i, sums[i]);
    }

    internal override void AveragePoolForwardCore(in PoolShape shape, BufferView x, BufferView y)
    {
        long output = 0;
        for (int n = 0; n < shape.N; n++)
            for (int p = 0; p < shape.P; p++)
                for (int q = 0; q < shape.Q; q++)
                {
                    PoolWindow window = PoolWindow.Of(shape, p, q);
                    for (int c = 0; c < shape.C; c++, output++)
                    {
                        double sum = 0;
                        for (int h = window.FirstRow; h < window.EndRow; h++)
                            for (int w = window.FirstColumn; w < window.EndColumn; w++)
                                sum += x.Read(((((long)n * shape.H) + h) * shape.W + w) * shape.C + c);
                        y.Write(output, sum / window.Pixels);
                    }
                }
    }

    internal override void AveragePoolBackwardCore(in PoolShape shape, BufferView dy, BufferView dx)
    {
        var sums = new double[shape.InputLength];
        long output = 0;
        for (int n = 0; n < shape.N; n++)
            for (int p = 0; p < shape.P; p++)
                for (int q = 0; q < shape.Q; q++)
                {
                    PoolWindow window = PoolWindow.Of(shape, p, q);
                    for (int c = 0; c < shape.C; c++, output++)
                    {
                        double share = dy.Read(output) / window.Pixels;
                        for (int h = window.FirstRow; h < window.EndRow; h++)
                            for (int w = window.FirstColumn; w < window.EndColumn; w++)
                                sums[((((long)n * shape.H) + h) * shape.W + w) * shape.C + c] += share;
                    }
                }

        for (long i = 0; i < sums.Length; i++) dx.Write(i, sums[i]);
    }
}
