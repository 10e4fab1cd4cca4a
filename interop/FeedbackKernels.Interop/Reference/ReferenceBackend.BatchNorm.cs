namespace FeedbackKernels.Interop;

public sealed unsafe partial class ReferenceBackend
{
    internal override void BatchNormStatisticsCore(long rows, int channels, BufferView x, in BatchStatistics statistics)
    {
        var pointers = new StatisticsPointers(statistics);
        for (int k = 0; k < channels; k++)
        {
            double sum = 0, squares = 0;
            for (long row = 0; row < rows; row++) sum += x.Read(row * channels + k);
            double mean = sum / rows;
            for (long row = 0; row < rows; row++)
            {
                double deviation = x.Read(row * channels + k) - mean;
                squares += deviation * deviation;
            }

            StatisticsWriter.Store(pointers, k, rows, mean, squares);
        }
    }

    internal override void BatchNormFoldCore(
        int channels, BufferView gamma, BufferView beta, BufferView mean, BufferView variance, float epsilon, BufferView scale, BufferView bias)
    {
        for (int k = 0; k < channels; k++)
        {
            double factor = gamma.Floats[k] * InverseDeviation(variance.Floats[k], epsilon);
            float shift = (float)(beta.Floats[k] - mean.Floats[k] * factor);
            scale.Floats[k] = (float)factor;
            bias.Floats[k] = shift;
        }
    }

    internal override void ChannelAffineCore(
        long rows, int channels, BufferView x, BufferView scale, BufferView bias, BufferView residual, Activation activation, BufferView y)
    {
        for (long i = 0; i < rows * channels; i++)
        {
            int k = (int)(i % channels);
            double value = x.Read(i) * scale.Floats[k] + bias.Floats[k];
            if (!residual.IsAbsent) value += residual.Read(i);
            y.Write(i, Apply(activation, value));
        }
    }

    internal override void BatchNormBackwardSumsCore(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy, BufferView dGamma, BufferView dBeta)
    {
        for (int k = 0; k < channels; k++)
        {
            double mean = state.Mean.Floats[k], inverseDeviation = InverseDeviation(state.Variance.Floats[k], state.Epsilon);
            double scale = state.Scale.Floats[k], bias = state.Bias.Floats[k];
            double sum = 0, sumNormalised = 0;
            for (long row = 0; row < rows; row++)
            {
                double dz = MaskedError(row * channels + k, x, scale, bias, relu, y, dy);
                sum += dz;
                sumNormalised += dz * (x.Read(row * channels + k) - mean) * inverseDeviation;
            }

            dGamma.Floats[k] = (float)sumNormalised;
            dBeta.Floats[k] = (float)sum;
        }
    }

    internal override void BatchNormBackwardErrorsCore(
        long rows, int channels, BufferView x, in BatchNormState state, ReluPosition relu, BufferView y, BufferView dy,
        BufferView dGamma, BufferView dBeta, BufferView dx, BufferView dResidual)
    {
        for (int k = 0; k < channels; k++)
        {
            double mean = state.Mean.Floats[k], inverseDeviation = InverseDeviation(state.Variance.Floats[k], state.Epsilon);
            double scale = state.Scale.Floats[k], bias = state.Bias.Floats[k];
            double meanError = dBeta.Floats[k] / (double)rows, slope = dGamma.Floats[k] / (double)rows;
            for (long row = 0; row < rows; row++)
            {
                long i = row * channels + k;
                double dz = MaskedError(i, x, scale, bias, relu, y, dy);
                double error = scale * (dz - meanError - (x.Read(i) - mean) * inverseDeviation * slope);
                if (relu == ReluPosition.Before && !(x.Read(i) > 0)) error = 0;
                if (!dResidual.IsAbsent) dResidual.Write(i, dz);
                dx.Write(i, error);
            }
        }
    }

    internal override void BatchNormMergeCore(in SharedRows rows, int channels, BufferView parts, in BatchStatistics statistics) =>
        StatisticsWriter.Merge(statistics, rows, channels, parts.Floats);

    internal override void BiasGradientCore(long rows, int channels, BufferView dy, BufferView db)
    {
        for (int k = 0; k < channels; k++)
        {
            double sum = 0;
            for (long row = 0; row < rows; row++) sum += dy.Read(row * channels + k);
            db.Floats[k] = (float)sum;
        }
    }

    private static double MaskedError(
        long i, BufferView x, double scale, double bias, ReluPosition relu, BufferView y, BufferView dy)
    {
        if (relu != ReluPosition.After) return dy.Read(i);
        double output = y.IsAbsent ? x.Read(i) * scale + bias : y.Read(i);
        return output > 0 ? dy.Read(i) : 0;
    }

    private static double InverseDeviation(double variance, double epsilon) => 1 / Math.Sqrt(variance + epsilon);
}
