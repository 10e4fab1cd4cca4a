using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Storage;
using FeedbackKernels.Tests.Conformance;
using FeedbackKernels.Tests.Models;
using FeedbackKernels.Tests.Training;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>
/// What <c>--precision bf16</c> costs against binary32, and that all of training takes it. That the kernels compute what the
/// definition says of bf16 operands is the conformance tests' business, to the bit where sums are exact.
/// </summary>
public class TensorCoreTests
{
    [Fact]
    public void Results_are_off_from_those_in_binary32_by_the_rounding_to_bf16_and_no_more()
    {
        var shape = new ConvShape(2, 13, 14, 48, 40, 3, 3, 1, 1);
        using CudaBackend backend = Create();
        ConvolutionTests.Results expected = ConvolutionTests.RunAll(new ReferenceBackend(), shape, Values.Normal);
        ConvolutionTests.Results actual = ConvolutionTests.RunAll(backend, shape, Values.Normal);
        Values.AssertCloseInBf16(expected.Y, actual.Y, backend.ActivationType);
        Values.AssertCloseInBf16(expected.Dx, actual.Dx, backend.ActivationType);
        Values.AssertCloseInBf16(expected.DxSum, actual.DxSum, backend.ActivationType);
        Values.AssertCloseInBf16(expected.DxTransposed, actual.DxTransposed, backend.ActivationType);
        Values.AssertCloseInBf16(expected.Dw, actual.Dw);
        Values.AssertCloseInBf16(expected.Mean, actual.Mean);
        Values.AssertCloseInBf16(expected.Variance, actual.Variance);
        // They were rounded: what this tests did happen.
        double relative = expected.Y.Zip(actual.Y, (a, b) => Math.Abs((double)a - b)).Max() / expected.Y.Max();
        Assert.InRange(relative, 1e-4, 1);
    }

    [Theory]
    [InlineData("bp")]
    [InlineData("fa")]
    [InlineData("ss")]
    [InlineData("wm")]
    [InlineData("kp-early")]
    [InlineData("dfa")]
    public void Training_follows_the_cpu_within_the_rounding_to_bf16(string rule)
    {
        double[] cpu = Losses(new CpuBackend(exact: true)), cuda = Losses(Create());
        // A part in 100 of the first loss, and one in 20 after eight steps on noise.
        Values.NoteMargin("losses", cpu.Zip(cuda, (a, b) => Math.Abs(a - b) / (0.05 * a)).Max());
        Assert.Equal(cpu[0], cuda[0], 0.01 * cpu[0]);
        for (int step = 0; step < cpu.Length; step++) Assert.Equal(cpu[step], cuda[step], 0.05 * cpu[step]);
        Assert.True(cuda[^1] < cuda[0]);

        double[] Losses(Backend backend)
        {
            using (backend)
            {
                using var model = new Model(backend, TestNets.Residual(), TrainerTests.RulesOf(rule), 20, seed: 7);
                var sgd = new Sgd(model, TrainerTests.Options(1) with { Batch = 20 });
                return [.. Enumerable.Range(0, 8).Select(step =>
                {
                    TestNets.LoadBatch(model, 20, (uint)(step % 2));
                    double loss = TestNets.Step(model, 20);
                    sgd.Update(step, 0.05f);
                    return loss;
                })];
            }
        }
    }

    [Fact]
    public void Weights_that_are_loaded_are_what_products_read()
    {
        string path = Path.Combine(Directory.CreateTempSubdirectory("feedback-bf16").FullName, "model.safetensors");
        using CudaBackend backend = Create();
        using var trained = new Model(backend, TestNets.Residual(), TrainerTests.RulesOf("kp"), 10, seed: 7);
        var sgd = new Sgd(trained, TrainerTests.Options(1) with { Batch = 10 });
        for (int step = 0; step < 2; step++)
        {
            TestNets.LoadBatch(trained, 10, (uint)step);
            TestNets.Step(trained, 10);
            sgd.Update(step, 0.05f);
        }

        StoredModel.Save(trained, path);
        using var cpu = new CpuBackend(exact: true);
        using var loaded = Model.ForEvaluation(backend, TestNets.Residual(), 10, seed: 8);
        using var onCpu = Model.ForEvaluation(cpu, TestNets.Residual(), 10, seed: 8);
        StoredModel.Load(loaded, path);
        StoredModel.Load(onCpu, path);
        Directory.Delete(Path.GetDirectoryName(path)!, recursive: true);
        float[] expected = Logits(trained), onCpuLogits = Logits(onCpu);
        Values.AssertSameBits(expected, Logits(loaded));
        // Eleven layers, each of which rounds operands and results by up to 2^-8.
        Assert.All(expected.Zip(onCpuLogits), p => Assert.Equal(p.Second, p.First, 0.05 * onCpuLogits.Max(Math.Abs)));
        // Read with all their digits: rounded to bf16 they would not be the same numbers.
        Assert.Contains(expected, v => v != (BFloat16)v);
        Values.AssertSameBits([.. TestNets.Weights(loaded)], [.. TestNets.Weights(trained)]);

        static float[] Logits(Model model)
        {
            TestNets.LoadBatch(model, 10, 5);
            model.Forward(Pass.Evaluate(10));
            var logits = new float[10 * TestNets.Classes];
            model.ReadLogits(logits);
            return logits;
        }
    }

    [Fact]
    public void A_step_in_bf16_takes_half_the_memory()
    {
        using CudaBackend half = Create(), full = CudaUnderTest.CreateBackend();
        using Model small = New(half), large = New(full);
        Assert.InRange((double)small.ArenaBytes / large.ArenaBytes, 0.45, 0.6);

        static Model New(Backend backend) => new(backend, TestNets.Residual(), TrainerTests.RulesOf("bp"), 32, seed: 7);
    }

    [Fact]
    public void Other_backends_refuse_the_precision()
    {
        foreach (string name in (string[])["cpu", "reference"])
            Assert.Contains("fp32", Assert.Throws<ArgumentException>(() => Backends.Create(name, precision: CudaPrecision.Bf16)).Message);
    }

    [Fact]
    public void Auto_takes_no_settings_of_the_cpu_with_the_precision()
    {
        foreach ((int threads, SimdLevel? level) in ((int, SimdLevel?)[])[(2, null), (0, SimdLevel.Scalar)])
        {
            var e = Assert.Throws<ArgumentException>(() => Backends.Create("auto", threads, level, precision: CudaPrecision.Bf16));
            Assert.Contains("neither threads nor a SIMD level", e.Message);
        }
    }

    private static CudaBackend Create()
    {
        CudaUnderTest.Require();
        return CudaUnderTest.CreateBackend(precision: CudaPrecision.Bf16);
    }
}
