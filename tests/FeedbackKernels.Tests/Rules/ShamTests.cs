using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Tests.Conformance;
using FeedbackKernels.Tests.Models;

namespace FeedbackKernels.Tests.Rules;

/// <summary>With B set to Wᵀ the backward pass of every rule equals that of backprop bit for bit.</summary>
public class ShamTests
{
    // Backprop is what the others are compared with; direct feedback sends no error from layer to layer; low-rank feedback has its B in two
    // factors, see LowRankFeedbackTests.
    private static readonly string[] WithoutB = ["bp", "dfa", "dkp", "lrf"];

    public static TheoryData<string, string, string> Cases()
    {
        var data = new TheoryData<string, string, string>();
        foreach (string rule in RuleCatalog.All.Select(r => r.ShortName).Except(WithoutB).Append("kp-closed"))
        {
            foreach (string net in (string[])["residual", "residual-relu-bn", "plain"])
            {
                data.Add(rule, net, "reference");
                foreach (string candidate in Candidates.WithTruncation()) data.Add(rule, net, candidate);
            }
        }

        return data;
    }

    [Theory, MemberData(nameof(Cases))]
    public void Backward_equals_backprop_bit_for_bit(string rule, string net, string backendName)
    {
        const int images = 5;
        using Backend backend = backendName == "reference" ? new ReferenceBackend() : Candidates.Create(backendName, exact: false);
        using var expected = new Model(backend, TestNets.ByName(net), RuleSet.Of(new Backprop()), images, seed: 7);
        using var actual = new Model(backend, TestNets.ByName(net), RuleSet.Of(Rule(rule)), images, seed: 7);
        ConvLayer[] fed = [.. actual.Layers.Where(layer => layer.Feedback?.OwnWeights is not null)];
        Assert.Equal(actual.Layers.Count - 1, fed.Length);
        foreach (ConvLayer layer in fed)
        {
            Parameter own = layer.Feedback!.OwnWeights!;
            backend.TransposedCombine(layer.Shape(), 1, layer.Weight.Value, 0, default, own.Value, own.Copy);
        }

        foreach (Model model in (Model[])[expected, actual])
        {
            TestNets.LoadBatch(model, images);
            TestNets.Step(model, images);
        }

        Assert.Equal(TestNets.Gradients(expected), TestNets.Gradients(actual));
        Assert.Contains(TestNets.Gradients(actual), g => g != 0);
    }

    [Fact]
    public void Without_the_sham_the_rules_do_differ()
    {
        using var backend = new CpuBackend(2);
        float[][] gradients = [.. ((FeedbackRule[])[new Backprop(), new FeedbackAlignment(), new SignSymmetry(), new DirectFeedbackAlignment()]).Select(rule =>
        {
            using var model = new Model(backend, TestNets.Residual(), RuleSet.Of(rule), 4, seed: 7);
            TestNets.LoadBatch(model, 4);
            TestNets.Step(model, 4);
            return TestNets.Gradients(model);
        })];
        for (int i = 0; i < gradients.Length; i++)
        {
            for (int j = 0; j < i; j++) Assert.NotEqual(gradients[i], gradients[j]);
        }
    }

    private static FeedbackRule Rule(string name) =>
        name == "kp-closed" ? new KolenPollack(Form: KolenPollackForm.ClosedForm) : RuleCatalog.Find(name)!.Create();
}
