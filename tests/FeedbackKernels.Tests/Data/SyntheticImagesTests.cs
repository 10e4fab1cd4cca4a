using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Data;

public class SyntheticImagesTests
{
    [Fact]
    public void The_seed_says_it_all()
    {
        DataSet a = DataSet.Open("synthetic", 1, 200, 100), b = DataSet.Open("synthetic", 1, 400, 50), c = DataSet.Open("synthetic", 2, 200, 100);
        Assert.Equal(a.Train.Pixels, b.Train.Take(200).Pixels);
        Assert.Equal(a.Test.Take(50).Pixels, b.Test.Pixels);
        Assert.NotEqual(a.Train.Pixels, c.Train.Pixels);
        Assert.All(Enumerable.Range(0, 10), k => Assert.Equal(20, a.Train.Labels.Count(l => l == k)));
        for (int i = 0; i < 100; i++) Assert.False(a.Test.Image(i).SequenceEqual(a.Train.Image(i)));
    }

    [Fact]
    public void A_linear_classifier_fails_where_a_small_net_does_not()
    {
        DataSet data = DataSet.Open("synthetic", 1, 4000, 1000);
        var linear = new ModelSpec(
            "linear", data.Train.RequireShape(), 10, LossKind.SoftmaxCrossEntropy, NormOrder.ConvBnRelu,
            [new LinearSpec("fc", 10, Activation.None, WeightInit.Uniform)]);
        // A small rate and many epochs, so that the linear model reaches its best accuracy.
        double linearTop1 = Train(linear, data, epochs: 15, rate: 0.002f);
        double netTop1 = Train(ModelCatalog.Create("resnet8", data.Train.RequireShape(), 10), data, epochs: 6, rate: 0.1f);
        Assert.InRange(linearTop1, 0.1, 0.6);
        Assert.True(netTop1 > linearTop1 + 0.25, $"linear {linearTop1:P1}, net {netTop1:P1}");
    }

    private static double Train(ModelSpec spec, DataSet data, int epochs, float rate)
    {
        using var backend = new CpuBackend();
        var options = new TrainingOptions { Epochs = epochs, Batch = 50, Schedule = new LearningRateSchedule(ScheduleKind.OneCycle, rate), AlignEvery = 0 };
        using var model = new Model(backend, spec, RuleSet.Of(new Backprop()), 50, seed: 1);
        return new Trainer(model, data, options).Run(cancel: TestContext.Current.CancellationToken).Epochs.Max(e => e.TestTop1);
    }
}
