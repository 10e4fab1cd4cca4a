namespace FeedbackKernels.Interop;

public sealed unsafe partial class CpuBackend
{
    internal override void BatchNormStatisticsCore(long rows, int channels, BufferView x, in BatchStatistics statistics)
    {
        ChannelJob job = SumStatistics(rows, channels, x);
        int* chunkRows = _scratch.Ints(ScratchUse.ChunkRows, job.Chunks);
        for (int i = 0; i < job.Chunks; i++) chunkRows[i] = job.RowsOf(i);
        MergeStatistics(job.ChunkResults, chunkRows, job.Chunks, channels, statistics);
    }

    internal override void BatchNormFoldCore(
        int channels, BufferView gamma, BufferView beta, BufferView mean, BufferView variance, float epsilon, BufferView scale, BufferView bias)
    {
        for (int k = 0; k < channels; k++)
        {
            double factor = gamma.Floats[k] / Math.Sqrt((double)variance.Floats[k] + epsilon);
            float shift = (float)(beta.Floats[k] - mean.Floats[k] * factor);
            scale.Floats[k] = (float)factor;
            bias.Floats[k] = shift;
        }
    }

    internal override void ChannelAffineCore(
        long rows, int channels, BufferView x, BufferView scale, BufferView bias, BufferView residual, Activation activation, BufferView y)
    {
        var job = new ChannelJob
        {
            Kernel = _kernels->Affine,
            Rows = rows,
            Arguments = new ChannelArguments
            {
                Channels = channels,
                X = x.Floats,
                Scale = scale.Floats,
                Bias = bias.Floats,
                Residual = residual.Floats,
                Activation = activation,
                Output = y.Floats,
            },
        };
        _pool.Run(job.Chunks, ref job);
    }

    internal override void BatchNormBackwardCore(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy,
        BufferView dx, BufferView dGamma, BufferView dBeta, BufferView dResidual, IRowSums? others)
    {
        float* vectors = _scratch.Floats(ScratchUse.ChannelVectors, 2L * channels);
        var job = new ChannelJob
        {
            Kernel = _kernels->BackwardSums,
            Rows = rows,
            ResultsPerChunk = 2,
            Arguments = new ChannelArguments
            {
                Channels = channels,
                X = x.Floats,
                Y = y.Floats,
                Dy = dy.Floats,
                Output = dx.Floats,
                DResidual = dResidual.Floats,
                Mean = state.Mean.Floats,
                Scale = state.Scale.Floats,
                Bias = state.Bias.Floats,
                MeanError = vectors,
                ErrorSlope = vectors + channels,
                Relu = relu,
            },
        };
        job.ChunkResults = _scratch.Floats(ScratchUse.ChunkResults, (long)job.Chunks * 2 * channels);
        _pool.Run(job.Chunks, ref job);
        double* all = _scratch.Doubles(ScratchUse.DoubleSums, 2L * channels);
        for (int k = 0; k < channels; k++)
        {
            double sum = 0, deviationSum = 0;
            for (int chunk = 0; chunk < job.Chunks; chunk++)
            {
                float* results = job.ChunkResults + (nint)chunk * 2 * channels + k;
                sum += results[0];
                deviationSum += results[channels];
            }

            (all[k], all[channels + k]) = (sum, deviationSum);
            dBeta.Floats[k] = (float)sum;
            dGamma.Floats[k] = (float)(deviationSum * InverseDeviation(state, k));
        }

        others?.Add(new Span<double>(all, 2 * channels));
        long allRows = others?.Rows ?? rows;
        for (int k = 0; k < channels; k++)
        {
            double inverseDeviation = InverseDeviation(state, k);
            job.Arguments.MeanError[k] = (float)(all[k] / allRows);
            job.Arguments.ErrorSlope[k] = (float)(all[channels + k] * inverseDeviation * inverseDeviation / allRows);
        }

        job.Kernel = _kernels->BackwardApply;
        job.ChunkResults = null;
        _pool.Run(job.Chunks, ref job);
    }

    internal override void BiasGradientCore(long rows, int channels, BufferView dy, BufferView db)
    {
        ChannelJob job = SumStatistics(rows, channels, dy);
        for (int k = 0; k < channels; k++)
        {
            double sum = 0;
            for (int chunk = 0; chunk < job.Chunks; chunk++)
            {
                float* results = job.ChunkResults + (nint)chunk * 3 * channels + k;
                sum += (double)results[0] * job.RowsOf(chunk) + results[channels];
            }

            db.Floats[k] = (float)sum;
        }
    }

    private static double InverseDeviation(in BatchNormState state, int channel) => 1 / Math.Sqrt((double)state.Variance.Floats[channel] + state.Epsilon);

    private ChannelJob SumStatistics(long rows, int channels, BufferView x)
    {
        var job = new ChannelJob
        {
            Kernel = _kernels->Statistics,
            Rows = rows,
            ResultsPerChunk = 3,
            Arguments = new ChannelArguments { Channels = channels, X = x.Floats },
        };
        job.ChunkResults = _scratch.Floats(ScratchUse.ChunkResults, (long)job.Chunks * 3 * channels);
        _pool.Run(job.Chunks, ref job);
        return job;
    }

    /// <summary>Merges the statistics of chunks of rows.</summary>
    internal void MergeStatistics(float* chunks, int* chunkRows, int count, int channels, in BatchStatistics statistics)
    {
        var merge = new StatisticsMerge
        {
            Chunks = chunks,
            ChunkRows = chunkRows,
            Count = count,
            Channels = channels,
            Statistics = new StatisticsPointers(statistics),
        };
        _pool.Run(merge.Items, ref merge);
    }
}
