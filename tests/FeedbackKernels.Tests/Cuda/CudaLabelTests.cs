using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Conformance;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>A label that is no class, where the host cannot read it: noted by the kernel, said by what is read next.</summary>
public sealed class CudaLabelTests
{
    private const int Rows = 6, Classes = 10;

    public static MatrixTheoryData<int, CudaPrecision, LossKind> Cases => new(
        [-1, Classes, int.MinValue, int.MaxValue], Enum.GetValues<CudaPrecision>(), Enum.GetValues<LossKind>());

    [Theory, MemberData(nameof(Cases))]
    public void Its_row_is_nan_and_the_next_download_names_it(int label, CudaPrecision precision, LossKind kind)
    {
        using var batch = new Batch(precision);
        batch.Run(kind);
        float[] losses = batch.Backend.Download(batch.Losses), gradient = batch.Backend.Download(batch.Gradient);
        batch.Put(4, label);
        batch.Run(kind);
        var e = Assert.Throws<ArgumentOutOfRangeException>(() => batch.Backend.Download(batch.Losses));
        Assert.Equal(("labels", label), (e.ParamName, e.ActualValue));
        Assert.Contains("row 4 ", e.Message);
        Assert.Contains("0 to 9", e.Message);

        // Said once; and the other rows are what they were.
        Array.Fill(losses, float.NaN, 4, 1);
        Array.Fill(gradient, float.NaN, 4 * Classes, Classes);
        Assert.Equal(losses, batch.Backend.Download(batch.Losses));
        Assert.Equal(gradient, batch.Backend.Download(batch.Gradient));
        batch.Put(4, 0);
        batch.Run(kind);
        Assert.All(batch.Backend.Download(batch.Losses), v => Assert.True(float.IsFinite(v)));
    }

    [Fact]
    public void Of_several_the_first_of_the_first_batch_is_named()
    {
        using var batch = new Batch(CudaPrecision.Fp32);
        batch.Put(5, 77);
        batch.Put(3, -7);
        batch.Run();
        batch.Put(3, 1);
        batch.Put(0, 11);
        batch.Run();
        batch.Run();
        Assert.Contains("row 3 ", Assert.Throws<ArgumentOutOfRangeException>(() => batch.Backend.Compare(Rows, batch.Losses, batch.Losses)).Message);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_readback_says_it_of_its_own_step_also_where_steps_are_graphs(bool graphs)
    {
        using var batch = new Batch(CudaPrecision.Bf16, graphs);
        using Readback first = batch.Backend.CreateReadback(Rows, "1"), second = batch.Backend.CreateReadback(Rows, "2");
        using Readback third = batch.Backend.CreateReadback(Rows, "3");
        Readback[] readbacks = [first, second, third];
        using EmulatedDriver.Setting? late = CudaUnderTest.Deferred();
        var losses = new float[Rows];
        for (int step = 0; step < 2; step++) Step(step, step == 1 ? -1 : 2);
        readbacks[0].Read<float>(losses);
        Assert.All(losses, v => Assert.True(float.IsFinite(v)));
        // Again and again, and without numbers.
        for (int i = 0; i < 2; i++)
            Assert.Contains("row 2 ", Assert.Throws<ArgumentOutOfRangeException>(() => readbacks[1].Read<float>(losses)).Message);
        Assert.All(losses, v => Assert.True(float.IsFinite(v)));
        Step(2, 3);
        readbacks[2].Read<float>(losses);
        Assert.All(losses, v => Assert.True(float.IsFinite(v)));
        Assert.Equal(graphs ? 3 : 0, batch.Backend.Launched.Graphs);

        void Step(int step, int label)
        {
            batch.Put(2, label);
            using StepScope scope = batch.Backend.BeginStep();
            for (int i = 0; i < 9; i++) batch.Backend.Fill(batch.Losses, i);
            batch.Run();
            scope.Complete();
            readbacks[step].Queue(batch.Losses, Rows);
        }
    }

    [Fact]
    [EmulatedOnly("counts the calls that the driver gets")]
    public void It_is_asked_for_only_where_losses_have_been_computed_since()
    {
        using var batch = new Batch(CudaPrecision.Fp32);
        batch.Run();
        // The first download makes its blocks.
        batch.Backend.Download(batch.Logits);
        long without = CallsOfADownload();
        batch.Run();
        Assert.Equal(without + 1, CallsOfADownload());
        Assert.Equal(without, CallsOfADownload());

        long CallsOfADownload()
        {
            long before = EmulatedDriver.Get("calls");
            batch.Backend.Download(batch.Logits);
            return EmulatedDriver.Get("calls") - before;
        }
    }

    [Fact]
    public void A_readback_says_it_when_its_backend_is_gone()
    {
        var batch = new Batch(CudaPrecision.Fp32);
        using Readback readback = batch.Backend.CreateReadback(Rows, "losses");
        batch.Put(0, 10);
        batch.Run();
        readback.Queue(batch.Losses, Rows);
        batch.Dispose();
        Assert.Throws<ArgumentOutOfRangeException>(() => readback.Read<float>(new float[Rows]));
    }

    [Fact]
    public void Positions_outside_an_image_write_nothing_outside()
    {
        foreach (CudaPrecision precision in Enum.GetValues<CudaPrecision>())
        {
            using CudaBackend backend = CudaUnderTest.CreateBackend(precision: precision);
            using var bench = new Workbench(backend);
            var shape = new PoolShape(2, 4, 4, 2, 2, 2, 2, 0);
            DeviceBuffer dy = bench.PutActivations(Values.Integers(shape.OutputLength, 1)), dx = bench.OutputActivations(shape.InputLength);
            int[] positions = [.. Enumerable.Range(0, (int)shape.OutputLength).Select(i => (i % 4) switch { 0 => -1, 1 => 16, 2 => int.MinValue, _ => int.MaxValue })];
            backend.MaxPoolBackward(shape, dy, bench.PutInts(positions), dx);
            Assert.All(bench.Get(dx), v => Assert.Equal(0, v));
        }
    }

    /// <summary>Logits with labels and where losses go.</summary>
    private sealed class Batch : IDisposable
    {
        private readonly int[] _labels = [0, 1, 2, 3, 4, 9];
        private readonly DeviceBuffer _given;

        public Batch(CudaPrecision precision, bool graphs = true)
        {
            Backend = CudaUnderTest.CreateBackend(precision: precision, graphs: graphs);
            Logits = Backend.Allocate(Rows * Classes, "logits", Backend.ActivationType);
            Gradient = Backend.Allocate(Rows * Classes, "gradient", Backend.ActivationType);
            Losses = Backend.Allocate(Rows, "losses");
            _given = Backend.Allocate(Rows, "labels", ElementType.Int32);
            Backend.UploadFloats(Values.Normal(Rows * Classes, 1), Logits);
            Backend.Upload<int>(_labels, _given);
        }

        public CudaBackend Backend { get; }

        public DeviceBuffer Logits { get; }

        public DeviceBuffer Losses { get; }

        public DeviceBuffer Gradient { get; }

        public void Put(int row, int label)
        {
            _labels[row] = label;
            Backend.Upload<int>(_labels, _given);
        }

        public void Run(LossKind kind = LossKind.SoftmaxCrossEntropy) =>
            Backend.CrossEntropy(kind, Rows, Classes, Logits, _given, 0.1f, Losses, Gradient);

        public void Dispose()
        {
            foreach (DeviceBuffer buffer in (DeviceBuffer[])[Logits, Losses, Gradient, _given]) buffer.Dispose();
            Backend.Dispose();
        }
    }
}
