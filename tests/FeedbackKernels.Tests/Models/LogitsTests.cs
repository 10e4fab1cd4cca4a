using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Tests.Conformance;
using FeedbackKernels.Tests.Training;

namespace FeedbackKernels.Tests.Models;

/// <summary>Logits are read after the whole step, where the device computes it as one graph.</summary>
public class LogitsTests
{
    [Theory]
    [InlineData("residual")]
    [InlineData("residual-relu-bn")]
    [InlineData("plain")]
    public void The_backward_pass_leaves_the_logits_as_they_are(string net)
    {
        const int images = 4;
        using var backend = new CpuBackend(1);
        using var model = new Model(backend, TestNets.ByName(net), TrainerTests.RulesOf("bp"), images, seed: 3);
        TestNets.LoadBatch(model, images);
        float[] before = new float[images * TestNets.Classes], after = new float[before.Length];
        model.Forward(Pass.Train(images));
        model.Loss(images, 0, gradient: true);
        model.ReadLogits(before);
        model.Backward(images);
        model.ReadLogits(after);
        Assert.Contains(before, v => v != 0);
        Values.AssertSameBits(before, after);
    }
}
