using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Storage;
using FeedbackKernels.Tests.Conformance;
using FeedbackKernels.Tests.Models;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Training;

/// <summary>Noise on updates.</summary>
public sealed class UpdateNoiseTests : IDisposable
{
    private const int Images = 4;
    private const float Deviation = 0.5f, Rate = 0.25f;

    private static readonly TrainingOptions Noisy = new() { Batch = Images, Momentum = 0.5f, UpdateNoise = Deviation, Seed = 9 };

    private readonly CpuBackend _backend = new(2);
    private readonly string _file = Path.GetTempFileName();

    public void Dispose()
    {
        _backend.Dispose();
        File.Delete(_file);
    }

    [Theory]
    [InlineData("kp", NoisyUpdates.All)]
    [InlineData("kp", NoisyUpdates.Feedback)]
    [InlineData("sa", NoisyUpdates.All)]
    [InlineData("dkp", NoisyUpdates.Feedback)]
    [InlineData("bp", NoisyUpdates.All)]
    [InlineData("fa", NoisyUpdates.All)]
    public void The_first_update_differs_by_rate_times_the_numbers_of_the_streams(string rule, NoisyUpdates on)
    {
        // SA's B is drawn to the new W, which has no noise yet.
        using Model plain = Trained(_backend, rule, Noisy with { UpdateNoise = 0 }, 1), noisy = Trained(_backend, rule, Noisy with { UpdateNoiseOn = on }, 1);
        Check(plain.Weights, noisy.Weights, RandomPurpose.UpdateNoise, on == NoisyUpdates.All, _ => true);
        if (plain.FeedbackWeights is null) return;
        Check(plain.FeedbackWeights, noisy.FeedbackWeights!, RandomPurpose.FeedbackUpdateNoise, rule != "fa", parameter => noisy.Layers.Any(l => l.Feedback?.LearnedWeights == parameter));

        void Check(ParameterSlab before, ParameterSlab after, RandomPurpose purpose, bool has, Func<Parameter, bool> moves)
        {
            for (int i = 0; i < before.Parameters.Count; i++)
            {
                float[] without = _backend.Download(before.Parameters[i].Value), with = _backend.Download(after.Parameters[i].Value), noise = new float[without.Length];
                new RandomKey(9, purpose, (uint)i, 0).FillGaussian(noise, Deviation);
                if (!has || !moves(after.Parameters[i])) noise.AsSpan().Clear();
                for (int j = 0; j < noise.Length; j++) Assert.Equal(without[j] + Rate * noise[j], with[j], 1e-5f);
            }
        }
    }

    [Fact]
    public void Noise_is_new_in_each_step_and_velocities_have_none_of_it()
    {
        // With gradients of 0 and no decay nothing moves but by the noise.
        using Model model = new(_backend, TestNets.Plain(), RuleSet.Of(new KolenPollack()), Images, seed: 1);
        using var sgd = new Sgd(model, Noisy with { WeightDecay = 0 });
        Parameter w = model.Layers[1].Weight;
        int index = model.Weights.Parameters.ToList().IndexOf(w);
        for (int step = 0; step < 3; step++)
        {
            float[] before = _backend.Download(w.Value), noise = new float[before.Length];
            foreach (Parameter parameter in model.Parameters) _backend.Fill(parameter.Gradient, 0);
            sgd.Update(step, Rate);
            new RandomKey(9, RandomPurpose.UpdateNoise, (uint)index, (uint)step).FillGaussian(noise, Deviation);
            Assert.All(before.Zip(noise, _backend.Download(w.Value)), v => Assert.Equal(v.First + Rate * v.Second, v.Third, 1e-6f));
        }
    }

    [Theory, ClassData(typeof(Candidates))]
    public void All_backends_add_the_same_noise(string name)
    {
        using Backend backend = Candidates.Create(name, exact: false);
        using ReferenceBackend reference = Candidates.ReferenceOf(backend);
        float[][] expected = Noise(reference), found = Noise(backend);
        for (int i = 0; i < expected.Length; i++) Assert.All(expected[i].Zip(found[i]), v => Assert.Equal(v.First, v.Second, 1e-5f));

        static float[][] Noise(Backend backend)
        {
            using Model model = new(backend, TestNets.Plain(), RuleSet.Of(new KolenPollack()), Images, seed: 1);
            using var sgd = new Sgd(model, Noisy with { WeightDecay = 0 });
            foreach (Parameter parameter in model.Parameters) backend.Fill(parameter.Gradient, 0);
            sgd.Update(0, Rate);
            // The copies that products read have the noise too.
            foreach (Parameter parameter in model.Layers.Select(l => l.Weight).Where(p => p.Copy is not null))
            {
                float[] value = backend.Download(parameter.Value), copy = new float[value.Length];
                backend.DownloadFloats(parameter.Copy!, copy);
                Assert.All(value.Zip(copy), v => Assert.Equal(v.First, v.Second, Math.Abs(v.First) / 200));
            }

            return [.. model.TensorsAndFeedback().Select(t => backend.Download(t.Buffer))];
        }
    }

    [Fact]
    public void A_step_with_noise_allocates_nothing()
    {
        using var backend = new CpuBackend(1);
        using Model model = new(backend, TestNets.Residual(), RuleSet.Of(new KolenPollack()), Images, seed: 1);
        using var sgd = new Sgd(model, Noisy);
        for (int step = 0; step < 5; step++) sgd.Update(step, 0.01f);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int step = 5; step < 10; step++) sgd.Update(step, 0.01f);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void A_run_with_noise_and_pretraining_goes_on_exactly_on_any_number_of_threads()
    {
        DataSet data = DataSet.Open("synthetic", 3, 5 * 16, 16);
        Run(threads: 1, stopAfter: int.MaxValue, from: false, $"{_file}.ended");
        Run(threads: 2, stopAfter: 3, from: false, _file);
        Run(threads: 3, stopAfter: int.MaxValue, from: true, $"{_file}.resumed");
        Assert.Equal(CheckpointContent.Of($"{_file}.ended"), CheckpointContent.Of($"{_file}.resumed"));
        File.Delete($"{_file}.ended");
        File.Delete($"{_file}.resumed");

        void Run(int threads, int stopAfter, bool from, string to)
        {
            using var backend = new CpuBackend(threads);
            using var model = new Model(backend, ModelCatalog.Create("resnet8", data.Train.RequireShape(), 10), RuleSet.Of(new KolenPollack()), 16, seed: 4);
            using var trainer = new Trainer(model, data, TrainerTests.Options(1) with { Batch = 16, UpdateNoise = 0.1f, NoisePretraining = 2 });
            if (from) Checkpoint.Load(trainer, backend, _file);
            using var stop = new CancellationTokenSource();
            int steps = 0;
            trainer.Run(new EachStep(() =>
            {
                if (++steps == stopAfter) stop.Cancel();
            }), stop.Token);
            Checkpoint.Save(trainer, backend, to);
        }
    }

    [Theory]
    [InlineData("kp-closed", "kolen-pollack")]
    [InlineData("pfa", "product-feedback-alignment")]
    public void Rules_that_suppose_equal_updates_are_refused(string rule, string named)
    {
        using Model model = NewModel(_backend, rule);
        Assert.Contains(named, Assert.Throws<ArgumentException>(() => new Sgd(model, Noisy)).Message);
    }

    [Theory]
    [InlineData("bp")]
    [InlineData("fa")]
    [InlineData("wm")]
    public void Without_feedback_that_the_optimiser_moves_noise_on_feedback_changes_nothing(string rule)
    {
        using Model plain = Trained(_backend, rule, Noisy with { UpdateNoise = 0 }, 2), noisy = Trained(_backend, rule, Noisy with { UpdateNoiseOn = NoisyUpdates.Feedback }, 2);
        Assert.Equal(plain.TensorsAndFeedback().Select(t => _backend.Download(t.Buffer)), noisy.TensorsAndFeedback().Select(t => _backend.Download(t.Buffer)));
    }

    [Fact]
    public void Rules_know_whether_the_optimiser_moves_their_feedback()
    {
        foreach (FeedbackRule rule in RuleCatalog.All.Select(entry => entry.Create()).Append(new KolenPollack(Form: KolenPollackForm.ClosedForm)))
        {
            using var model = new Model(_backend, TestNets.Residual(), RuleSet.Of(rule), Images, seed: 1);
            Assert.Equal(model.Layers.Any(l => l.Feedback is { Update: not FeedbackUpdate.ByRule }), rule.OptimiserMovesFeedback);
        }
    }

    private static Model Trained(Backend backend, string rule, TrainingOptions options, int steps)
    {
        Model model = NewModel(backend, rule);
        using var sgd = new Sgd(model, options);
        for (int step = 0; step < steps; step++)
        {
            TestNets.LoadBatch(model, Images, (uint)step);
            TestNets.Step(model, Images);
            sgd.Update(step, Rate);
        }

        return model;
    }

    private static Model NewModel(Backend backend, string rule) => new(
        backend, TestNets.Residual(),
        RuleSet.Of(rule == "kp-closed" ? new KolenPollack(Form: KolenPollackForm.ClosedForm) : RuleCatalog.Find(rule)!.Create()), Images, seed: 1);

    private sealed class EachStep(Action action) : ITrainingObserver
    {
        public void OnStep(in StepReport report) => action();
    }
}
