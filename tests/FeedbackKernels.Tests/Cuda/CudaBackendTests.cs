using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Tests.Conformance;
using FeedbackKernels.Tests.Models;
using FeedbackKernels.Tests.Training;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>What the conformance tests do not see of the CUDA backend: schedules, memory, training.</summary>
public class CudaBackendTests
{
    [Theory]
    [InlineData("wm", CudaPrecision.Fp32)]
    [InlineData("kp", CudaPrecision.Fp32)]
    [InlineData("ss-batch", CudaPrecision.Fp32)]
    [InlineData("wm", CudaPrecision.Bf16)]
    [InlineData("kp", CudaPrecision.Bf16)]
    public void The_order_of_threads_changes_no_bit(string rule, CudaPrecision precision)
    {
        CudaUnderTest.Require();
        float[][] results = [.. ((long[])[1, 2, 3]).Select(seed =>
        {
            using EmulatedDriver.Setting? order = CudaUnderTest.Set("seed", seed, 1);
            using CudaBackend backend = CudaUnderTest.CreateBackend(precision: precision);
            using var model = new Model(backend, TestNets.Residual(), TrainerTests.RulesOf(rule), 6, seed: 7);
            var sgd = new Sgd(model, TrainerTests.Options(1) with { Batch = 6 });
            for (int step = 0; step < 3; step++)
            {
                TestNets.LoadBatch(model, 6, (uint)step);
                TestNets.Step(model, 6);
                sgd.Update(step, 0.05f);
            }

            return TestNets.Weights(model);
        })];
        Assert.All(results[0], v => Assert.True(float.IsFinite(v)));
        Values.AssertSameBits(results[0], results[1]);
        Values.AssertSameBits(results[0], results[2]);
    }

    [Theory]
    [InlineData(CudaPrecision.Fp32)]
    [InlineData(CudaPrecision.Bf16)]
    public void A_step_allocates_nothing_once_it_has_run(CudaPrecision precision)
    {
        CudaUnderTest.Require();
        using CudaBackend backend = CudaUnderTest.CreateBackend(precision: precision);
        using var model = new Model(backend, TestNets.Residual(), TrainerTests.RulesOf("wm"), 6, seed: 7);
        var sgd = new Sgd(model, TrainerTests.Options(1) with { Batch = 6, ClipNorm = 1 });
        for (int step = 0; step < 2; step++) Step(step);
        long allocations = backend.Allocations, launches = backend.Launched.Kernels;
        CudaUnderTest.Counter counted = CudaUnderTest.Count("allocations");
        for (int step = 2; step < 4; step++) Step(step);
        Assert.Equal(allocations, backend.Allocations);
        counted.AssertGrewBy(0);
        Assert.True(backend.Launched.Kernels > launches + 100);

        void Step(int step)
        {
            TestNets.LoadBatch(model, 6, (uint)step);
            TestNets.Step(model, 6);
            sgd.Update(step, 0.05f);
        }
    }

    [Theory]
    [InlineData("bp")]
    [InlineData("fa")]
    [InlineData("ss")]
    [InlineData("wm")]
    [InlineData("kp-early")]
    [InlineData("dfa")]
    public void Training_follows_the_cpu(string rule)
    {
        CudaUnderTest.Require();
        double[] cpu = Losses(new CpuBackend(exact: true)), cuda = Losses(CudaUnderTest.CreateBackend());
        // Both round differently at each sum. The difference grows from step to step: a part in 10^5 of a loss at the
        // first, and never more than 2 in 100 over these.
        Assert.Equal(cpu[0], cuda[0], 1e-5 * cpu[0]);
        for (int step = 0; step < cpu.Length; step++) Assert.Equal(cpu[step], cuda[step], 0.02 * cpu[step]);
        Assert.True(cpu[^1] < cpu[0]);

        double[] Losses(Backend backend)
        {
            using (backend)
            {
                using var model = new Model(backend, TestNets.Residual(), TrainerTests.RulesOf(rule), 20, seed: 7);
                var sgd = new Sgd(model, TrainerTests.Options(1) with { Batch = 20 });
                return [.. Enumerable.Range(0, 12).Select(step =>
                {
                    TestNets.LoadBatch(model, 20, (uint)(step % 2));
                    double loss = TestNets.Step(model, 20);
                    sgd.Update(step, 0.05f);
                    return loss;
                })];
            }
        }
    }

    [Theory]
    [InlineData(CudaPrecision.Fp32)]
    [InlineData(CudaPrecision.Bf16)]
    public void Addresses_that_are_no_multiple_of_16_give_the_same_bits(CudaPrecision precision)
    {
        CudaUnderTest.Require();
        using CudaBackend backend = CudaUnderTest.CreateBackend(precision: precision);
        foreach (ConvShape shape in (ConvShape[])[new(2, 7, 6, 8, 12, 3, 3, 2, 1), ConvShape.Linear(9, 16, 24), new(1, 5, 5, 8, 16, 3, 3, 1, 1)])
        {
            float[][] aligned = Run(shape, 0), odd = Run(shape, 1);
            for (int i = 0; i < aligned.Length; i++) Values.AssertSameBits(aligned[i], odd[i]);
        }

        float[][] Run(ConvShape shape, int offset)
        {
            var buffers = new List<DeviceBuffer>();
            ElementType type = backend.ActivationType;
            DeviceBuffer x = Put(Values.Normal(shape.InputLength, 1), type), w = Put(Values.Normal(shape.WeightLength, 2)), dy = Put(Values.Normal(shape.OutputLength, 3), type);
            DeviceBuffer y = Put(new float[shape.OutputLength], type), dx = Put(new float[shape.InputLength], type), dw = Put(new float[shape.WeightLength]);
            DeviceBuffer copy = Put(new float[shape.WeightLength], type), throughW = Put(new float[shape.InputLength], type), correlation = Put(new float[shape.WeightLength]), scale = Put(Values.Normal(shape.K, 4));
            backend.Convert(shape.WeightLength, w, copy);
            backend.ConvForward(shape, x, copy, y, new ConvEpilogue(scale, scale, dy, Activation.Relu));
            backend.ConvFeedback(shape, dy, copy, FeedbackLayout.Feedback, dx);
            backend.ConvFeedback(shape, dy, copy, FeedbackLayout.Forward, throughW);
            backend.ConvWeightGradient(shape, x, dy, dw);
            backend.MirrorCorrelate(new MirrorStep(shape, new MirrorNoise(NoiseKind.Gaussian, shape.FanIn, 1, 5, 1), 3, 20), w, correlation);
            backend.ChannelAffine(shape.OutputLength / shape.K, shape.K, y, scale, scale, dy, Activation.None, y);
            backend.SgdUpdate(shape.WeightLength, w, dw, correlation, new SgdStep(0.1f, 0.9f));
            float[][] results = [.. ((DeviceBuffer[])[y, dx, throughW, dw, correlation, w]).Select(b => backend.Download(b))];
            foreach (DeviceBuffer buffer in buffers) buffer.Dispose();
            return results;

            DeviceBuffer Put(float[] values, ElementType type = ElementType.Float32)
            {
                DeviceBuffer whole = backend.Allocate(values.Length + offset, "test", type), part = whole.Slice(offset, values.Length);
                buffers.Add(whole);
                backend.UploadFloats(values, part);
                return part;
            }
        }
    }

    [Fact]
    public void Memory_and_streams_of_the_caller_are_used()
    {
        CudaUnderTest.Require();
        using CudaBackend owner = CudaUnderTest.CreateBackend(), guest = CudaUnderTest.CreateBackend(owner.Stream);
        Assert.Equal(owner.Stream, guest.Stream);
        using DeviceBuffer x = owner.Allocate(100, "x"), y = owner.Allocate(100, "y");
        owner.Fill(x, -3);
        BufferView foreignX = BufferView.FromPointer(x.Address, 100), foreignY = BufferView.FromPointer(y.Address, 100);
        guest.ActivationForward(Activation.Relu, 50, foreignX, foreignY);
        guest.Dispose();
        owner.Fill(x, 7);
        owner.ActivationForward(Activation.Relu, 20, x, y);
        owner.Synchronize();
        float[] result = owner.Download(y);
        Assert.All(result[..20], v => Assert.Equal(7, v));
        Assert.All(result[20..], v => Assert.Equal(0, v));
        Assert.Throws<NotSupportedException>(() => x.HostSpan<float>());
    }

    [Fact]
    public void Buffers_may_outlive_their_backend()
    {
        CudaUnderTest.Require();
        CudaBackend backend = CudaUnderTest.CreateBackend();
        DeviceBuffer buffer = backend.Allocate(1000, "late");
        CudaUnderTest.Counter releases = CudaUnderTest.Count("releases");
        backend.Dispose();
        buffer.Dispose();
        releases.AssertGrewBy(1);
        Assert.Throws<ObjectDisposedException>(() => backend.Allocate(10, "too late"));
    }

    [Fact]
    public void A_disposed_backend_refuses_work_while_a_buffer_is_alive()
    {
        CudaUnderTest.Require();
        CudaBackend backend = CudaUnderTest.CreateBackend();
        using DeviceBuffer x = backend.Allocate(64, "x"), y = backend.Allocate(8, "y");
        backend.Dispose();
        CudaUnderTest.Counter allocations = CudaUnderTest.Count("allocations");
        Assert.Throws<ObjectDisposedException>(() => backend.Fill(x, 1));
        Assert.Throws<ObjectDisposedException>(() => backend.BiasGradient(8, 8, x, y));
        Assert.Throws<ObjectDisposedException>(() => backend.Upload<float>(new float[8], x));
        Assert.Throws<ObjectDisposedException>(() => backend.Download(x));
        Assert.Throws<ObjectDisposedException>(() => backend.Allocate(10, "too late"));
        Assert.Throws<ObjectDisposedException>(backend.Synchronize);
        allocations.AssertGrewBy(0);
        backend.Dispose();
    }

    [Fact]
    public void Each_pass_says_which_kernel_serves_it()
    {
        CudaUnderTest.Require();
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        if (CudaUnderTest.IsEmulated) Assert.StartsWith("emulated device, compute capability 8.0, 4 multiprocessors, ", backend.Description);
        Assert.Matches($"compute capability [0-9.]+, .* device 0, kernels for {backend.Architecture}.*, products and activations in fp32, driver .* for CUDA 1[2-9]", backend.Description);
        if (CudaUnderTest.IsEmulated) Assert.EndsWith("for CUDA 12.4", backend.Description);
        Assert.Contains("4 classes", backend.Explain(new ConvShape(2, 8, 8, 4, 4, 3, 3, 2, 1), ConvPass.Feedback).Reason);
        Assert.Contains("split-K", backend.Explain(new ConvShape(9, 32, 32, 4, 4, 3, 3, 1, 1), ConvPass.WeightGradient).Algorithm);
    }
}
