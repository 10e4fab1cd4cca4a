using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

[Trait("Category", "Conformance")]
public class BatchNormTests
{
    // Rows and channels on both sides of the vector widths and of a chunk; chunks on both sides of the strips that add them.
    private static readonly (int Rows, int Channels)[] Sizes = [(1, 1), (5, 3), (33, 16), (70, 65), (2500, 17), (3000, 64), (40, 300), (33_500, 9)];

    [Theory, ClassData(typeof(Candidates))]
    public void Statistics_equal_the_reference(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        foreach ((int rows, int channels) in Sizes)
        {
            float[] x = Values.Normal((long)rows * channels, 7, 2);
            // Means far from zero in some channels.
            for (int i = 0; i < x.Length; i++) x[i] += i % channels * 50;
            (float[] Mean, float[] Variance, float[] RunningMean, float[] RunningVariance) expected = Run(Candidates.ReferenceOf(backend)), actual = Run(backend);
            Values.AssertClose(expected.Mean, actual.Mean, 4);
            Values.AssertClose(expected.Variance, actual.Variance, rows);
            Values.AssertClose(expected.RunningMean, actual.RunningMean, 4);
            Values.AssertClose(expected.RunningVariance, actual.RunningVariance, rows);

            (float[], float[], float[], float[]) Run(Backend on)
            {
                using var bench = new Workbench(on);
                DeviceBuffer mean = bench.Output(channels), variance = bench.Output(channels);
                DeviceBuffer runningMean = bench.Put(Values.Normal(channels, 1)), runningVariance = bench.Put(Values.Normal(channels, 2));
                on.BatchNormStatistics(rows, channels, bench.PutActivations(x), new BatchStatistics(mean, variance, runningMean, runningVariance, 0.25f));
                return (bench.Get(mean), bench.Get(variance), bench.Get(runningMean), bench.Get(runningVariance));
            }
        }
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Affine_equals_the_reference(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        foreach ((int rows, int channels) in Sizes)
        {
            foreach (Activation activation in (Activation[])[Activation.None, Activation.Relu])
            {
                foreach (bool join in (bool[])[false, true])
                    Values.AssertExact(Run(Candidates.ReferenceOf(backend), activation, join), Run(backend, activation, join));
            }

            float[] Run(Backend on, Activation activation, bool join)
            {
                using var bench = new Workbench(on);
                long length = (long)rows * channels;
                DeviceBuffer y = bench.OutputActivations(length);
                on.ChannelAffine(
                    rows, channels, bench.PutActivations(Values.Integers(length, 1)), bench.Put(Values.Integers(channels, 2)),
                    bench.Put(Values.Integers(channels, 3)), join ? bench.PutActivations(Values.Integers(length, 4)) : null, activation, y);
                return bench.Get(y);
            }
        }
    }

    public static TheoryData<string, ReluPosition, bool> BackwardCases()
    {
        var data = new TheoryData<string, ReluPosition, bool>();
        foreach (string candidate in new Candidates().Select(c => c.Data))
        {
            foreach (ReluPosition relu in Enum.GetValues<ReluPosition>())
            {
                data.Add(candidate, relu, false);
                data.Add(candidate, relu, true);
            }
        }

        return data;
    }

    [Theory, MemberData(nameof(BackwardCases))]
    public void Backward_equals_the_reference(string candidate, ReluPosition relu, bool join)
    {
        using Backend backend = Candidates.Create(candidate);
        foreach ((int rows, int channels) in Sizes)
        {
            float[][] expected = RunBackward(Candidates.ReferenceOf(backend), rows, channels, relu, join, inPlace: false);
            float[][] actual = RunBackward(backend, rows, channels, relu, join, inPlace: false);
            float[][] inPlace = RunBackward(backend, rows, channels, relu, join, inPlace: true);
            for (int i = 0; i < expected.Length; i++)
            {
                // dx, dGamma, dBeta, and with a join dResidual.
                Values.AssertClose(expected[i], actual[i], rows, stored: i is 1 or 2 ? ElementType.Float32 : backend.ActivationType);
                Values.AssertSameBits(actual[i], inPlace[i]);
            }
        }
    }

    [Fact]
    public void Backward_is_the_derivative_of_forward()
    {
        // Central differences of sum(forward * dy) through batch statistics, in the reference's double precision.
        const int rows = 6, channels = 2;
        var backend = new ReferenceBackend();
        float[] x = Values.Normal(rows * channels, 1), dy = Values.Normal(rows * channels, 2);
        float[][] gradients = RunBackward(backend, rows, channels, ReluPosition.After, join: false, inPlace: false);
        for (int i = 0; i < x.Length; i++)
        {
            const float h = 1e-2f;
            double Loss(float move)
            {
                float[] moved = [.. x];
                moved[i] += move;
                using var bench = new Workbench(backend);
                (DeviceBuffer input, BatchNormState state) = Forward(bench, moved, rows, channels);
                DeviceBuffer y = bench.Output(rows * channels);
                backend.ChannelAffine(rows, channels, input, state.Scale, state.Bias, default, Activation.Relu, y);
                return bench.Get(y).Zip(dy, (a, b) => (double)a * b).Sum();
            }

            double numeric = (Loss(h) - Loss(-h)) / (2 * h);
            Assert.Equal(numeric, gradients[0][i], 0.01);
        }
    }

    private static (DeviceBuffer X, BatchNormState State) Forward(Workbench bench, float[] values, int rows, int channels)
    {
        DeviceBuffer x = bench.PutActivations(values), mean = bench.Output(channels), variance = bench.Output(channels);
        DeviceBuffer scale = bench.Output(channels), bias = bench.Output(channels);
        bench.Backend.BatchNormStatistics(rows, channels, x, new BatchStatistics(mean, variance));
        bench.Backend.BatchNormFold(
            channels, bench.Put(Values.Normal(channels, 3)), bench.Put(Values.Normal(channels, 4)), mean, variance, 1e-5f, scale, bias);
        return (x, new BatchNormState(mean, variance, scale, bias, 1e-5f));
    }

    private static float[][] RunBackward(Backend backend, int rows, int channels, ReluPosition relu, bool join, bool inPlace)
    {
        using var bench = new Workbench(backend);
        long length = (long)rows * channels;
        float[] values = Values.Normal(length, 1);
        if (relu == ReluPosition.Before) values = [.. values.Select(v => Math.Max(v, 0))];
        (DeviceBuffer x, BatchNormState state) = Forward(bench, values, rows, channels);
        DeviceBuffer? y = null;
        if (join)
        {
            y = bench.OutputActivations(length);
            Activation activation = relu == ReluPosition.After ? Activation.Relu : Activation.None;
            backend.ChannelAffine(rows, channels, x, state.Scale, state.Bias, bench.PutActivations(Values.Normal(length, 5)), activation, y);
        }

        DeviceBuffer dy = bench.PutActivations(Values.Normal(length, 2));
        DeviceBuffer dx = inPlace ? x : bench.OutputActivations(length);
        DeviceBuffer dResidual = inPlace && join ? dy : bench.OutputActivations(length);
        DeviceBuffer dGamma = bench.Output(channels), dBeta = bench.Output(channels);
        backend.BatchNormBackward(rows, channels, x, state, relu, y, dy, dx, dGamma, dBeta, join ? dResidual : null);
        return join
            ? [bench.Get(dx), bench.Get(dGamma), bench.Get(dBeta), bench.Get(dResidual)]
            : [bench.Get(dx), bench.Get(dGamma), bench.Get(dBeta)];
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Merged_statistics_are_those_of_the_whole_batch(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        // Seven images for three processes: two, two and three.
        const int rowsPerImage = 5;
        var rows = new SharedRows(7, 3, rowsPerImage);
        Assert.Equal([10, 10, 15], Enumerable.Range(0, 3).Select(rows.RowsOf));
        foreach (int channels in (int[])[1, 17, 300])
        {
            float[] x = Values.Normal(rows.All * channels, 7, 2);
            // A mean of 1000 times the deviation: a difference of squares in single precision would have no correct digit.
            for (int i = 0; i < x.Length; i++) x[i] += i % channels * 2000 / channels;
            using var known = new Workbench(new ReferenceBackend());
            (float[] Mean, float[] Variance, float[] RunningMean, float[] RunningVariance) expected = Store(known, to =>
                known.Backend.BatchNormStatistics(rows.All, channels, known.PutActivations(x), to));
            var parts = new List<float>();
            for (int part = 0, first = 0; part < rows.Parts; part++)
            {
                int count = (int)rows.RowsOf(part);
                DeviceBuffer mean = known.Output(channels), variance = known.Output(channels);
                known.Backend.BatchNormStatistics(count, channels, known.PutActivations(x[(first * channels)..((first + count) * channels)]), new BatchStatistics(mean, variance));
                parts.AddRange([.. known.Get(mean), .. known.Get(variance)]);
                first += count;
            }

            using var bench = new Workbench(backend);
            (float[] Mean, float[] Variance, float[] RunningMean, float[] RunningVariance) actual = Store(bench, to =>
                backend.BatchNormMerge(rows, channels, bench.Put([.. parts]), to));
            for (int k = 0; k < channels; k++)
            {
                Assert.Equal(expected.Mean[k], actual.Mean[k], 1e-6 * Math.Abs(expected.Mean[k]) + 1e-5);
                Assert.Equal(expected.RunningMean[k], actual.RunningMean[k], 1e-6 * Math.Abs(expected.Mean[k]) + 1e-5);
                // Means in single precision: 1000 is stored with an error of 3e-5.
                Assert.Equal(expected.Variance[k], actual.Variance[k], 2e-4 * expected.Variance[k]);
                Assert.Equal(expected.RunningVariance[k], actual.RunningVariance[k], 2e-4 * expected.Variance[k]);
            }

            (float[], float[], float[], float[]) Store(Workbench on, Action<BatchStatistics> compute)
            {
                DeviceBuffer mean = on.Output(channels), variance = on.Output(channels);
                DeviceBuffer runningMean = on.Put(Values.Normal(channels, 1)), runningVariance = on.Put(Values.Normal(channels, 2));
                compute(new BatchStatistics(mean, variance, runningMean, runningVariance, 0.25f));
                return (on.Get(mean), on.Get(variance), on.Get(runningMean), on.Get(runningVariance));
            }
        }
    }

    /// <summary>Processes that hold parts of a batch, each with the error of the mean over its own images, have the errors of the whole batch
    /// if they sum what the first half gives.</summary>
    [Theory, MemberData(nameof(BackwardCases))]
    public void Parts_of_a_batch_that_share_their_sums_have_the_errors_of_the_whole(string candidate, ReluPosition relu, bool join)
    {
        using Backend backend = Candidates.Create(candidate);
        using var bench = new Workbench(backend);
        (int First, int Count, float Share)[] parts = [(0, 10, 0.25f), (10, 10, 0.25f), (20, 20, 0.5f)];
        const int rows = 40;
        foreach (int channels in (int[])[5, 64])
        {
            float[] values = Values.Normal(rows * channels, 1), errors = Values.Normal(rows * channels, 2), outputs = Values.Normal(rows * channels, 5);
            if (relu == ReluPosition.Before) values = [.. values.Select(v => Math.Max(v, 0))];
            (DeviceBuffer x, BatchNormState state) = Forward(bench, values, rows, channels);
            DeviceBuffer dx = bench.OutputActivations((long)rows * channels), dResidual = bench.OutputActivations((long)rows * channels);
            DeviceBuffer dGamma = bench.Output(channels), dBeta = bench.Output(channels);
            backend.BatchNormBackward(
                rows, channels, x, state, relu, join ? bench.PutActivations(outputs) : null, bench.PutActivations(errors), dx, dGamma, dBeta, join ? dResidual : null);
            float[] gammaSum = new float[channels], betaSum = new float[channels];
            foreach ((int first, int count, float share) in parts)
            {
                DeviceBuffer partGamma = bench.Output(channels), partBeta = bench.Output(channels);
                backend.BatchNormBackwardSums(count, channels, Of(values, first, count), state, relu, Output(first, count), Of(errors, first, count, share), partGamma, partBeta);
                foreach ((int k, float sum) in bench.Get(partGamma).Index()) gammaSum[k] += share * sum;
                foreach ((int k, float sum) in bench.Get(partBeta).Index()) betaSum[k] += share * sum;
            }

            Values.AssertClose(bench.Get(dGamma), gammaSum, rows);
            Values.AssertClose(bench.Get(dBeta), betaSum, rows);
            foreach ((int first, int count, float share) in parts)
            {
                DeviceBuffer partDx = bench.OutputActivations((long)count * channels), partDResidual = bench.OutputActivations((long)count * channels);
                backend.BatchNormBackwardErrors(
                    count, channels, Of(values, first, count), state, relu, Output(first, count), Of(errors, first, count, share), bench.Put(gammaSum), bench.Put(betaSum),
                    partDx, join ? partDResidual : null);
                int from = first * channels, to = from + count * channels;
                Values.AssertClose(bench.Get(dx)[from..to], [.. bench.Get(partDx).Select(value => share * value)], rows, stored: backend.ActivationType);
                if (join) Values.AssertSameBits(bench.Get(dResidual)[from..to], [.. bench.Get(partDResidual).Select(value => share * value)]);
            }

            DeviceBuffer? Output(int first, int count) => join ? Of(outputs, first, count) : null;

            // A share is a power of two, and divides without rounding.
            DeviceBuffer Of(float[] all, int first, int count, float share = 1) =>
                bench.PutActivations([.. all.AsSpan(first * channels, count * channels).ToArray().Select(value => value / share)]);
        }
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Bias_gradient_equals_the_reference(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        foreach ((int rows, int channels) in Sizes)
        {
            Values.AssertExact(Run(Candidates.ReferenceOf(backend)), Run(backend));

            float[] Run(Backend on)
            {
                using var bench = new Workbench(on);
                DeviceBuffer db = bench.Output(channels);
                on.BiasGradient(rows, channels, bench.PutActivations(Values.Integers((long)rows * channels, 1)), db);
                return bench.Get(db);
            }
        }
    }
}
