namespace FeedbackKernels.Interop;

public sealed unsafe partial class CpuBackend
{
    internal override WeightAlignment AlignCore(in ConvShape shape, BufferView w, BufferView b)
    {
        var align = new AlignJob { W = w.Floats, B = b.Floats, C = shape.C, K = shape.K, Taps = shape.R * shape.S };
        align.Sums = _scratch.Doubles(ScratchUse.DoubleSums, 3L * align.Items);
        _pool.Run(align.Items, ref align);
        return AddUp(align.Sums, align.Items);
    }

    internal override WeightAlignment CompareCore(long length, BufferView a, BufferView b)
    {
        var compare = new CompareJob { A = a.Floats, B = b.Floats, Length = length };
        compare.Sums = _scratch.Doubles(ScratchUse.DoubleSums, 3L * compare.Items);
        _pool.Run(compare.Items, ref compare);
        return AddUp(compare.Sums, compare.Items);
    }

    private static WeightAlignment AddUp(double* sums, int items)
    {
        double dot = 0, squaredA = 0, squaredB = 0;
        for (int i = 0; i < items; i++, sums += 3)
        {
            dot += sums[0];
            squaredA += sums[1];
            squaredB += sums[2];
        }

        return new WeightAlignment(dot, squaredA, squaredB);
    }

    private struct AlignJob : IParallelJob
    {
        private const int BlockK = 16;

        public float* W;
        public float* B;
        public int Taps, C, K;
        public double* Sums;

        private readonly int BlocksOfK => Rounding.DivideUp32(K, BlockK);

        public readonly int Items => WorkItems.Checked((long)Taps * BlocksOfK);

        public readonly void Run(int item, int worker)
        {
            int tap = item / BlocksOfK, firstK = item % BlocksOfK * BlockK, endK = Math.Min(firstK + BlockK, K);
            float* w = W + (nint)tap * C * K, b = B + (nint)tap * C * K;
            double dot = 0, squaredW = 0, squaredB = 0;
            for (int c = 0; c < C; c++)
            {
                for (int k = firstK; k < endK; k++)
                {
                    double forward = w[(nint)c * K + k], feedback = b[(nint)k * C + c];
                    dot += forward * feedback;
                    squaredW += forward * forward;
                    squaredB += feedback * feedback;
                }
            }

            double* sums = Sums + 3L * item;
            (sums[0], sums[1], sums[2]) = (dot, squaredW, squaredB);
        }
    }

    private struct CompareJob : IParallelJob
    {
        private const int ItemFloats = 16 * 1024;

        public float* A;
        public float* B;
        public long Length;
        public double* Sums;

        public readonly int Items => WorkItems.Checked(Rounding.DivideUp(Length, ItemFloats));

        public readonly void Run(int item, int worker)
        {
            double dot = 0, squaredA = 0, squaredB = 0;
            for (long i = (long)item * ItemFloats; i < Math.Min(((long)item + 1) * ItemFloats, Length); i++)
            {
                double a = A[i], b = B[i];
                dot += a * b;
                squaredA += a * a;
                squaredB += b * b;
            }

            double* sums = Sums + 3L * item;
            (sums[0], sums[1], sums[2]) = (dot, squaredA, squaredB);
        }
    }
}
