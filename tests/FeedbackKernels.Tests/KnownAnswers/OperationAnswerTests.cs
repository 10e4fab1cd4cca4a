using System.Text.Json;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Conformance;

namespace FeedbackKernels.Tests.KnownAnswers;

/// <summary>
/// Operations compared with PyTorch. Comparisons between the backends cannot find errors in code that they share (statistics,
/// losses, windows, shapes).
/// </summary>
public class OperationAnswerTests
{
    private static readonly JsonElement Answers = Known.Read("operations");

    [Theory, ClassData(typeof(Binary32Backends))]
    public void Convolutions_and_their_gradients(string name)
    {
        using Backend backend = Binary32Backends.Create(name);
        foreach (JsonElement a in Answers.Each("convolutions"))
        {
            int[] s = a.Ints("shape");
            var shape = new ConvShape(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8]);
            using var bench = new Workbench(backend);
            DeviceBuffer x = bench.Put(a.Floats("x")), w = bench.Put(a.Floats("w")), b = bench.Put(a.Floats("b")), dy = bench.Put(a.Floats("dy"));
            DeviceBuffer y = bench.Output(shape.OutputLength), dw = bench.Output(shape.WeightLength);
            DeviceBuffer dx = bench.Output(shape.InputLength), feedback = bench.Output(shape.InputLength);
            backend.ConvForward(shape, x, w, y);
            backend.ConvFeedback(shape, dy, w, FeedbackLayout.Forward, dx);
            backend.ConvFeedback(shape, dy, b, FeedbackLayout.Feedback, feedback);
            backend.ConvWeightGradient(shape, x, dy, dw);
            Known.AssertClose(a.Floats("y"), bench.Get(y), $"{name}, {shape}: y");
            Known.AssertClose(a.Floats("dx"), bench.Get(dx), $"{name}, {shape}: dx");
            Known.AssertClose(a.Floats("feedback"), bench.Get(feedback), $"{name}, {shape}: feedback");
            Known.AssertClose(a.Floats("dw"), bench.Get(dw), $"{name}, {shape}: dw");
        }
    }

    [Theory, ClassData(typeof(Binary32Backends))]
    public void Poolings_leave_the_padding_out(string name)
    {
        using Backend backend = Binary32Backends.Create(name);
        foreach (JsonElement a in Answers.Each("poolings"))
        {
            int[] s = a.Ints("shape");
            var shape = new PoolShape(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]);
            using var bench = new Workbench(backend);
            DeviceBuffer x = bench.Put(a.Floats("x")), dy = bench.Put(a.Floats("dy")), positions = bench.PutInts(new int[shape.OutputLength]);
            DeviceBuffer max = bench.Output(shape.OutputLength), average = bench.Output(shape.OutputLength);
            DeviceBuffer maxDx = bench.Output(shape.InputLength), averageDx = bench.Output(shape.InputLength);
            backend.MaxPoolForward(shape, x, max, positions);
            backend.MaxPoolBackward(shape, dy, positions, maxDx);
            backend.AveragePoolForward(shape, x, average);
            backend.AveragePoolBackward(shape, dy, averageDx);
            Known.AssertClose(a.Floats("max"), bench.Get(max), $"{name}: maximum");
            Assert.Equal(a.Ints("positions"), bench.GetInts(positions));
            Known.AssertClose(a.Floats("maxDx"), bench.Get(maxDx), $"{name}: gradient of the maximum");
            Known.AssertClose(a.Floats("average"), bench.Get(average), $"{name}: mean");
            Known.AssertClose(a.Floats("averageDx"), bench.Get(averageDx), $"{name}: gradient of the mean");
        }
    }

    [Theory, ClassData(typeof(Binary32Backends))]
    public void Running_statistics_take_the_mean_and_the_unbiased_variance(string name)
    {
        using Backend backend = Binary32Backends.Create(name);
        foreach (JsonElement a in Answers.Each("statistics"))
        {
            using var bench = new Workbench(backend);
            int channels = a.Int("channels");
            DeviceBuffer x = bench.Put(a.Floats("x")), mean = bench.Output(channels), variance = bench.Output(channels);
            DeviceBuffer runningMean = bench.Put(a.Floats("runningMeanBefore")), runningVariance = bench.Put(a.Floats("runningVarianceBefore"));
            backend.BatchNormStatistics(a.Int("rows"), channels, x, new BatchStatistics(mean, variance, runningMean, runningVariance, a.Float("momentum")));
            foreach ((string what, DeviceBuffer buffer) in ((string, DeviceBuffer)[])[("mean", mean), ("variance", variance), ("runningMean", runningMean), ("runningVariance", runningVariance)])
                Known.AssertClose(a.Floats(what), bench.Get(buffer), $"{name}, {channels} channels: {what}");
        }
    }

    [Theory, ClassData(typeof(Binary32Backends))]
    public void Batch_norms_and_their_gradients(string name)
    {
        using Backend backend = Binary32Backends.Create(name);
        foreach (JsonElement a in Answers.Each("batchNorms"))
        {
            using var bench = new Workbench(backend);
            ReluPosition relu = Enum.Parse<ReluPosition>(a.Text("relu"), ignoreCase: true);
            bool joined = a.Flag("joined");
            int rows = a.Int("rows"), channels = a.Int("channels"), length = rows * channels;
            DeviceBuffer x = bench.Put(a.Floats("seen")), residual = bench.Put(a.Floats("residual")), dy = bench.Put(a.Floats("dy"));
            DeviceBuffer mean = bench.Output(channels), variance = bench.Output(channels), scale = bench.Output(channels), bias = bench.Output(channels);
            DeviceBuffer y = bench.Output(length), dx = bench.Output(length), dResidual = bench.Output(length);
            DeviceBuffer dGamma = bench.Output(channels), dBeta = bench.Output(channels);
            backend.BatchNormStatistics(rows, channels, x, new BatchStatistics(mean, variance));
            backend.BatchNormFold(channels, bench.Put(a.Floats("gamma")), bench.Put(a.Floats("beta")), mean, variance, 1e-5f, scale, bias);
            backend.ChannelAffine(
                rows, channels, x, scale, bias, joined ? residual : null, relu == ReluPosition.After ? Activation.Relu : Activation.None, y);
            backend.BatchNormBackward(
                rows, channels, x, new BatchNormState(mean, variance, scale, bias, 1e-5f), relu, joined ? y : null, dy, dx, dGamma, dBeta,
                joined ? dResidual : null);
            string what = $"{name}, ReLU {relu}{(joined ? ", joined" : "")}";
            Known.AssertClose(a.Floats("y"), bench.Get(y), $"{what}: y", 1e-5);
            Known.AssertClose(a.Floats("dx"), bench.Get(dx), $"{what}: dx", 1e-5);
            Known.AssertClose(a.Floats("dGamma"), bench.Get(dGamma), $"{what}: dGamma", 1e-5);
            Known.AssertClose(a.Floats("dBeta"), bench.Get(dBeta), $"{what}: dBeta", 1e-5);
            if (joined) Known.AssertClose(a.Floats("dResidual"), bench.Get(dResidual), $"{what}: dResidual", 1e-5);
        }
    }

    [Theory, ClassData(typeof(Binary32Backends))]
    public void Cross_entropies_and_their_gradients(string name)
    {
        using Backend backend = Binary32Backends.Create(name);
        foreach (JsonElement a in Answers.Each("losses"))
        {
            using var bench = new Workbench(backend);
            LossKind kind = a.Text("kind") == "softmax" ? LossKind.SoftmaxCrossEntropy : LossKind.SigmoidCrossEntropy;
            int[] labels = a.Ints("labels");
            int rows = labels.Length, classes = a.Int("classes");
            DeviceBuffer losses = bench.Output(rows), gradient = bench.Output(rows * classes);
            backend.CrossEntropy(
                kind, rows, classes, bench.Put(a.Floats("logits")), bench.PutInts(labels), a.Float("smoothing"), losses, gradient);
            Known.AssertClose(a.Floats("losses"), bench.Get(losses), $"{name}, {kind}, smoothing {a.Float("smoothing")}: losses");
            Known.AssertClose(a.Floats("gradient"), bench.Get(gradient), $"{name}, {kind}, smoothing {a.Float("smoothing")}: gradient", 2e-7);
        }
    }

    [Theory, ClassData(typeof(Binary32Backends))]
    public void Three_steps_of_SGD(string name)
    {
        using Backend backend = Binary32Backends.Create(name);
        foreach (JsonElement a in Answers.Each("optimisers"))
        {
            using var bench = new Workbench(backend);
            float[] start = a.Floats("start");
            var step = new SgdStep(a.Float("rate"), a.Float("momentum"), a.Float("decay"), a.Flag("nesterov"));
            DeviceBuffer w = bench.Put(start), velocity = bench.Put(new float[start.Length]);
            foreach ((JsonElement gradient, JsonElement after) in a.Each("gradients").Zip(a.Each("after")))
            {
                backend.SgdUpdate(start.Length, w, bench.Put(Numbers(gradient)), velocity, step);
                Known.AssertClose(Numbers(after), bench.Get(w), $"{name}, {step}");
            }

            // The same with half the gradient and twice the factor.
            using var again = new Workbench(backend);
            (w, velocity) = (again.Put(start), again.Put(new float[start.Length]));
            foreach ((JsonElement gradient, JsonElement after) in a.Each("gradients").Zip(a.Each("after")))
            {
                DeviceBuffer small = again.Put([.. Numbers(gradient).Select(g => g / 8)]), factor = again.Put([2]);
                backend.SgdUpdate(start.Length, w, small, velocity, step with { GradientScale = 4, GradientFactor = factor });
                Known.AssertClose(Numbers(after), again.Get(w), $"{name}, {step}, scaled");
            }
        }

        static float[] Numbers(JsonElement array) => [.. array.EnumerateArray().Select(v => (float)v.GetDouble())];
    }

    [Theory, ClassData(typeof(Binary32Backends))]
    public void Clipping_divides_by_the_norm_of_all_gradients(string name)
    {
        using Backend backend = Binary32Backends.Create(name);
        foreach (JsonElement a in Answers.Each("clippings"))
        {
            using var bench = new Workbench(backend);
            DeviceBuffer factor = bench.Output(1);
            backend.ClipFactor([bench.Put(a.Floats("a")), bench.Put(a.Floats("b"))], a.Float("most"), factor);
            Assert.Equal(a.Float("factor"), bench.Get(factor)[0], 1e-6f);
        }
    }

    [Theory, ClassData(typeof(Binary32Backends))]
    public void The_angle_between_W_and_B(string name)
    {
        using Backend backend = Binary32Backends.Create(name);
        using var bench = new Workbench(backend);
        JsonElement a = Answers.GetProperty("alignment");
        int[] s = a.Ints("shape");
        var shape = new ConvShape(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8]);
        WeightAlignment found = backend.Align(shape, bench.Put(a.Floats("w")), bench.Put(a.Floats("b")));
        Assert.Equal(a.Double("degrees"), found.AngleDegrees, 1e-5);
        Assert.Equal(a.Double("ratio"), found.NormRatio, 1e-6);
    }

    [Fact]
    public void Pixels_become_numbers_of_mean_zero_and_deviation_one()
    {
        JsonElement a = Answers.GetProperty("normalisation");
        int[] s = a.Ints("shape");
        byte[] pixels = [.. a.Ints("pixels").Select(p => (byte)p)];
        var set = new ImageSet(new MapShape(s[0], s[1], s[2]), 1, pixels, new int[5]);
        foreach ((NormalisationKind kind, string wanted) in ((NormalisationKind, string)[])[(NormalisationKind.Standard, "values"), (NormalisationKind.Unit, "unit")])
        {
            Normalisation normalisation = Normalisation.Of(set, kind);
            var found = new float[pixels.Length];
            normalisation.Apply(pixels, found);
            Known.AssertClose(a.Floats(wanted), found, $"{kind}");
            Known.AssertClose(a.Floats(wanted), [.. pixels.Select((p, i) => normalisation[p, i % s[2]])], $"{kind} by index");
            Known.AssertClose(a.Floats(wanted), [.. pixels.Select((p, i) => normalisation.Table[p * s[2] + i % s[2]])], $"{kind} by table");
        }
    }
}
