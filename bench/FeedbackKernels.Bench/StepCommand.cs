using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Training;

namespace FeedbackKernels.Bench;

/// <summary><c>step</c>: a whole training step, forward, backward, update and mirror, as
/// <c>model,feedback-kernels,rule,model,batch,images_per_s_median,images_per_s_best</c>. Rules are taken in turn. Where it
/// is one rule, the process's largest resident set follows as <c>memory,feedback-kernels,rule,model,batch,mib</c>.</summary>
internal static class StepCommand
{
    private static readonly FeedbackRule[] Rules =
        [new Backprop(), new FeedbackAlignment(), new SignSymmetry(), new WeightMirror(), new KolenPollack(), new DirectFeedbackAlignment(DirectTarget.Channels)];

    public static Command Create()
    {
        var model = new Option<string>("--model") { Description = "Model.", DefaultValueFactory = _ => "resnet20" };
        var batch = new Option<int>("--batch") { Description = "N.", DefaultValueFactory = _ => 128 };
        var size = new Option<int>("--size") { Description = "Rows and columns of an image; 0 for the model's usual ones." };
        var rule = new Option<string>("--rule") { Description = "Learning rule, or all.", DefaultValueFactory = _ => Backprop.RuleName };
        rule.AcceptOnlyFromAmong([.. Rules.Select(r => r.Name), "all"]);
        var rounds = new Option<int>("--rounds") { Description = "Steps of each rule that count.", DefaultValueFactory = _ => 15 };
        var cpu = new CpuOptions();
        var command = new Command("step", "Images per second of whole training steps.") { model, batch, size, rule, rounds };
        cpu.AddTo(command);
        command.SetAction(parsed =>
        {
            using CpuBackend backend = cpu.Create(parsed);
            string name = parsed.GetValue(model)!;
            int images = parsed.GetValue(batch), rows = parsed.GetValue(size) is > 0 and var given ? given : ModelCatalog.UsualImageSize(name);
            ModelSpec spec = ModelCatalog.Create(name, new MapShape(rows, rows, 3), ModelCatalog.UsualClasses(name));
            List<(string Rule, Timing Time)> results = Measure(backend, spec, images, parsed.GetValue(rule)!, parsed.GetValue(rounds));
            foreach ((string ruleName, Timing time) in results)
            {
                Console.WriteLine(string.Create(
                    CultureInfo.InvariantCulture, $"model,feedback-kernels,{ruleName},{name},{images},{images / time.Median:F2},{images / time.Best:F2}"));
            }

            if (results is not [(string only, _)]) return;
            using Process self = Process.GetCurrentProcess();
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"memory,feedback-kernels,{only},{name},{images},{self.PeakWorkingSet64 / 1048576.0:F0}"));
        });
        return command;
    }

    private static List<(string Rule, Timing Time)> Measure(Backend backend, ModelSpec spec, int images, string rule, int rounds)
    {
        FeedbackRule[] chosen = [.. Rules.Where(r => rule == "all" || r.Name == rule)];
        Stepper[] steppers = [.. chosen.Select(r => new Stepper(backend, spec, r, images))];
        var seconds = chosen.Select(_ => new List<double>()).ToArray();
        const int warmUp = 2;
        for (int round = -warmUp; round < rounds; round++)
        {
            for (int i = 0; i < steppers.Length; i++)
            {
                double time = steppers[i].Step();
                if (round >= 0) seconds[i].Add(time);
            }
        }

        foreach (Stepper stepper in steppers) stepper.Dispose();
        foreach (List<double> times in seconds) times.Sort();
        return [.. chosen.Zip(seconds, (r, times) => (r.Name, new Timing(times[times.Count / 2], times[0])))];
    }

    /// <summary>A model under one rule, on one random batch.</summary>
    private sealed class Stepper : IDisposable
    {
        private readonly Model _model;
        private readonly Sgd _sgd;
        private readonly float[] _losses;
        private int _steps;

        public Stepper(Backend backend, ModelSpec spec, FeedbackRule rule, int images)
        {
            _model = new Model(backend, spec, RuleSet.Of(rule), images, seed: 1);
            _sgd = new Sgd(_model, new TrainingOptions { Batch = images });
            _losses = new float[images];
            var pixels = new float[checked(images * spec.Input.Length)];
            new RandomKey(1, RandomPurpose.User).FillGaussian(pixels, 1);
            _model.Load(pixels, [.. Enumerable.Range(0, images).Select(i => i % spec.Classes)]);
        }

        public double Step()
        {
            int images = _losses.Length;
            long start = Stopwatch.GetTimestamp();
            _model.Forward(Pass.Train(images));
            _model.Loss(images, 0, gradient: true, _losses);
            _model.Backward(images);
            _sgd.Update(_steps++, 1e-3f);
            return Stopwatch.GetElapsedTime(start).TotalSeconds;
        }

        public void Dispose() => _model.Dispose();
    }
}
