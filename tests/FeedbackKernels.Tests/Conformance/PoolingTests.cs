using CsCheck;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

[Trait("Category", "Conformance")]
public class PoolingTests
{
    private static readonly Gen<PoolShape> Shapes =
        from n in Gen.Int[1, 3]
        from r in Gen.Int[1, 4]
        from s in Gen.Int[1, 4]
        from stride in Gen.Int[1, 3]
        from padding in Gen.Int[0, 2]
        from h in Gen.Int[1, 12]
        from w in Gen.Int[1, 12]
        from c in Gen.OneOf(1, 3, 16, 17, 64, 70)
        where padding < Math.Min(r, s) && r <= h + 2 * padding && s <= w + 2 * padding
        select new PoolShape(n, h, w, c, r, s, stride, padding);

    [Theory, ClassData(typeof(Candidates))]
    public void Pooling_equals_the_reference(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        PoolShape[] named = [new(2, 112, 112, 64, 3, 3, 2, 1), PoolShape.Global(3, 7, 7, 33), new(2, 28, 28, 6, 2, 2, 2, 0)];
        foreach (PoolShape shape in named) Check(shape);
        Shapes.Sample(Check, iter: 60, threads: 1);

        void Check(PoolShape shape)
        {
            (float[] max, int[] positions, float[] maxDx, float[] average, float[] averageDx) expected = Run(Candidates.ReferenceOf(backend), shape);
            (float[] max, int[] positions, float[] maxDx, float[] average, float[] averageDx) actual = Run(backend, shape);
            Values.AssertExact(expected.max, actual.max);
            Assert.Equal(expected.positions, actual.positions);
            Values.AssertExact(expected.maxDx, actual.maxDx, mostZeros: 1);
            Values.AssertClose(expected.average, actual.average, shape.R * shape.S, stored: backend.ActivationType);
            Values.AssertClose(expected.averageDx, actual.averageDx, shape.R * shape.S, stored: backend.ActivationType);
        }
    }

    [Theory, ClassData(typeof(Candidates))]
    public void A_NaN_is_the_maximum_of_its_window(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        var shape = new PoolShape(1, 2, 2, 20, 2, 2, 2, 0);
        for (int place = 0; place < 4; place++)
        {
            using var bench = new Workbench(backend);
            float[] x = [.. Enumerable.Range(0, 80).Select(i => i / 20 == place ? float.NaN : i)];
            DeviceBuffer y = bench.OutputActivations(20), positions = bench.PutInts(new int[20]);
            backend.MaxPoolForward(shape, bench.PutActivations(x), y, positions);
            Assert.All(bench.Get(y), v => Assert.True(float.IsNaN(v)));
            Assert.All(bench.GetInts(positions), p => Assert.Equal(place, p));
        }
    }

    private static (float[], int[], float[], float[], float[]) Run(Backend backend, PoolShape shape)
    {
        using var bench = new Workbench(backend);
        DeviceBuffer x = bench.PutActivations(Values.Integers(shape.InputLength, 1, 40)), dy = bench.PutActivations(Values.Integers(shape.OutputLength, 2));
        DeviceBuffer max = bench.OutputActivations(shape.OutputLength), average = bench.OutputActivations(shape.OutputLength);
        DeviceBuffer maxDx = bench.OutputActivations(shape.InputLength), averageDx = bench.OutputActivations(shape.InputLength);
        DeviceBuffer positions = bench.PutInts(new int[shape.OutputLength]);
        backend.MaxPoolForward(shape, x, max, positions);
        backend.MaxPoolBackward(shape, dy, positions, maxDx);
        backend.AveragePoolForward(shape, x, average);
        backend.AveragePoolBackward(shape, dy, averageDx);
        return (bench.Get(max), bench.GetInts(positions), bench.Get(maxDx), bench.Get(average), bench.Get(averageDx));
    }
}
