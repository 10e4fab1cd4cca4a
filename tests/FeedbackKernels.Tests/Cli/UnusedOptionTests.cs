using System.CommandLine;
using FeedbackKernels.Cli;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Tests.Cli;

/// <summary>An option without effect is refused, and each option declares when it has one.</summary>
[Collection(nameof(CommandLineTests))]
public sealed class UnusedOptionTests : IDisposable
{
    // Small, so that a run is short if the option is not refused.
    private static readonly string[] Small =
        ["--limit-train", "64", "--limit-test", "32", "--batch", "32", "--epochs", "1", "--align-every", "0"];

    /// <summary>For each option with a condition: a command line that does not meet it, and the condition.</summary>
    private static readonly (string[] Option, string[] Without, string Needs)[] Conditions =
    [
        (["--norm-order", "conv-relu-bn"], ["--model", "lenet"], "a --model with batch norms"),
        (["--norm-order", "conv-bn-relu"], ["--model", "mlp"], "a --model with batch norms"),
        (["--zero-gamma"], ["--model", "lenet"], "a --model with residual blocks"),
        (["--hidden", "16"], ["--model", "lenet"], "--model mlp"),
        (["--warm-up", "1"], ["--schedule", "one-cycle"], "--schedule constant, cosine or multi-step"),
        (["--milestones", "0.5"], ["--schedule", "cosine"], "--schedule multi-step"),
        (["--gamma", "0.1"], ["--schedule", "constant"], "--schedule multi-step"),
        (["--threads", "1"], ["--backend", "reference"], "--backend cpu"),
        (["--threads", "1"], ["--backend", "cuda"], "--backend cpu"),
        (["--simd", "scalar"], ["--backend", "reference"], "--backend cpu"),
        (["--exact"], ["--backend", "cuda"], "--backend cpu"),
        (["--device", "0"], ["--backend", "cpu"], "--backend cuda"),
        (["--precision", "fp32"], ["--backend", "cpu"], "--backend cuda"),
        (["--no-cuda-graph"], ["--backend", "reference"], "--backend cuda"),
        (["--load-kernels"], ["--backend", "cpu"], "--backend cuda"),
        (["--sync-batch-norm"], ["--model", "resnet8"], "several processes, started by mpirun, and a --model with batch norms"),
        (["--mirror-split"], ["--rule", "wm"], "several processes, started by mpirun, and the rule weight-mirror"),
        (["--reduce-type", "bf16"], ["--backend", "cuda"], "several processes with --backend cuda"),
        (["--mirror-samples", "64"], ["--rule", "kp"], "the rule weight-mirror"),
        (["--mirror-noise", "sign"], ["--rule", "fa"], "the rule weight-mirror"),
        (["--mirror-std", "1"], ["--rule", "bp"], "the rule weight-mirror"),
        (["--mirror-rate", "0.1"], ["--rule", "ss"], "the rule weight-mirror"),
        (["--mirror-every", "1"], ["--rule", "dfa"], "the rule weight-mirror"),
        (["--mirror-warm-up", "0"], ["--rule", "kp"], "the rule weight-mirror"),
        (["--mirror-form", "patch"], ["--rule", "kp"], "the rule weight-mirror"),
        (["--mirror-response", "relu"], ["--rule", "kp"], "the rule weight-mirror"),
        (["--mirror-update", "correct"], ["--rule", "kp"], "the rule weight-mirror with balanced --mirror-noise"),
        (["--mirror-update", "correct"], ["--rule", "wm", "--mirror-noise", "gaussian"], "the rule weight-mirror with balanced --mirror-noise"),
        (["--mirror-update", "correct"], ["--rule", "wm", "--mirror-form", "full-map"], "the rule weight-mirror with balanced --mirror-noise"),
        (["--mirror-update", "correct"], ["--rule", "wm", "--mirror-response", "relu"], "the rule weight-mirror with balanced --mirror-noise"),
        (["--mirror-follow", "true"], ["--rule", "wm", "--mirror-update", "average"], "the rule weight-mirror with --mirror-update correct"),
        (["--kp-decay", "0.1"], ["--rule", "wm"], "the rule kolen-pollack"),
        (["--kp-early-shrink", "1"], ["--rule", "wm"], "the rule kolen-pollack"),
        (["--kp-early", "in-training"], ["--rule", "kp", "--kp-early-shrink", "1"], "--kp-early-shrink below 1"),
        (["--kp-early-steps", "3"], ["--rule", "kp", "--kp-early-shrink", "1"], "--kp-early-shrink below 1"),
        (["--kp-early-steps", "3"], ["--rule", "bp"], "the rule kolen-pollack"),
        (["--kp-form", "two-weight"], ["--rule", "wm"], "the rule kolen-pollack"),
        (["--sign-magnitude", "uniform"], ["--rule", "fa"], "the rule sign-symmetry"),
        (["--feedback-init", "he"], ["--rule", "wm"], RulesWith("Init")),
        (["--feedback-init", "he"], ["--rule", "dfa"], RulesWith("Init")),
        (["--feedback-scale", "1"], ["--rule", "wm"], RulesWith("Scale")),
        (["--direct-target", "channels"], ["--rule", "fa"], "the rule direct-feedback-alignment"),
        .. ((string[])["--train-size 64", "--test-size 64", "--test-resize 64", "--resize-schedule 64@2", "--crop-scale 0.5 1", "--crop-ratio 1 1", "--damaged-is-fatal", "--data-threads 2", "--batches-ahead 3"])
            .Select(option => (option.Split(' '), (string[])["--data", "synthetic"], "--data imagefolder:DIR")),
        (["--noise-pretraining-lr", "0.1"], ["--noise-pretraining", "0"], "--noise-pretraining above 0"),
        (["--update-noise-on", "feedback"], ["--update-noise", "0", "--rule", "kp"], "--update-noise above 0"),
        (["--update-noise-on", "feedback"], ["--update-noise", "1", "--rule", "fa"], "the rule kolen-pollack"),
        (["--ram-cache"], ["--data", "synthetic"], "--data packed:FILE"),
        (["--attack-epsilon", "0.1"], [], "--attack"),
        (["--attack-steps", "2"], ["--attack", "fgsm"], "--attack pgd"),
        (["--attack-step-size", "0.1"], ["--attack", "fgsm"], "--attack pgd"),
        (["--attack-seed", "2"], ["--attack", "fgsm"], "--attack pgd"),
        (["--overwrite"], [], "--out"),
        (["--resume-if-there"], [], "--out"),
        (["--keep-checkpoints", "2"], ["--checkpoint-every", "off"], "--checkpoint-every other than off"),
        (["--fold-norms"], ["--format", "safetensors"], "--format onnx"),
        (["--no-feedback"], ["--format", "onnx"], "--format safetensors-torch or safetensors"),
        (["--longest-side", "9"], ["--encode", "keep"], "--encode jpeg or raw, or --raw-share"),
        (["--shortest-side", "9"], ["--seed", "1"], "--encode jpeg or raw, or --raw-share"),
        (["--quality", "9"], ["--encode", "raw"], "--encode jpeg"),
        (["--raw-share", "0.5"], ["--encode", "raw"], "--encode keep or jpeg"),
        .. IRuleOptionCases.All.SelectMany(rule => rule.Cases.Select(c => (c.Given.Split(' '), (string[])["--rule", "bp"], rule.Rule.Name))),
    ];

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-unused").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    public static TheoryData<string, string[], string[], string> Refusals()
    {
        var data = new TheoryData<string, string[], string[], string>();
        foreach (Command command in FeedbackProgram.Commands)
        {
            string[] known = [.. FeedbackProgram.OptionsOf(command).Select(o => o.Name), "--rule"];
            string[] always = [.. FeedbackProgram.OptionsOf(command).Where(o => o is ISetting { Use: var use } && use == Use.Always).Select(o => o.Name)];
            foreach ((string[] option, string[] without, string needs) in Conditions)
            {
                if (known.Contains(option[0]) && !always.Contains(option[0]) && without.Where(w => w.StartsWith("--", StringComparison.Ordinal)).All(known.Contains))
                    data.Add(command.Name, option, without, needs);
            }
        }

        return data;
    }

    [Theory, MemberData(nameof(Refusals))]
    public void An_option_without_effect_is_refused_in_one_line_that_says_what_it_needs(string command, string[] option, string[] without, string needs)
    {
        string here = Directory.GetCurrentDirectory();
        Directory.SetCurrentDirectory(_folder);
        try
        {
            string[] rest = command switch
            {
                "compare" or "study" => [.. without.Select(w => w == "--rule" ? "--rules" : w), .. without.Contains("--rule") ? [] : (string[])["--rules", "bp"], .. Small, .. command == "study" ? (string[])["--seeds", "1", "--out", "study"] : []],
                "train" or "plan" => [.. without, .. Small],
                "evaluate" or "resume" => [.. without, MakeRun()],
                "predict" => [.. without, MakeRun(), "picture.png"],
                "export" => [.. without, MakeRun(), "exported"],
                "import" => [.. without, "weights.safetensors"],
                "pack" => [.. without, "imagefolder:pictures", "x.packed"],
                _ => without,
            };
            string[] before = Directory.GetFileSystemEntries(_folder);
            (int code, string output, string error) = FeedbackProgram.Run([command, .. option, .. rest]);
            Assert.Equal((2, ""), (code, output));
            string line = Assert.Single(error.TrimEnd('\n').Split('\n'));
            Assert.StartsWith($"feedback: {option[0]} has no effect here: it needs ", line);
            Assert.Contains(needs, line);
            Assert.Equal(before, Directory.GetFileSystemEntries(_folder));
        }
        finally
        {
            Directory.SetCurrentDirectory(here);
        }
    }

    [Fact]
    public void Every_option_of_every_command_declares_what_uses_it_and_each_condition_has_a_case()
    {
        foreach (Command command in FeedbackProgram.Commands)
        {
            foreach (Option option in FeedbackProgram.OptionsOf(command).Where(o => o is not System.CommandLine.Help.HelpOption))
            {
                Use use = Assert.IsType<ISetting>(option, exactMatch: false).Use;
                if (use == Use.Always) continue;
                Assert.True(Conditions.Any(c => c.Option[0] == option.Name && c.Needs.Length > 0), $"{command.Name} {option.Name}: no case");
                Assert.NotEmpty(use.Needs);
            }
        }

        // An option that always has an effect does not belong in the table above.
        string[] conditional = [.. FeedbackProgram.Commands.SelectMany(c => c.Options).OfType<ISetting>().Where(s => s.Use != Use.Always).Select(s => ((Option)s).Name)];
        Assert.All(Conditions, c => Assert.Contains(c.Option[0], conditional));
    }

    [Theory]
    [InlineData("train --schedule multi-step --milestones 0.5 --gamma 0.5 --model mlp --hidden 16")]
    [InlineData("train --nesterov --momentum 0 --model mlp --hidden 16")]
    // The rule of a single layer counts.
    [InlineData("train --model lenet --rule bp --rule-for fc2=wm --mirror-warm-up 3")]
    // One of the rules is enough.
    [InlineData("compare --model lenet --rules bp,kp --kp-early-steps 2 --kp-form closed-form")]
    [InlineData("compare --model lenet --rules bp,dfa --rule-for fc3=fa --feedback-init he --direct-target channels")]
    // What happens anyway may be said.
    [InlineData("train --model lenet --rule wm --mirror-warm-up 3 --mirror-noise gaussian --mirror-update average")]
    [InlineData("train --model lenet --rule wm --mirror-warm-up 3 --mirror-form full-map --mirror-update average")]
    [InlineData("compare --model lenet --rules bp,wm --mirror-warm-up 3 --mirror-response relu --mirror-update average")]
    // With settings of the CPU backend, auto chooses the CPU.
    [InlineData("train --model lenet --threads 1 --exact")]
    public void An_option_that_one_choice_uses_is_taken(string arguments)
    {
        (int code, _, string error) = FeedbackProgram.Run([.. arguments.Split(' '), .. Small, "--out", Path.Combine(_folder, "run")]);
        Assert.Equal((0, ""), (code, error));
    }

    [Fact]
    public void Values_of_a_config_are_never_refused()
    {
        string first = Path.Combine(_folder, "first"), second = Path.Combine(_folder, "second");
        string[] all = ["--model", "lenet", "--rule", "wm", "--mirror-warm-up", "3", "--schedule", "multi-step", "--milestones", "0.5", "--threads", "1", "--simd", "scalar"];
        Assert.Equal(0, FeedbackProgram.Run(["train", .. all, .. Small, "--out", first]).Code);
        // Another rule, schedule, model and backend, none of which uses what the config sets.
        string[] other = ["--model", "mlp", "--hidden", "8", "--rule", "bp", "--schedule", "cosine", "--backend", "reference", "--limit-train", "32"];
        (int code, _, string error) = FeedbackProgram.Run(["train", "--config", Path.Combine(first, "config.json"), .. other, "--out", second]);
        Assert.Equal((0, ""), (code, error));
        // The configuration of the reference backend has no settings of the CPU backend.
        Assert.Equal(0, FeedbackProgram.Json(second, "config.json").GetProperty("threads").GetInt32());
    }

    // The rules whose records have the property; these at least.
    private static string RulesWith(string parameter)
    {
        string[] names = [.. RuleCatalog.All.Select(rule => rule.Create()).Where(rule => rule.GetType().GetProperty(parameter) is not null).Select(rule => rule.Name)];
        Assert.Superset(new HashSet<string> { "feedback-alignment", "sign-symmetry", "kolen-pollack" }, new HashSet<string>(names));
        Assert.Equal(parameter == "Scale", names.Contains("direct-feedback-alignment"));
        return $"the rule {string.Join(", ", names[..^1])} or {names[^1]}";
    }

    private string MakeRun()
    {
        string run = Path.Combine(_folder, "run");
        Assert.Equal(0, FeedbackProgram.Run(["train", "--model", "mlp", "--hidden", "8", .. Small, "--out", run]).Code);
        return run;
    }
}
