using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Tests.Cuda;
using FeedbackKernels.Tests.Training;

namespace FeedbackKernels.Tests.Models;

/// <summary>A model that is planned again for another size of images computes what a model made for that size computes.</summary>
public sealed class ResizeTests
{
    private const int Images = 4;

    public static TheoryData<string, string> Cases()
    {
        var data = new TheoryData<string, string>();
        foreach (string net in (string[])["resnet8", "resnet18", "resnet50"])
        {
            foreach (string rule in (string[])["bp", "wm", "kp", "fa"]) data.Add(net, rule);
        }

        return data;
    }

    [Theory, MemberData(nameof(Cases))]
    public void It_equals_a_model_that_was_made_for_the_size(string net, string rule)
    {
        using var backend = new CpuBackend(2);
        CheckSizes(backend, net, rule, [32, 48, 33, 64, 32]);
    }

    [Theory]
    [InlineData(CudaPrecision.Fp32)]
    [InlineData(CudaPrecision.Bf16)]
    public void It_does_so_on_a_device_where_steps_are_graphs(CudaPrecision precision)
    {
        using CudaBackend backend = CudaUnderTest.CreateBackend(precision: precision);
        CheckSizes(backend, "resnet8", "wm", [16, 24, 16]);
    }

    [Fact]
    public void Without_a_backward_pass_it_needs_less_memory_and_refuses_one()
    {
        using var backend = new CpuBackend(1);
        using Model model = New(backend, "resnet8", "bp", 32);
        long bytes = model.ArenaBytes;
        model.Resize(Map(48), backward: false);
        Assert.InRange(model.ArenaBytes, 1, bytes);
        Forward(model, 48);
        Assert.Throws<InvalidOperationException>(() => model.Backward(Images));
        model.Resize(Map(48));
        Assert.True(model.ArenaBytes > bytes);
        Forward(model, 48);
        model.Backward(Images);
    }

    [Fact]
    public void Sizes_that_do_not_fit_leave_the_model_as_it_was()
    {
        using var backend = new CpuBackend(1);
        foreach ((string net, MapShape wrong, string said) in ((string, MapShape, string)[])
        [
            ("lenet", Map(36), "weights for"), ("mlp", Map(16), "weights for"), ("resnet8", new MapShape(32, 32, 1), "3 channels"),
        ])
        {
            using Model model = New(backend, net, "bp", 32);
            float[] before = Forward(model, 32);
            string message = Assert.Throws<ArgumentException>(() => model.Resize(wrong)).Message;
            Assert.Contains(wrong.ToString(), message);
            Assert.Contains(said, message);
            Assert.Equal(Map(32), model.Spec.Input);
            Assert.Equal(before, Forward(model, 32));
            model.Backward(Images);
        }

        // One image on a map of one pixel gives a batch norm nothing to normalise.
        using var single = new Model(backend, ModelCatalog.Create("resnet18", Map(64), 10), RuleSet.Of(new Backprop()), 1, seed: 3);
        Assert.Contains("one value a channel", Assert.Throws<ArgumentException>(() => single.Resize(Map(32))).Message);
        single.Resize(Map(32), backward: false);
    }

    [Theory]
    [InlineData("wm-full", true)]
    [InlineData("dfa", true)]
    [InlineData("dfa-channels", false)]
    [InlineData("wm", false)]
    [InlineData("kp", false)]
    [InlineData("ss", false)]
    public void Rules_that_need_one_size_train_at_that_one_only(string rule, bool needsOneSize)
    {
        using var backend = new CpuBackend(1);
        RuleSet rules = rule == "dfa-channels" ? RuleSet.Of(new DirectFeedbackAlignment(DirectTarget.Channels)) : TrainerTests.RulesOf(rule);
        using var model = new Model(backend, ModelCatalog.Create("resnet8", Map(32), 10), rules, Images, seed: 3);
        model.Resize(Map(48), backward: false);
        if (needsOneSize) Assert.Contains("at one size", Assert.Throws<ArgumentException>(() => model.Resize(Map(48))).Message);
        else model.Resize(Map(48));
        model.Resize(Map(32));
        Forward(model, 32);
        model.Backward(Images);
    }

    private static void CheckSizes(Backend backend, string net, string rule, int[] sizes)
    {
        using Model model = New(backend, net, rule, sizes[0]);
        foreach (int size in sizes)
        {
            model.Resize(Map(size));
            Assert.Equal(Map(size), model.Spec.Input);
            using Model made = New(backend, net, rule, size);
            // Weights, B and norms do not depend on the size.
            Assert.Equal(Step(made, size), Step(model, size));
            foreach ((Parameter expected, Parameter found) in made.Parameters.Zip(model.Parameters))
                Assert.Equal(backend.Download(expected.Gradient), backend.Download(found.Gradient));
        }
    }

    private static Model New(Backend backend, string net, string rule, int size) =>
        new(backend, ModelCatalog.Create(net, Map(size), 10, new ModelOptions(Hidden: net == "mlp" ? 8 : 0)), TrainerTests.RulesOf(rule), Images, seed: 3);

    private static MapShape Map(int size) => new(size, size, 3);

    /// <summary>A step without its update; returns the logits.</summary>
    private static float[] Step(Model model, int size)
    {
        using (StepScope scope = model.Backend.BeginStep())
        {
            Queue(model, size);
            model.Backward(Images);
            scope.Complete();
        }

        return Logits(model);
    }

    /// <summary>A step up to the loss; returns the logits.</summary>
    private static float[] Forward(Model model, int size)
    {
        Queue(model, size);
        return Logits(model);
    }

    private static float[] Logits(Model model)
    {
        var logits = new float[Images * 10];
        model.ReadLogits(logits);
        return logits;
    }

    private static void Queue(Model model, int size)
    {
        var pixels = new float[Images * size * size * 3];
        new RandomKey(1, RandomPurpose.User, (uint)size).FillGaussian(pixels, 1);
        model.Load(pixels, [.. Enumerable.Range(0, Images)]);
        model.Forward(model.PlansBackward ? Pass.Train(Images) : Pass.Evaluate(Images));
        model.Loss(Images, smoothing: 0, gradient: model.PlansBackward);
    }
}
