using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Tests.Conformance;
using FeedbackKernels.Tests.Models;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Rules;

/// <summary>Every rule of the catalogue trains alike on all backends, and with the same bits on any number of threads.</summary>
public class RuleAgreementTests
{
    private const int Images = 4, Steps = 3;

    public static TheoryData<string, string> Cases()
    {
        var data = new TheoryData<string, string>();
        foreach (RuleEntry rule in RuleCatalog.All)
        {
            foreach (string candidate in Candidates.WithTruncation()) data.Add(rule.ShortName, candidate);
        }

        return data;
    }

    public static TheoryData<string> Rules() => [.. RuleCatalog.All.Select(rule => rule.ShortName)];

    [Theory, MemberData(nameof(Cases))]
    public void W_and_B_are_those_of_the_reference(string rule, string candidate)
    {
        using Backend backend = Candidates.Create(candidate, exact: false);
        using Backend reference = Candidates.ReferenceOf(backend);
        (float[][] expected, float[][] start) = Train(rule, reference);
        (float[][] found, _) = Train(rule, backend);
        // Batch norm amplifies rounding; bf16 has three digits, and the first steps move betas by thousandths.
        (double tolerance, double least) = backend.ActivationType == ElementType.Float32 ? (2e-3, 1e-3) : (0.15, 0.05);
        Assert.Equal(expected.Length, found.Length);
        for (int i = 0; i < expected.Length; i++) Assert.InRange(Distance(expected[i], found[i]), 0, tolerance * Math.Max(least, Norm(expected[i])));
        // The movement agrees too, of all tensors together.
        double moved = Norm([.. expected.Zip(start, Distance).Select(d => (float)d)]), apart = Norm([.. expected.Zip(found, Distance).Select(d => (float)d)]);
        Values.NoteMargin("movement", apart / (10 * tolerance * moved / 2));
        Assert.InRange(apart, 0, 10 * tolerance * moved / 2);
        Assert.Contains(expected.Zip(start), pair => Distance(pair.First, pair.Second) > 0.01 * Norm(pair.First));
    }

    [Theory, MemberData(nameof(Rules))]
    public void The_number_of_threads_changes_no_bit(string rule)
    {
        using CpuBackend one = new(1), three = new(3);
        Assert.Equal(Train(rule, one).Trained, Train(rule, three).Trained);
    }

    private static (float[][] Trained, float[][] Start) Train(string rule, Backend backend)
    {
        using var model = new Model(backend, TestNets.Residual(), RuleSet.Of(RuleCatalog.Find(rule)!.Create()), Images, seed: 5);
        using var sgd = new Sgd(model, new TrainingOptions { Batch = Images });
        foreach (ConvLayer layer in model.Layers) layer.Feedback?.BeforeTraining(TestContext.Current.CancellationToken);
        float[][] start = Tensors();
        for (int step = 0; step < Steps; step++)
        {
            TestNets.LoadBatch(model, Images, (uint)step);
            TestNets.Step(model, Images);
            sgd.Update(step, 0.02f);
        }

        return (Tensors(), start);

        float[][] Tensors() => [.. model.TensorsAndFeedback().Select(t => backend.Download(t.Buffer))];
    }

    private static double Norm(float[] values) => Math.Sqrt(values.Sum(v => (double)v * v));

    private static double Distance(float[] a, float[] b) => Math.Sqrt(a.Zip(b, (x, y) => Math.Pow((double)x - y, 2)).Sum());
}
