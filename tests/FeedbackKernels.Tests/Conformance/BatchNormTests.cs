using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Cuda;

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

    /// <summary>A batch in two parts, each with the sums of the other, has the errors of the whole batch.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Parts_of_a_batch_that_share_their_sums_have_the_errors_of_the_whole(bool isReference)
    {
        const int channels = 5, rows = 24, first = 10;
        using Backend backend = isReference ? new ReferenceBackend() : new CpuBackend(1);
        using var bench = new Workbench(backend);
        float[] values = Values.Normal(rows * channels, 1), errors = Values.Normal(rows * channels, 2);
        (DeviceBuffer x, BatchNormState state) = Forward(bench, values, rows, channels);
        float[][] whole = Run(0, rows, null);
        // What the second part adds is known from a run with nothing else to add to it.
        var known = new Recorded(rows);
        Run(first, rows, known);
        float[][] part = Run(0, first, new Recorded(rows) { Adds = known.Seen });
        Assert.All(whole[0][..(first * channels)].Zip(part[0]), pair => Assert.Equal(pair.First, pair.Second, 1e-5f));
        // The gradients are those of the part alone: processes sum them with all others.
        Assert.NotEqual(whole[1], part[1]);

        float[][] Run(int from, int to, IRowSums? others)
        {
            int count = to - from;
            float[] of(float[] all) => all[(from * channels)..(to * channels)];
            DeviceBuffer dx = bench.OutputActivations((long)count * channels), dGamma = bench.Output(channels), dBeta = bench.Output(channels);
            backend.BatchNormBackward(
                count, channels, bench.PutActivations(of(values)), state, ReluPosition.After, null, bench.PutActivations(of(errors)), dx, dGamma, dBeta, null, others);
            return [bench.Get(dx), bench.Get(dGamma), bench.Get(dBeta)];
        }
    }

    [Fact]
    public void A_device_shares_no_rows()
    {
        CudaUnderTest.Require();
        using Backend backend = CudaUnderTest.CreateBackend();
        using var bench = new Workbench(backend);
        (DeviceBuffer x, BatchNormState state) = Forward(bench, Values.Normal(12, 1), 4, 3);
        Assert.Throws<NotSupportedException>(() => backend.BatchNormBackward(
            4, 3, x, state, ReluPosition.None, null, bench.PutActivations(Values.Normal(12, 2)), bench.OutputActivations(12), bench.Output(3), bench.Output(3), null, new Recorded(8)));
    }

    private sealed class Recorded(long rows) : IRowSums
    {
        public double[]? Adds { get; init; }

        public double[] Seen { get; private set; } = [];

        public long Rows => rows;

        public void Add(Span<double> sums)
        {
            Seen = sums.ToArray();
            for (int i = 0; i < (Adds?.Length ?? 0); i++) sums[i] += Adds![i];
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
