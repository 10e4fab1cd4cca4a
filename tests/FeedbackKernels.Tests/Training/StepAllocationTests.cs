using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Tests.Models;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Training;

/// <summary>All memory is allocated when a model is created; a step allocates none, neither managed nor native.</summary>
public class StepAllocationTests
{
    // Steps until the balanced noise has gone through a cycle and the scratch memory of every kernel has its final size.
    private const int WarmUpSteps = 20;

    public static TheoryData<string> Rules() => new(RuleCatalog.All.Select(rule => rule.ShortName));

    [Theory, MemberData(nameof(Rules))]
    public void A_step_allocates_nothing(string rule)
    {
        const int images = 8;
        // One thread: the counter belongs to the calling thread, which then does all the work.
        using var backend = new CpuBackend(threads: 1);
        using var model = new Model(backend, TestNets.Residual(), RuleSet.Of(RuleOf(rule)), images, seed: 3);
        var sgd = new Sgd(model, new TrainingOptions { Batch = images });
        var losses = new float[images];
        TestNets.LoadBatch(model, images);
        for (int step = 0; step < WarmUpSteps; step++) Step(step);
        long scratch = backend.ScratchBytes, before = GC.GetAllocatedBytesForCurrentThread();
        for (int step = WarmUpSteps; step < 2 * WarmUpSteps; step++) Step(step);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(scratch, backend.ScratchBytes);

        void Step(int step)
        {
            model.Forward(Pass.Train(images));
            model.Loss(images, 0.1f, gradient: true, losses);
            model.Backward(images);
            sgd.Update(step, 0.01f);
        }
    }

    // Of sign symmetry the form that does most in a step.
    private static FeedbackRule RuleOf(string name) => RuleCatalog.Find(name)!.Create() switch
    {
        SignSymmetry => new SignSymmetry(SignMagnitude.BatchRandom),
        FeedbackRule rule => rule,
    };
}
