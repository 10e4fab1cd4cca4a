using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Storage;
using FeedbackKernels.Tests.Models;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Runs;

/// <summary>The content of model.safetensors under each name, read without the reader of the program.</summary>
public sealed class StoredStateTests : IDisposable
{
    private const int Images = 4;

    private readonly CpuBackend _backend = new(2);
    private readonly string _file = Path.GetTempFileName();

    public void Dispose()
    {
        _backend.Dispose();
        File.Delete(_file);
    }

    public static TheoryData<FeedbackRule, string[]> Rules() => new()
    {
        { new Backprop(), [] },
        { new FeedbackAlignment(), [".feedback"] },
        { new SignSymmetry(), [".feedback"] },
        { new WeightMirror(WarmUpSteps: 2), [".feedback"] },
        { new KolenPollack(), [".feedback"] },
    };

    [Theory, MemberData(nameof(Rules))]
    public void Each_tensor_stands_under_its_own_name(FeedbackRule rule, string[] state)
    {
        using Model model = Trained(rule);
        StoredModel.Save(model, _file);
        var file = new TensorFile(_file);
        var expected = new Dictionary<string, DeviceBuffer>();
        foreach (Parameter parameter in model.Parameters) expected.Add(parameter.Name, parameter.Value);
        foreach (BatchNorm norm in model.Norms)
        {
            expected.Add($"{norm.Name}.running_mean", norm.RunningMean);
            expected.Add($"{norm.Name}.running_var", norm.RunningVariance);
            // A variance is never negative, but the mean of the output of a convolution is negative in some channel.
            Assert.All(file.Values($"{norm.Name}.running_var"), v => Assert.True(v > 0));
            Assert.Contains(file.Values($"{norm.Name}.running_mean"), v => v < 0);
        }

        foreach (ConvLayer layer in model.Layers.Where(l => l.Feedback?.OwnWeights is not null))
        {
            ConvShape s = layer.Shape();
            Assert.Equal([s.R, s.S, s.K, s.C], file.Sizes($"{layer.Name}.feedback"));
            foreach (string name in state) expected.Add(layer.Name + name, layer.Feedback!.OwnWeights!.Value);
        }

        Assert.Equal(expected.Keys.Order(), file.Names.Order());
        foreach ((string name, DeviceBuffer buffer) in expected) Assert.Equal(_backend.Download(buffer), file.Values(name));
        foreach (ConvLayer layer in model.Layers)
        {
            ConvShape s = layer.Shape();
            Assert.Equal([s.R, s.S, s.C, s.K], file.Sizes($"{layer.Name}.weight"));
        }

        Assert.Equal("residual", file.Metadata("model"));
    }

    [Fact]
    public void A_loaded_model_computes_what_the_saved_one_does()
    {
        using Model saved = Trained(new FeedbackAlignment());
        StoredModel.Save(saved, _file);
        using var loaded = Model.ForEvaluation(_backend, TestNets.Residual(), Images, seed: 9);
        StoredModel.Load(loaded, _file);
        Assert.Equal(Logits(saved), Logits(loaded));
        Assert.Equal(TestNets.Weights(saved), TestNets.Weights(loaded));

        static float[] Logits(Model model)
        {
            TestNets.LoadBatch(model, Images, stream: 3);
            model.Forward(Pass.Evaluate(Images));
            var logits = new float[Images * TestNets.Classes];
            model.ReadLogits(logits);
            return logits;
        }
    }

    private Model Trained(FeedbackRule rule)
    {
        var model = new Model(_backend, TestNets.Residual(), RuleSet.Of(rule), Images, seed: 2);
        foreach (ConvLayer layer in model.Layers) layer.Feedback?.BeforeTraining();
        var sgd = new Sgd(model, new TrainingOptions { Batch = Images });
        for (int step = 0; step < 3; step++)
        {
            TestNets.LoadBatch(model, Images, stream: (uint)step);
            TestNets.Step(model, Images);
            sgd.Update(step, 0.05f);
        }

        return model;
    }
}
