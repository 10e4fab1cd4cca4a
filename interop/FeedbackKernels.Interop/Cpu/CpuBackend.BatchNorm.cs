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

    // One load an element less than the two halves where there is a residual branch: the first half stores its error, which the second
    // would compute again.
    internal override void BatchNormBackwardCore(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy,
        BufferView dx, BufferView dGamma, BufferView dBeta, BufferView dResidual)
    {
        ChannelJob job = BackwardJob(rows, channels, x, state, relu, y, dy, dResidual);
        BackwardSums(job, state, dGamma, dBeta);
        job.Arguments.ResidualIsStored = !dResidual.IsAbsent;
        BackwardErrors(job, state, dGamma, dBeta, dx);
    }

    internal override void BatchNormBackwardSumsCore(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy, BufferView dGamma, BufferView dBeta) =>
        BackwardSums(BackwardJob(rows, channels, x, state, relu, y, dy), state, dGamma, dBeta);

    internal override void BatchNormBackwardErrorsCore(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy,
        BufferView dGamma, BufferView dBeta, BufferView dx, BufferView dResidual) =>
        BackwardErrors(BackwardJob(rows, channels, x, state, relu, y, dy, dResidual), state, dGamma, dBeta, dx);

    internal override void BatchNormMergeCore(in SharedRows rows, int channels, BufferView parts, in BatchStatistics statistics) =>
        StatisticsWriter.Merge(statistics, rows, channels, parts.Floats);

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

    private static ChannelJob BackwardJob(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy, BufferView dResidual = default)
    {
        var arguments = new ChannelArguments
        {
            Channels = channels,
            X = x.Floats,
            Y = y.Floats,
            Dy = dy.Floats,
            DResidual = dResidual.Floats,
            Mean = state.Mean.Floats,
            Scale = state.Scale.Floats,
            Bias = state.Bias.Floats,
            Relu = relu,
        };
        return new ChannelJob { Rows = rows, Arguments = arguments };
    }

    private void BackwardSums(ChannelJob job, in BatchNormState state, BufferView dGamma, BufferView dBeta)
    {
        int channels = job.Arguments.Channels;
        job.Kernel = _kernels->BackwardSums;
        job.ResultsPerChunk = 2;
        job.ChunkResults = _scratch.Floats(ScratchUse.ChunkResults, (long)job.Chunks * 2 * channels);
        _pool.Run(job.Chunks, ref job);
        for (int k = 0; k < channels; k++)
        {
            double sum = 0, deviationSum = 0;
            for (int chunk = 0; chunk < job.Chunks; chunk++)
            {
                float* results = job.ChunkResults + (nint)chunk * 2 * channels + k;
                sum += results[0];
                deviationSum += results[channels];
            }

            dBeta.Floats[k] = (float)sum;
            dGamma.Floats[k] = (float)(deviationSum * InverseDeviation(state, k));
        }
    }

    private void BackwardErrors(ChannelJob job, in BatchNormState state, BufferView dGamma, BufferView dBeta, BufferView dx)
    {
        int channels = job.Arguments.Channels;
        float* vectors = _scratch.Floats(ScratchUse.ChannelVectors, 2L * channels);
        for (int k = 0; k < channels; k++)
        {
            vectors[k] = (float)(dBeta.Floats[k] / (double)job.Rows);
            vectors[channels + k] = (float)(dGamma.Floats[k] * InverseDeviation(state, k) / job.Rows);
        }

        job.Kernel = _kernels->BackwardApply;
        job.Arguments.Output = dx.Floats;
        job.Arguments.MeanError = vectors;
        job.Arguments.ErrorSlope = vectors + channels;
        _pool.Run(job.Chunks, ref job);
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
