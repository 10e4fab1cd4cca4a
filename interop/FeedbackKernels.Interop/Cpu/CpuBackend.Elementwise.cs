namespace FeedbackKernels.Interop;

public sealed unsafe partial class CpuBackend
{
    internal override void ActivationForwardCore(Activation activation, long length, BufferView x, BufferView y) =>
        Map(
            activation switch
            {
                Activation.Relu => _kernels->Relu,
                Activation.Sigmoid => _kernels->Sigmoid,
                _ => _kernels->Copy,
            },
            length, new MapArguments { X = x.Floats, Y = y.Floats });

    internal override void ActivationBackwardCore(Activation activation, long length, BufferView y, BufferView dy, BufferView dx)
    {
        if (activation == Activation.None) Map(_kernels->Copy, length, new MapArguments { X = dy.Floats, Y = dx.Floats });
        else
        {
            Map(
                activation == Activation.Relu ? _kernels->ReluBackward : _kernels->SigmoidBackward,
                length, new MapArguments { X = y.Floats, Y = dy.Floats, Z = dx.Floats });
        }
    }

    internal override void SgdUpdateCore(
        long length, BufferView parameter, BufferView gradient, BufferView velocity, in SgdStep step, BufferView copy) =>
        Map(_kernels->Sgd, length, new MapArguments { X = gradient.Floats, Y = parameter.Floats, Z = velocity.Floats, Step = new SgdFactors(step) });

    internal override void SgdUpdateTransposedCore(
        in ConvShape shape, BufferView b, BufferView dw, BufferView velocity, in SgdStep step, BufferView copy) =>
        MapTransposed(_kernels->Sgd, shape, dw, new MapArguments { Y = b.Floats, Z = velocity.Floats, Step = new SgdFactors(step) });

    internal override void SgdUpdateBothCore(
        in ConvShape shape, BufferView w, BufferView dw, BufferView velocity, BufferView b, BufferView bVelocity, in SgdStep step,
        BufferView wCopy, BufferView bCopy) =>
        MapTransposed(
            _kernels->Sgd, shape, dw, new MapArguments { Y = b.Floats, Z = bVelocity.Floats, Step = new SgdFactors(step) },
            new MapArguments { X = dw.Floats, Y = w.Floats, Z = velocity.Floats, Step = new SgdFactors(step) });

    internal override void SgdUpdateSlabCore(
        ReadOnlySpan<SlabSegment> segments, BufferView values, BufferView gradients, BufferView velocities, in SgdStep step, BufferView copies)
    {
        fixed (SlabSegment* first = segments)
        {
            var job = new SlabJob
            {
                Kernel = _kernels->Sgd,
                Arguments = new MapArguments { X = gradients.Floats, Y = values.Floats, Z = velocities.Floats, Step = new SgdFactors(step) },
                Segments = first,
                FirstItems = _scratch.Ints(ScratchUse.SlabItems, segments.Length + 1),
                Count = segments.Length,
            };
            _pool.Run(job.CountItems(), ref job);
        }
    }

    internal override void TransposedCombineCore(
        in ConvShape shape, float alpha, BufferView w, float beta, BufferView r, BufferView b, BufferView copy) =>
        MapTransposed(
            beta == 0 ? _kernels->ScaleTo : _kernels->Combine,
            shape, w, new MapArguments { Y = b.Floats, Z = r.Floats, Alpha = alpha, Beta = beta });

    internal override void SignTransposedCore(
        in ConvShape shape, BufferView w, BufferView magnitudes, float scale, BufferView b, BufferView copy) =>
        MapTransposed(_kernels->Sign, shape, w, new MapArguments { Y = b.Floats, Z = magnitudes.Floats, Alpha = scale });

    internal override void ConvertCore(long length, BufferView source, BufferView result) =>
        Buffer.MemoryCopy(source.Floats, result.Floats, length * sizeof(float), length * sizeof(float));

    internal override void FillCore(long length, BufferView values, float value) =>
        Map(_kernels->Fill, length, new MapArguments { Y = values.Floats, Alpha = value });

    internal override void FillGaussianCore(BufferView values, in RandomKey key, float standardDeviation)
    {
        var fill = new GaussianJob { Key = key, StandardDeviation = standardDeviation, Output = values.Floats, Length = values.Length };
        _pool.Run(fill.Items, ref fill);
    }

    internal override WeightAlignment CompareCore(long length, BufferView a, BufferView b)
    {
        var compare = new CompareJob { A = a.Floats, B = b.Floats, Length = length };
        compare.Sums = _scratch.Doubles(ScratchUse.DoubleSums, 3L * compare.Items);
        _pool.Run(compare.Items, ref compare);
        return AddUp(compare.Sums, compare.Items);
    }

    internal override WeightAlignment AlignCore(in ConvShape shape, BufferView w, BufferView b)
    {
        var align = new AlignJob { W = w.Floats, B = b.Floats, C = shape.C, K = shape.K, Taps = shape.R * shape.S };
        align.Sums = _scratch.Doubles(ScratchUse.DoubleSums, 3L * align.Items);
        _pool.Run(align.Items, ref align);
        return AddUp(align.Sums, align.Items);
    }

    internal override void CrossEntropyCore(
        LossKind kind, int rows, int classes, BufferView logits, BufferView labels, float smoothing, BufferView losses, BufferView dLogits)
    {
        var job = new CrossEntropyJob
        {
            Kind = kind,
            Rows = rows,
            Classes = classes,
            Logits = logits.Floats,
            Labels = labels.Ints,
            Smoothing = smoothing,
            Losses = losses.Floats,
            Gradient = dLogits.Floats,
        };
        _pool.Run(job.Items, ref job);
    }

    private void Map(delegate*<MapArguments*, long, void> kernel, long length, in MapArguments arguments)
    {
        var job = new MapJob { Kernel = kernel, Arguments = arguments, Length = length };
        _pool.Run(job.Items, ref job);
    }

    private void MapTransposed(delegate*<MapArguments*, long, void> kernel, in ConvShape shape, BufferView forward, in MapArguments arguments, in MapArguments forwardArguments = default)
    {
        var job = new TransposedMapJob
        {
            Kernels = _kernels,
            Kernel = kernel,
            Arguments = arguments,
            ForwardArguments = forwardArguments,
            Forward = forward.Floats,
            Taps = shape.R * shape.S,
            C = shape.C,
            K = shape.K,
        };
        _pool.Run(job.Items, ref job);
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

    private struct GaussianJob : IParallelJob
    {
        // A multiple of the four numbers of a block.
        private const int ItemFloats = 4096;

        public RandomKey Key;
        public float StandardDeviation;
        public float* Output;
        public long Length;

        public readonly int Items => WorkItems.Checked((Length + ItemFloats - 1) / ItemFloats);

        public readonly void Run(int item, int worker)
        {
            long first = (long)item * ItemFloats;
            var part = new Span<float>(Output + first, (int)Math.Min(ItemFloats, Length - first));
            Key.FillGaussian(part, StandardDeviation, (uint)(first / 4));
        }
    }

    private struct CompareJob : IParallelJob
    {
        private const int ItemFloats = 16 * 1024;

        public float* A;
        public float* B;
        public long Length;
        public double* Sums;

        public readonly int Items => WorkItems.Checked((Length + ItemFloats - 1) / ItemFloats);

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

    private struct AlignJob : IParallelJob
    {
        private const int BlockK = 16;

        public float* W;
        public float* B;
        public int Taps, C, K;
        public double* Sums;

        private readonly int BlocksOfK => (K + BlockK - 1) / BlockK;

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

    private struct CrossEntropyJob : IParallelJob
    {
        private const int ItemRows = 16;

        public LossKind Kind;
        public int Rows, Classes;
        public float* Logits;
        public int* Labels;
        public double Smoothing;
        public float* Losses;
        public float* Gradient;

        public readonly int Items => (int)Rounding.DivideUp(Rows, ItemRows);

        public readonly void Run(int item, int worker)
        {
            int first = item * ItemRows;
            for (int n = first; n - first < ItemRows && n < Rows; n++)
            {
                nint offset = (nint)n * Classes;
                Losses[n] = CrossEntropyRow.Run(
                    Kind, new ReadOnlySpan<float>(Logits + offset, Classes), Labels[n], Smoothing, 1.0 / Rows,
                    Gradient == null ? default : new Span<float>(Gradient + offset, Classes));
            }
        }
    }
}
