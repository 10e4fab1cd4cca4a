using CsCheck;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

[Trait("Category", "Conformance")]
public class ConvolutionTests
{
    // Odd sizes, one-pixel maps, single channels, strides that do not divide, padding larger than needed, channel counts
    // on both sides of every vector and panel width.
    internal static readonly Gen<ConvShape> Shapes =
        from n in Gen.Int[1, 3]
        from r in Gen.Int[1, 5]
        from s in Gen.Int[1, 5]
        from stride in Gen.Int[1, 3]
        from padding in Gen.Int[0, 4]
        from h in Gen.Int[1, 17]
        from w in Gen.Int[1, 33]
        from c in Gen.OneOf(1, 2, 3, 4, 8, 15, 16, 17, 32, 33)
        from k in Gen.OneOf(1, 3, 4, 8, 10, 16, 17, 31, 32, 48, 65)
        where r <= h + 2 * padding && s <= w + 2 * padding
        select new ConvShape(n, h, w, c, k, r, s, stride, padding);

    public static TheoryData<string, string> NamedCases()
    {
        var data = new TheoryData<string, string>();
        foreach (string shape in (string[])[.. ShapeList.Keys])
        {
            foreach (string candidate in new Candidates().Select(c => c.Data)) data.Add(candidate, shape);
        }

        // Integers of few bits are exact on tensor cores that truncate, too; a few layers with long sums, strides and tails.
        foreach (string candidate in Candidates.WithTruncation().Except(new Candidates().Select(c => c.Data)))
        {
            foreach (string shape in (string[])["resnet20 strided", "classifier", "resnet18 7x7 map", "many channels, 1x1", "channel groups of 16 and 17"])
                data.Add(candidate, shape);
        }

        return data;
    }

    // N H W C K R S stride padding: layers of real nets (small batches), and corners.
    internal static readonly Dictionary<string, ConvShape> ShapeList = new()
    {
        ["resnet20 first"] = new(2, 32, 32, 3, 16, 3, 3, 1, 1),
        ["resnet20 16 channels"] = new(2, 32, 32, 16, 16, 3, 3, 1, 1),
        ["resnet20 strided"] = new(2, 32, 32, 16, 32, 3, 3, 2, 1),
        ["resnet20 projection"] = new(2, 16, 16, 32, 64, 1, 1, 2, 0),
        ["resnet20 64 channels"] = new(2, 8, 8, 64, 64, 3, 3, 1, 1),
        ["classifier"] = ConvShape.Linear(37, 64, 10),
        ["resnet18 stem"] = new(1, 31, 29, 3, 64, 7, 7, 2, 3),
        ["resnet18 7x7 map"] = new(1, 7, 7, 128, 96, 3, 3, 1, 1),
        ["resnet50 1x1"] = new(2, 14, 14, 64, 256, 1, 1, 1, 0),
        ["many channels, 1x1"] = new(2, 5, 6, 300, 560, 1, 1, 1, 0),
        ["from 1024 channels, 1x1"] = new(1, 4, 5, 1024, 72, 1, 1, 1, 0),
        ["to 1024 channels, 1x1"] = new(1, 4, 5, 72, 1024, 1, 1, 1, 0),
        ["from 512 channels, strided 1x1"] = new(2, 7, 5, 512, 72, 1, 1, 2, 0),
        ["many channels, strided 1x1"] = new(3, 7, 7, 290, 33, 1, 1, 2, 0),
        ["many channels, 3x3"] = new(2, 5, 4, 272, 136, 3, 3, 1, 1),
        ["one pixel"] = new(5, 1, 1, 17, 33, 3, 3, 1, 1),
        ["one channel"] = new(3, 9, 11, 1, 1, 3, 3, 1, 1),
        ["filter larger than map"] = new(2, 3, 2, 5, 7, 5, 5, 1, 2),
        ["padding beyond the filter"] = new(2, 4, 4, 3, 5, 2, 2, 1, 4),
        ["channel groups of 16 and 17"] = new(3, 15, 27, 33, 65, 5, 4, 3, 2),
        ["channel groups of 32 and 33"] = new(1, 30, 64, 65, 48, 3, 3, 3, 1),
        ["strided 1x1, odd map"] = new(3, 7, 9, 24, 40, 1, 1, 3, 0),
        ["stride beyond the filter"] = new(2, 11, 13, 3, 17, 2, 2, 3, 0),
        ["odd height, stride 2"] = new(2, 15, 15, 16, 16, 3, 3, 2, 1),
        ["stride larger than the map"] = new(2, 2, 2, 4, 4, 1, 1, 5, 0),
        ["strided 1x1, rows in parts"] = new(1, 14, 23, 16, 17, 1, 1, 2, 0),
        ["strided 1x1, one column"] = new(3, 14, 1, 32, 31, 1, 1, 2, 0),
        ["large map, 1x1"] = new(1, 256, 257, 32, 4, 1, 1, 1, 0),
        ["large map, strided 1x1"] = new(1, 181, 183, 32, 8, 1, 1, 2, 0),
        ["long row"] = new(1, 1, 300, 3, 4, 1, 3, 1, 1),
    };

    [Theory, MemberData(nameof(NamedCases))]
    public void Named_shapes_equal_the_reference(string candidate, string name)
    {
        using Backend backend = Candidates.Create(candidate);
        AllPassesEqualTheReference(backend, ShapeList[name]);
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Random_shapes_equal_the_reference(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        Shapes.Sample(shape => AllPassesEqualTheReference(backend, shape), iter: 100, threads: 1);
    }

    [Theory, ClassData(typeof(TensorCoreCandidates))]
    public void Random_values_stay_within_rounding(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        AssertWithinRounding(backend, new ConvShape(2, 13, 14, 48, 40, 3, 3, 1, 1), Values.Normal);
    }

    internal static void AssertWithinRounding(Backend backend, ConvShape shape, Func<long, uint, float, float[]> values)
    {
        Results expected = RunAll(Candidates.ReferenceOf(backend), shape, values), actual = RunAll(backend, shape, values);
        int feedbackTerms = shape.R * shape.S * shape.K;
        Values.AssertClose(expected.Dw, actual.Dw, shape.N * shape.P * shape.Q);
        Values.AssertClose(expected.Y, actual.Y, shape.FanIn, stored: backend.ActivationType);
        Values.AssertClose(expected.Dx, actual.Dx, feedbackTerms, stored: backend.ActivationType);
        Values.AssertClose(expected.DxSum, actual.DxSum, feedbackTerms, stored: backend.ActivationType);
        Values.AssertClose(expected.DxTransposed, actual.DxTransposed, feedbackTerms, stored: backend.ActivationType);
    }

    // Bits are equal on tensor cores that truncate as well: the threads of a block only share work out.
    [Theory, ClassData(typeof(TensorCoreCandidates))]
    public void Threads_do_not_change_a_bit(string candidate)
    {
        var shape = new ConvShape(5, 14, 14, 33, 47, 3, 3, 2, 1);
        using Backend one = Candidates.Create(candidate, threads: 1), three = Candidates.Create(candidate, threads: 3);
        Results expected = RunAll(one, shape, Values.Normal);
        for (int repeat = 0; repeat < 3; repeat++)
        {
            Results actual = RunAll(three, shape, Values.Normal);
            expected.AssertSameBits(actual);
        }
    }

    // The same products in the same blocks, and within a block the order does not matter where tensor cores truncate.
    [Theory, ClassData(typeof(TensorCoreCandidates))]
    public void Feedback_reads_W_and_its_transpose_to_the_same_bits(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        AssertBothLayoutsGiveTheSameBits(backend, new ConvShape(3, 9, 10, 19, 35, 3, 3, 2, 1));
    }

    internal static void AssertBothLayoutsGiveTheSameBits(Backend backend, ConvShape shape)
    {
        using var bench = new Workbench(backend);
        DeviceBuffer dy = bench.PutActivations(Values.Normal(shape.OutputLength, 1)), w = bench.Put(Values.Normal(shape.WeightLength, 2));
        DeviceBuffer b = bench.Output(shape.WeightLength);
        DeviceBuffer throughW = bench.OutputActivations(shape.InputLength), throughB = bench.OutputActivations(shape.InputLength);
        backend.TransposedCombine(shape, 1, w, 0, default, b);
        backend.ConvFeedback(shape, dy, w, FeedbackLayout.Forward, throughW);
        backend.ConvFeedback(shape, dy, b, FeedbackLayout.Feedback, throughB);
        Values.AssertSameBits(bench.Get(throughW), bench.Get(throughB));
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Epilogue_equals_the_reference(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        foreach (ConvShape shape in (ConvShape[])[new(2, 9, 10, 5, 19, 3, 3, 1, 1), new(2, 8, 8, 16, 32, 1, 1, 1, 0), ConvShape.Linear(40, 7, 70)])
        {
            foreach (Activation activation in Enum.GetValues<Activation>())
            {
                float[] expected = RunEpilogue(Candidates.ReferenceOf(backend), shape, activation), actual = RunEpilogue(backend, shape, activation);
                if (activation == Activation.Sigmoid) Values.AssertClose(expected, actual, 64, stored: backend.ActivationType);
                else Values.AssertExact(expected, actual);
            }
        }
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Statistics_in_the_epilogue_equal_those_of_the_output(string candidate)
    {
        var shape = new ConvShape(3, 12, 13, 8, 37, 3, 3, 1, 1);
        using Backend backend = Candidates.Create(candidate);
        using var bench = new Workbench(backend);
        DeviceBuffer x = bench.PutActivations(Values.Normal(shape.InputLength, 1)), w = bench.Put(Values.Normal(shape.WeightLength, 2));
        // A bias of 1000: sums of squares that were not shifted would have no correct digit left in the variance.
        DeviceBuffer bias = bench.Put([.. Enumerable.Repeat(1000f, shape.K)]), y = bench.OutputActivations(shape.OutputLength);
        DeviceBuffer mean = bench.Output(shape.K), variance = bench.Output(shape.K);
        backend.ConvForward(shape, x, w, y, new ConvEpilogue(Bias: bias, Statistics: new BatchStatistics(mean, variance)));

        using var reference = new Workbench(Candidates.ReferenceOf(backend));
        DeviceBuffer same = reference.PutActivations(bench.Get(y)), wantedMean = reference.Output(shape.K), wantedVariance = reference.Output(shape.K);
        reference.Backend.BatchNormStatistics(shape.OutputLength / shape.K, shape.K, same, new BatchStatistics(wantedMean, wantedVariance));
        Values.AssertClose(reference.Get(wantedMean), bench.Get(mean), 1);
        Values.AssertClose(reference.Get(wantedVariance), bench.Get(variance), 64);
    }

    [Theory, ClassData(typeof(TensorCoreCandidates))]
    public void Masters_and_their_copies_give_the_same_bits(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        var shape = new ConvShape(2, 9, 10, 24, 35, 3, 3, 2, 1);
        using var bench = new Workbench(backend);
        DeviceBuffer x = bench.PutActivations(Values.Normal(shape.InputLength, 1)), dy = bench.PutActivations(Values.Normal(shape.OutputLength, 2));
        DeviceBuffer master = bench.Put(Values.Normal(shape.WeightLength, 3)), copy = bench.OutputActivations(shape.WeightLength);
        backend.Convert(shape.WeightLength, master, copy);
        Values.AssertSameBits(Run(master), Run(copy));

        float[] Run(DeviceBuffer w)
        {
            DeviceBuffer y = bench.OutputActivations(shape.OutputLength), dx = bench.OutputActivations(shape.InputLength);
            DeviceBuffer throughW = bench.OutputActivations(shape.InputLength), correlation = bench.Output(shape.WeightLength);
            backend.ConvForward(shape, x, w, y);
            backend.ConvFeedback(shape, dy, w, FeedbackLayout.Feedback, dx);
            backend.ConvFeedback(shape, dy, w, FeedbackLayout.Forward, throughW);
            backend.MirrorCorrelate(new MirrorStep(shape, new MirrorNoise(NoiseKind.Sign, shape.FanIn, 1, 5, 1), 3, 20), w, correlation);
            return [.. bench.Get(y), .. bench.Get(dx), .. bench.Get(throughW), .. bench.Get(correlation)];
        }
    }

    [Theory, ClassData(typeof(TensorCoreCandidates))]
    public void Logits_may_be_Float32(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        // Widths that a thread takes 16 bytes of, and others.
        foreach (ConvShape shape in (ConvShape[])[ConvShape.Linear(37, 64, 10), ConvShape.Linear(5, 33, 24), ConvShape.Linear(9, 48, 16), ConvShape.Linear(9, 9, 9)])
        {
            Values.AssertExact(RunEpilogue(Candidates.ReferenceOf(backend), shape, Activation.None, ElementType.Float32), RunEpilogue(backend, shape, Activation.None, ElementType.Float32));
        }
    }

    internal static float[] RunEpilogue(Backend backend, ConvShape shape, Activation activation, ElementType? result = null)
    {
        using var bench = new Workbench(backend);
        ElementType type = result ?? backend.ActivationType;
        DeviceBuffer y = bench.Output(shape.OutputLength, type);
        backend.ConvForward(
            shape,
            bench.PutActivations(Values.Integers(shape.InputLength, 1)),
            bench.Put(Values.Integers(shape.WeightLength, 2)),
            y,
            new ConvEpilogue(
                bench.Put(Values.Integers(shape.K, 3)), bench.Put(Values.Integers(shape.K, 4)),
                bench.Put(Values.Integers(shape.OutputLength, 5), type), activation));
        return bench.Get(y);
    }

    /// <summary>An epilogue of scale, bias and residual, by every activation, into each type.</summary>
    internal static void EpilogueEqualsTheReference(Backend backend, ConvShape shape, params ReadOnlySpan<ElementType> results)
    {
        foreach (ElementType result in results)
        {
            foreach (Activation activation in (Activation[])[Activation.None, Activation.Relu])
                Values.AssertExact(RunEpilogue(Candidates.ReferenceOf(backend), shape, activation, result), RunEpilogue(backend, shape, activation, result));
        }
    }

    /// <summary>Statistics in the epilogue, into each type.</summary>
    internal static void StatisticsAreThoseOfTheOutput(Backend backend, ConvShape shape, params ReadOnlySpan<ElementType> results)
    {
        using var bench = new Workbench(backend);
        DeviceBuffer x = bench.PutActivations(Values.Normal(shape.InputLength, 1)), w = bench.Put(Values.Normal(shape.WeightLength, 2));
        // Sums of squares that were not shifted would have no correct digit left in the variance.
        DeviceBuffer bias = bench.Put([.. Enumerable.Repeat(1000f, shape.K)]);
        foreach (ElementType result in results)
        {
            DeviceBuffer y = bench.Output(shape.OutputLength, result), mean = bench.Output(shape.K), variance = bench.Output(shape.K);
            backend.ConvForward(shape, x, w, y, new ConvEpilogue(Bias: bias, Statistics: new BatchStatistics(mean, variance)));
            using var reference = new Workbench(new ReferenceBackend());
            DeviceBuffer same = reference.Put(bench.Get(y)), wantedMean = reference.Output(shape.K), wantedVariance = reference.Output(shape.K);
            reference.Backend.BatchNormStatistics(shape.OutputLength / shape.K, shape.K, same, new BatchStatistics(wantedMean, wantedVariance));
            Values.AssertClose(reference.Get(wantedMean), bench.Get(mean), 1);
            Values.AssertClose(reference.Get(wantedVariance), bench.Get(variance), 64);
        }
    }

    internal static void AllPassesEqualTheReference(Backend backend, ConvShape shape)
    {
        Results expected = RunAll(Candidates.ReferenceOf(backend), shape, (n, s, _) => Values.Integers(n, s));
        Results actual = RunAll(backend, shape, (n, s, _) => Values.Integers(n, s));
        // Padding beyond the filter makes outputs that are zero by right, a map smaller than the filter such gradients.
        bool zerosAreRight = shape.Padding >= Math.Min(shape.R, shape.S) || shape.Stride > Math.Min(shape.R, shape.S)
            || shape.H < shape.R || shape.W < shape.S;
        double mostZeros = zerosAreRight ? 1 : 0.9;
        Values.AssertExact(expected.Y, actual.Y, mostZeros);
        Values.AssertExact(expected.Dx, actual.Dx, mostZeros);
        Values.AssertExact(expected.DxSum, actual.DxSum, mostZeros);
        Values.AssertExact(expected.DxTransposed, actual.DxTransposed, mostZeros);
        Values.AssertExact(expected.Dw, actual.Dw, mostZeros);
    }

    internal static Results RunAll(Backend backend, ConvShape shape, Func<long, uint, float, float[]> values)
    {
        using var bench = new Workbench(backend);
        DeviceBuffer x = bench.PutActivations(values(shape.InputLength, 1, 1)), w = bench.Put(values(shape.WeightLength, 2, 1));
        DeviceBuffer b = bench.Put(values(shape.WeightLength, 3, 1)), dy = bench.PutActivations(values(shape.OutputLength, 4, 1));
        DeviceBuffer y = bench.OutputActivations(shape.OutputLength), dx = bench.OutputActivations(shape.InputLength), dw = bench.Output(shape.WeightLength);
        DeviceBuffer dxSum = bench.PutActivations(values(shape.InputLength, 5, 1)), dxTransposed = bench.OutputActivations(shape.InputLength);
        DeviceBuffer mean = bench.Output(shape.K), variance = bench.Output(shape.K);
        backend.ConvForward(shape, x, w, y, new ConvEpilogue(Statistics: new BatchStatistics(mean, variance)));
        backend.ConvFeedback(shape, dy, b, FeedbackLayout.Feedback, dx);
        backend.ConvFeedback(shape, dy, b, FeedbackLayout.Feedback, dxSum, accumulate: true);
        backend.ConvFeedback(shape, dy, w, FeedbackLayout.Forward, dxTransposed);
        backend.ConvWeightGradient(shape, x, dy, dw);
        return new Results(
            bench.Get(y), bench.Get(dx), bench.Get(dxSum), bench.Get(dxTransposed), bench.Get(dw), bench.Get(mean), bench.Get(variance));
    }

    internal sealed record Results(
        float[] Y, float[] Dx, float[] DxSum, float[] DxTransposed, float[] Dw, float[] Mean, float[] Variance)
    {
        public void AssertSameBits(Results actual)
        {
            Values.AssertSameBits(Y, actual.Y);
            Values.AssertSameBits(Dx, actual.Dx);
            Values.AssertSameBits(DxSum, actual.DxSum);
            Values.AssertSameBits(DxTransposed, actual.DxTransposed);
            Values.AssertSameBits(Dw, actual.Dw);
            Values.AssertSameBits(Mean, actual.Mean);
            Values.AssertSameBits(Variance, actual.Variance);
        }
    }
}
