using System.Runtime.CompilerServices;

namespace FeedbackKernels.Interop;

/// <summary>Operands of the kernels over [rows][channels] with one parameter for each channel. Null pointers are absent operands.</summary>
internal unsafe struct ChannelArguments
{
    public int Channels;
    public float* X, Y, Dy, Residual;

    /// <summary>Results of [rows][channels].</summary>
    public float* Output, DResidual;

    /// <summary>Whether DResidual is there already, and is read.</summary>
    public bool ResidualIsStored;

    /// <summary>One element for each channel.</summary>
    public float* Mean, Scale, Bias, MeanError, ErrorSlope;

    /// <summary>Results of one chunk of rows, one element for each channel.</summary>
    public float* Shift, Sum, SecondSum;
    public Activation Activation;
    public ReluPosition Relu;
}

/// <summary>One pass down the rows of a chunk, for as many channels as a vector holds.</summary>
internal unsafe interface IChannelPass
{
    static abstract void Run<TVector, TOps>(ChannelArguments* a, long firstRow, long rows, int channel) where TOps : unmanaged, IVectorOps<TVector>;
}

/// <summary>
/// The loop over the channels of a chunk of rows: four vectors at a time, then one, then single channels. The rows of the chunk stay in
/// L1 and L2 while the passes go down them.
/// </summary>
internal static unsafe class ChannelKernel<TVector, TOps, TPass>
    where TVector : unmanaged
    where TOps : unmanaged, IVectorOps<TVector>
    where TPass : unmanaged, IChannelPass
{
    public static void Run(ChannelArguments* a, long firstRow, long rows)
    {
        int channel = 0;
        for (; channel + 4 * TOps.Count <= a->Channels; channel += 4 * TOps.Count)
            TPass.Run<Quad<TVector>, QuadOps<TVector, TOps>>(a, firstRow, rows, channel);
        for (; channel + TOps.Count <= a->Channels; channel += TOps.Count) TPass.Run<TVector, TOps>(a, firstRow, rows, channel);
        for (; channel < a->Channels; channel++) TPass.Run<float, ScalarOps>(a, firstRow, rows, channel);
    }
}

/// <summary>Batch norm and the operations related to it. Memory bandwidth limits all of them, so each reads and writes every element once.</summary>
internal static unsafe class ChannelPasses
{
    // The sums of this many rows are added up among themselves before they join the total: the rounding error grows with the root of
    // the longest chain of additions.
    private const int BlockRows = 64;

    /// <summary>Sums of deviations from the chunk's first row, and of their squares.</summary>
    public readonly struct Statistics : IChannelPass
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public static void Run<TVector, TOps>(ChannelArguments* a, long firstRow, long rows, int channel) where TOps : unmanaged, IVectorOps<TVector>
        {
            nint stride = a->Channels;
            float* x = a->X + firstRow * stride + channel;
            TVector shift = TOps.Load(x);
            TVector sum = TOps.Zero, squares = TOps.Zero;
            for (long first = 0; first < rows; first += BlockRows)
            {
                // Two chains of additions: with narrow rows a single one would wait for its own result.
                TVector sum0 = TOps.Zero, sum1 = TOps.Zero, squares0 = TOps.Zero, squares1 = TOps.Zero;
                long row = Math.Min(BlockRows, rows - first);
                for (; row >= 2; row -= 2, x += 2 * stride)
                {
                    TVector d0 = TOps.Subtract(TOps.Load(x), shift), d1 = TOps.Subtract(TOps.Load(x + stride), shift);
                    sum0 = TOps.Add(sum0, d0);
                    sum1 = TOps.Add(sum1, d1);
                    squares0 = TOps.MultiplyAdd(d0, d0, squares0);
                    squares1 = TOps.MultiplyAdd(d1, d1, squares1);
                }

                if (row > 0)
                {
                    TVector d = TOps.Subtract(TOps.Load(x), shift);
                    sum0 = TOps.Add(sum0, d);
                    squares0 = TOps.MultiplyAdd(d, d, squares0);
                }

                sum = TOps.Add(sum, TOps.Add(sum0, sum1));
                squares = TOps.Add(squares, TOps.Add(squares0, squares1));
            }

            TOps.Store(shift, a->Shift + channel);
            TOps.Store(sum, a->Sum + channel);
            TOps.Store(squares, a->SecondSum + channel);
        }
    }

    /// <summary>output = activation(x * scale + bias + residual).</summary>
    public readonly struct Affine : IChannelPass
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public static void Run<TVector, TOps>(ChannelArguments* a, long firstRow, long rows, int channel) where TOps : unmanaged, IVectorOps<TVector>
        {
            nint stride = a->Channels;
            nint offset = (nint)firstRow * stride + channel;
            TVector scale = TOps.Load(a->Scale + channel), bias = TOps.Load(a->Bias + channel);
            float* x = a->X + offset, residual = a->Residual + offset, output = a->Output + offset;
            bool join = a->Residual != null, relu = a->Activation == Activation.Relu;
            for (long row = 0; row < rows; row++, x += stride, residual += stride, output += stride)
            {
                TVector value = TOps.MultiplyAdd(TOps.Load(x), scale, bias);
                if (join) value = TOps.Add(value, TOps.Load(residual));
                if (relu) value = TOps.Relu(value);
                TOps.Store(value, output);
            }
        }
    }

    /// <summary>Sums of dz and of dz * (x - mean). Writes dz where the residual branch needs it.</summary>
    public readonly struct BackwardSums : IChannelPass
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public static void Run<TVector, TOps>(ChannelArguments* a, long firstRow, long rows, int channel) where TOps : unmanaged, IVectorOps<TVector>
        {
            nint stride = a->Channels;
            nint offset = (nint)firstRow * stride + channel;
            TVector mean = TOps.Load(a->Mean + channel), scale = TOps.Load(a->Scale + channel), bias = TOps.Load(a->Bias + channel);
            TVector sum = TOps.Zero, secondSum = TOps.Zero;
            for (long first = 0; first < rows; first += BlockRows)
            {
                TVector blockSum = TOps.Zero, blockSecondSum = TOps.Zero;
                for (long row = Math.Min(BlockRows, rows - first); row > 0; row--, offset += stride)
                {
                    TVector x = TOps.Load(a->X + offset);
                    TVector dz = MaskedError<TVector, TOps>(a, offset, x, scale, bias);
                    if (a->DResidual != null) TOps.Store(dz, a->DResidual + offset);
                    blockSum = TOps.Add(blockSum, dz);
                    blockSecondSum = TOps.MultiplyAdd(dz, TOps.Subtract(x, mean), blockSecondSum);
                }

                sum = TOps.Add(sum, blockSum);
                secondSum = TOps.Add(secondSum, blockSecondSum);
            }

            TOps.Store(sum, a->Sum + channel);
            TOps.Store(secondSum, a->SecondSum + channel);
        }
    }

    /// <summary>output = scale * (dz - meanError - (x - mean) * errorSlope), masked where a ReLU before the norm was off. Writes dz where the
    /// residual branch needs it and the sums have not written it.</summary>
    public readonly struct BackwardApply : IChannelPass
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public static void Run<TVector, TOps>(ChannelArguments* a, long firstRow, long rows, int channel) where TOps : unmanaged, IVectorOps<TVector>
        {
            nint stride = a->Channels;
            nint offset = (nint)firstRow * stride + channel;
            TVector mean = TOps.Load(a->Mean + channel), scale = TOps.Load(a->Scale + channel), bias = TOps.Load(a->Bias + channel);
            TVector meanError = TOps.Load(a->MeanError + channel), errorSlope = TOps.Load(a->ErrorSlope + channel);
            bool read = a->ResidualIsStored, write = a->DResidual != null && !read, reluBefore = a->Relu == ReluPosition.Before;
            for (long row = 0; row < rows; row++, offset += stride)
            {
                TVector x = TOps.Load(a->X + offset);
                TVector dz = read ? TOps.Load(a->DResidual + offset) : MaskedError<TVector, TOps>(a, offset, x, scale, bias);
                if (write) TOps.Store(dz, a->DResidual + offset);
                TVector trend = TOps.MultiplyAdd(TOps.Subtract(x, mean), errorSlope, meanError);
                TVector error = TOps.Multiply(scale, TOps.Subtract(dz, trend));
                if (reluBefore) error = TOps.KeepWherePositive(error, x);
                TOps.Store(error, a->Output + offset);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector MaskedError<TVector, TOps>(ChannelArguments* a, nint offset, TVector x, TVector scale, TVector bias)
        where TOps : unmanaged, IVectorOps<TVector>
    {
        TVector dy = TOps.Load(a->Dy + offset);
        if (a->Relu != ReluPosition.After) return dy;
        // Recomputed with the bits of the forward pass, so that the same elements are masked.
        TVector output = a->Y != null ? TOps.Load(a->Y + offset) : TOps.MultiplyAdd(x, scale, bias);
        return TOps.KeepWherePositive(dy, output);
    }
}
