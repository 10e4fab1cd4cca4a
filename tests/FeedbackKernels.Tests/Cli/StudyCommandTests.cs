using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using FeedbackKernels.Runs;
using FeedbackKernels.Tests.Runs.Checkpoints;

namespace FeedbackKernels.Tests.Cli;

/// <summary><c>feedback study</c> as a user runs it.</summary>
[Collection(nameof(CommandLineTests))]
public sealed class StudyCommandTests : IDisposable
{
    private const string Small = "--model mlp --hidden 8 --limit-train 64 --limit-test 50 --batch 16 --epochs 2 --lr 0.05";

    // What no run repeats, and what differs between two machines.
    private static readonly string[] Timed = ["seconds", "imagesPerSecond"];

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-study").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Tables_and_page_say_what_the_files_of_the_runs_say()
    {
        string[] rules = ["bp", "plain=kp --kp-early-shrink 1"];
        string output = Study("study", $"{Small.Replace(" --lr 0.05", "", StringComparison.Ordinal)} --seeds 1-3 --sweep lr=0.05,0.5", rules);
        Assert.Contains("12 runs: 2 rules x 3 seeds x 2 values of --lr", output);
        Assert.Contains("run 12 of 12: plain, lr 0.5, seed 3", output);
        Dictionary<string, string>[] runs = Table("study/study.csv"), summary = Table("study/summary.csv");
        Assert.Equal(12, runs.Length);
        string page = File.ReadAllText(At("study/study.html"));
        // 97.5 % quantile of Student's t distribution, two degrees of freedom.
        const double factor = 4.302653;
        foreach (string label in (string[])["backprop", "plain"])
        {
            foreach (string value in (string[])["0.05", "0.5"])
            {
                (double[] top1, double[] loss) = OfMetrics(label, value);
                double[] lossBefore = OfMetrics("backprop", value).Loss, difference = [.. loss.Zip(lossBefore, (a, b) => a - b)];
                foreach (((double t, double l), int i) in top1.Zip(loss).Select((p, i) => (p, i)))
                {
                    Dictionary<string, string> row = runs.Single(r => (r["label"], r["value"], r["seed"]) == (label, value, $"{i + 1}"));
                    Assert.Equal(t, Number(row["testTop1"]));
                    // metrics.csv has six digits.
                    Assert.Equal(l, Number(row["trainLoss"]), 1e-4);
                    Assert.Equal(("finished", "--lr", $"{label}/lr-{value}/seed-{i + 1}", "2"), (row["status"], row["option"], row["folder"], row["epochs"]));
                    Assert.Equal((label == "plain" ? "kolen-pollack" : "backprop", label == "plain" ? "--kp-early-shrink 1" : ""), (row["rule"], row["settings"]));
                }

                Dictionary<string, string> Row(string measure) => summary.Single(r => (r["label"], r["value"], r["measure"]) == (label, value, measure));
                Check(Row("testTop1"), "mean", "standardError", top1, 1e-6);
                Check(Row("trainLoss"), "mean", "standardError", loss, 1e-4);
                if (label == "backprop") Assert.Equal("", Row("trainLoss")["pairs"]);
                else
                {
                    Assert.Equal("3", Row("trainLoss")["pairs"]);
                    Check(Row("trainLoss"), "difference", "differenceStandardError", difference, 1e-4);
                }

                (double mean, double error) = Mean(top1);
                Assert.Contains(FormattableString.Invariant($"<td>{100 * mean:F2} ± {100 * factor * error:F2} %</td>"), page);
            }
        }

        JsonElement study = FeedbackProgram.Json(At("study"), "study.json");
        Assert.Equal(12, study.GetProperty("runs").GetArrayLength());
        Assert.Contains("'plain=kp --kp-early-shrink 1'", study.GetProperty("command").GetString());

        void Check(Dictionary<string, string> row, string mean, string error, double[] values, double tolerance)
        {
            (double wanted, double spread) = Mean(values);
            Assert.Equal(wanted, Number(row[mean]), tolerance);
            Assert.Equal(spread, Number(row[error]), tolerance);
            (string low, string high) = mean == "mean" ? ("low95", "high95") : ("differenceLow95", "differenceHigh95");
            Assert.Equal(wanted - factor * spread, Number(row[low]), 10 * tolerance);
            Assert.Equal(wanted + factor * spread, Number(row[high]), 10 * tolerance);
        }
    }

    [Fact]
    public void A_run_of_a_study_is_the_run_of_train_that_it_names()
    {
        Study("study", $"{Small} --rules wm --mirror-warm-up 4 --seeds 2,9");
        JsonElement[] runs = [.. FeedbackProgram.Json(At("study"), "study.json").GetProperty("runs").EnumerateArray()];
        Assert.Equal([2, 9], runs.Select(run => run.GetProperty("seed").GetInt32()));
        foreach (JsonElement run in runs)
        {
            string[] command = run.GetProperty("command").GetString()!.Split(' ');
            string alone = At($"alone-{run.GetProperty("seed")}");
            Assert.Equal((0, ""), FeedbackProgram.Run([.. command[1..], "--out", alone]) is var (code, _, error) ? (code, error) : default);
            EqualRuns.Assert(alone, At($"study/{run.GetProperty("folder").GetString()}"), string.Join(' ', command));
        }
    }

    [Fact]
    public void Runs_side_by_side_end_as_those_one_after_another()
    {
        string[] rules = ["bp", "wm --mirror-warm-up 4", "kp"];
        Study("one", $"{Small} --seeds 1-2", rules);
        Study("three", $"{Small} --seeds 1-2 --parallel 3", rules);
        Assert.Equal(Untimed("one/study.csv"), Untimed("three/study.csv"));
        Assert.Equal(File.ReadAllText(At("one/summary.csv")), File.ReadAllText(At("three/summary.csv")));
        foreach (Dictionary<string, string> run in Table("one/study.csv")) EqualRuns.Assert(At($"one/{run["folder"]}"), At($"three/{run["folder"]}"), run["folder"]);
        // Two processors or more are divided, and each run says how many threads it had.
        string backend = FeedbackProgram.Json(At("three/backprop/seed-1"), "summary.json").GetProperty("backend").GetString()!;
        int share = Math.Max(1, Environment.ProcessorCount / 3);
        Assert.Contains(share == 1 ? " 1 thread" : $" {share} threads", backend);
    }

    [Fact]
    public async Task A_study_that_is_killed_goes_on_and_ends_with_the_same_tables()
    {
        const string longer = "--model lenet --limit-train 512 --limit-test 50 --batch 16 --epochs 8 --checkpoint-every 5 --rules bp,kp --seeds 1-2";
        Study("whole", longer);
        string[] command = ["study", .. longer.Split(' '), "--out", At("killed")];
        using (Process process = FeedbackProgram.Start(_folder, command))
        {
            // In the midst of the second run.
            await WaitFor(At("killed/kolen-pollack/seed-1/checkpoints"), folder => Directory.EnumerateFiles(folder, "step-*.safetensors").Any());
            process.Kill();
            await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        }

        Assert.False(File.Exists(At("killed/kolen-pollack/seed-1/summary.json")), "the run had ended before the study was killed");
        byte[] first = File.ReadAllBytes(At("killed/backprop/seed-1/summary.json"));
        Assert.Equal(["finished"], Table("killed/study.csv").Select(run => run["status"]));
        Assert.Contains("1 of 4 runs have finished", File.ReadAllText(At("killed/study.html")));
        (int code, string output, string error) = FeedbackProgram.Run(command);
        Assert.Equal((0, ""), (code, error));
        Assert.Contains("4 runs: 2 rules x 2 seeds; 1 has ended", output);
        Assert.Equal(first, File.ReadAllBytes(At("killed/backprop/seed-1/summary.json")));
        AssertEqualStudies("whole", "killed");
        Assert.Contains("goes on after step", File.ReadAllText(At("killed/kolen-pollack/seed-1/log.txt")));
        // There is nothing left to do, and the tables stay.
        Assert.Equal((0, ""), FeedbackProgram.Run(command) is var (again, _, complaint) ? (again, complaint) : default);
        AssertEqualStudies("whole", "killed");
    }

    [Theory]
    [InlineData("")]
    [InlineData(" --parallel 2")]
    public async Task A_signal_stops_a_study_which_then_goes_on(string parallel)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "signals of Unix");
        string longer = $"--model lenet --limit-train 256 --limit-test 50 --batch 16 --epochs 20 --checkpoint-every off --rules bp,fa,kp --seeds 1{parallel}";
        Study("whole", longer);
        string[] command = ["study", .. longer.Split(' '), "--out", At("stopped")];
        using (Process process = FeedbackProgram.Start(_folder, command))
        {
            await WaitFor(At("stopped/backprop/seed-1/metrics.csv"), File.Exists);
            using (Process kill = Process.Start("/bin/kill", ["-TERM", process.Id.ToString(CultureInfo.InvariantCulture)])) await kill.WaitForExitAsync(TestContext.Current.CancellationToken);
            (int code, string output, _) = await FeedbackProgram.End(process, TestContext.Current.CancellationToken);
            Assert.Equal(143, code);
            Assert.Contains("stopped; the same command goes on from there", output);
        }

        Dictionary<string, string>[] stopped = Table("stopped/study.csv");
        Assert.InRange(stopped.Length, 1, parallel.Length == 0 ? 1 : 2);
        Assert.Contains("stopped", stopped.Select(run => run["status"]));
        // A run that was stopped has no part in the means.
        Assert.DoesNotContain(Table("stopped/summary.csv"), row => stopped.Any(run => run["status"] == "stopped" && run["label"] == row["label"]));
        (int ended, _, string warning) = FeedbackProgram.Run(command);
        Assert.Equal(0, ended);
        // There are no checkpoints.
        Assert.Contains("it starts from the beginning", warning);
        Assert.Equal(Untimed("whole/study.csv"), Untimed("stopped/study.csv"));
    }

    [Fact]
    public void Longer_lists_extend_a_study()
    {
        Study("study", $"{Small} --rules bp --seeds 1");
        byte[] first = File.ReadAllBytes(At("study/backprop/seed-1/summary.json"));
        string output = Study("study", $"{Small} --rules fa,bp --seeds 1-2");
        Assert.Contains("4 runs: 2 rules x 2 seeds; 1 has ended", output);
        Assert.Contains("run 3 of 3: ", output);
        Assert.Equal(first, File.ReadAllBytes(At("study/backprop/seed-1/summary.json")));
        Assert.Equal(["feedback-alignment 1", "feedback-alignment 2", "backprop 1", "backprop 2"], Table("study/study.csv").Select(run => $"{run["label"]} {run["seed"]}"));
        Study("at-once", $"{Small} --rules fa,bp --seeds 1-2");
        AssertEqualStudies("at-once", "study");
        // Another value of a sweep.
        Study("sweep", $"{Small} --rules bp --seeds 1 --sweep momentum=0.5");
        Assert.Contains("1 has ended", Study("sweep", $"{Small} --rules bp --seeds 1 --sweep momentum=0.90,0.5"));
        // Numbers have one form, so that the same value is the same run.
        Assert.Contains("all have ended", Study("sweep", $"{Small} --rules bp --seeds 1 --sweep momentum=5e-1,.9"));
    }

    [Fact]
    public void Attacks_are_made_on_each_model_as_by_evaluate()
    {
        // A study without attacks gets them later, without training again.
        Study("study", $"{Small} --rules bp,fa --seeds 1-2");
        byte[] trained = File.ReadAllBytes(At("study/backprop/seed-2/model.safetensors"));
        string[] attacks = ["--attack fgsm,pgd --attack-epsilon 0.02", "--attack pgd --attack-epsilon 0.02 --attack-steps 3 --attack-step-size 0.004 --attack-seed 9"];
        foreach (string attack in attacks)
        {
            string output = Study("study", $"{Small} --rules bp,fa --seeds 1-2 {attack}");
            Assert.Contains("pgd, %", output);
            Dictionary<string, string>[] runs = Table("study/study.csv"), summary = Table("study/summary.csv");
            var all = new Dictionary<string, List<double>>();
            foreach (Dictionary<string, string> run in runs)
            {
                (int code, string text, _) = FeedbackProgram.Run(["evaluate", At($"study/{run["folder"]}"), .. attack.Split(' ')]);
                Assert.Equal(0, code);
                foreach (string kind in (string[])["fgsm", "pgd"])
                {
                    Match found = Regex.Match(text, $"\nunder {kind}, .*: top-1 ([0-9.]+) %");
                    Assert.Equal(attack.Contains(kind, StringComparison.Ordinal), found.Success);
                    Assert.Equal(found.Success ? Number(found.Groups[1].Value) / 100 : double.NaN, run[$"{kind}Top1"] is { Length: > 0 } cell ? Number(cell) : double.NaN, 1e-9);
                    if (found.Success) all[$"{run["label"]} {kind}Top1"] = [.. all.GetValueOrDefault($"{run["label"]} {kind}Top1", []), Number(found.Groups[1].Value) / 100];
                }
            }

            foreach ((string name, List<double> values) in all)
                Assert.Equal(values.Average(), Number(summary.Single(row => $"{row["label"]} {row["measure"]}" == name)["mean"]), 1e-9);
            string page = File.ReadAllText(At("study/study.html"));
            Assert.Contains(FormattableString.Invariant($"<td>{100 * all["backprop pgdTop1"].Average():F2} ±"), page);
            Assert.Contains("top-1 under pgd", page);
            // What has been done is not done again.
            byte[] before = File.ReadAllBytes(At("study/backprop/seed-1/attacks.json"));
            Assert.Contains("; all have ended", Study("study", $"{Small} --rules bp,fa --seeds 1-2 {attack}"));
            Assert.Equal(before, File.ReadAllBytes(At("study/backprop/seed-1/attacks.json")));
        }

        Assert.Equal(trained, File.ReadAllBytes(At("study/backprop/seed-2/model.safetensors")));
        // The attacks of before are still there; those on a model that has trained on since are made again.
        Assert.Contains("; all have ended", Study("study", $"{Small} --rules bp,fa --seeds 1-2 {attacks[0]}"));
        File.WriteAllText(At("study/backprop/seed-1/attacks.json"), File.ReadAllText(At("study/backprop/seed-1/attacks.json")).Replace("\"epochs\": 2", "\"epochs\": 1", StringComparison.Ordinal));
        Assert.Contains("3 have ended", Study("study", $"{Small} --rules bp,fa --seeds 1-2 {attacks[0]}"));
        File.WriteAllText(At("study/backprop/seed-1/attacks.json"), "[{");
        (int failed, _, string error) = FeedbackProgram.Run(["study", .. $"{Small} --rules bp,fa --seeds 1-2 {attacks[0]}".Split(' '), "--out", At("study")]);
        Assert.Equal(1, failed);
        Assert.Contains($"{At("study/backprop/seed-1/attacks.json")}: not a list of attacks", error);
    }

    [Fact]
    public void A_model_that_cannot_be_attacked_keeps_its_results()
    {
        Study("study", $"{Small} --rules bp --seeds 1-2");
        string model = At("study/backprop/seed-1/model.safetensors"), accuracy = Table("study/study.csv")[0]["testTop1"];
        byte[] whole = File.ReadAllBytes(model);
        File.WriteAllBytes(model, whole[..^7]);
        string[] line = ["study", .. $"{Small} --rules bp --seeds 1-2 --attack fgsm".Split(' '), "--out", At("study")];
        (int code, string output, string error) = FeedbackProgram.Run(line);
        Assert.Equal(1, code);
        Assert.Contains("1 run could not be attacked: backprop/seed-1", error);
        Assert.Contains("(1 of 2)", output);
        Dictionary<string, string>[] runs = Table("study/study.csv");
        Assert.Equal(("finished", accuracy, ""), (runs[0]["status"], runs[0]["testTop1"], runs[0]["fgsmTop1"]));
        Assert.NotEqual("", runs[1]["fgsmTop1"]);
        Assert.Equal("2", Table("study/summary.csv").Single(row => row["measure"] == "testTop1")["n"]);
        File.WriteAllBytes(model, whole);
        (code, _, error) = FeedbackProgram.Run(line);
        Assert.Equal((0, ""), (code, error));
        Assert.NotEqual("", Table("study/study.csv")[0]["fgsmTop1"]);
    }

    [Fact]
    public void A_run_of_another_configuration_is_refused_and_nothing_is_written()
    {
        Study("study", $"{Small} --rules bp,fa --seeds 1");
        Dictionary<string, byte[]> before = Files("study");
        (int code, _, string error) = FeedbackProgram.Run(["study", .. $"{Small} --rules bp,fa --seeds 1-2 --momentum 0.5".Split(' '), "--out", At("study")]);
        Assert.Equal(1, code);
        Assert.Contains($"folder '{At("study/backprop/seed-1")}' holds a run of another configuration: training.momentum 0.5 instead of 0.9", error);
        Assert.Equal(before, Files("study"));
        // Threads change no result.
        Assert.Contains("all have ended", Study("study", $"{Small} --rules bp,fa --seeds 1 --threads 1"));
    }

    [Fact]
    public void A_run_that_diverges_is_said_and_the_others_run()
    {
        (int code, string output, string error) = FeedbackProgram.Run(
            ["study", .. $"{Small.Replace(" --lr 0.05", "", StringComparison.Ordinal)} --rules bp,fa --seeds 1-2 --sweep lr=1e30,0.05".Split(' '), "--out", At("study")]);
        Assert.Equal(3, code);
        Assert.StartsWith("feedback: 4 runs diverged: backprop/lr-1E+30/seed-1, ", error);
        Assert.Contains("diverged", output);
        Dictionary<string, string>[] runs = Table("study/study.csv");
        Assert.Equal(8, runs.Length);
        Assert.All(runs, run => Assert.Equal(run["value"] == "1E+30" ? "diverged" : "finished", run["status"]));
        Assert.All(runs.Where(run => run["status"] == "diverged"), run => Assert.Contains("at step ", run["failure"]));
        Assert.DoesNotContain(Table("study/summary.csv"), row => row["value"] == "1E+30");
        string page = File.ReadAllText(At("study/study.html"));
        Assert.Contains("<td>0, 2 lost</td>", page);
        Assert.Contains("4 of 8 runs have finished, 4 diverged", page);
        // It would diverge again, so it is not run again.
        (code, output, _) = FeedbackProgram.Run(
            ["study", .. $"{Small.Replace(" --lr 0.05", "", StringComparison.Ordinal)} --rules bp,fa --seeds 1-2 --sweep lr=1e30,0.05".Split(' '), "--out", At("study")]);
        Assert.Equal(3, code);
        Assert.Contains("all have ended", output);
    }

    [Fact]
    public void A_run_that_fails_is_said_and_done_when_its_cause_is_gone()
    {
        string[] command = ["study", .. $"{Small} --rules bp,fa --seeds 1".Split(' '), "--out", At("study")];
        Study("study", $"{Small} --rules fa --seeds 1");
        Directory.CreateDirectory(At("study/backprop"));
        File.WriteAllText(At("study/backprop/seed-1"), "in the way");
        (int code, string output, string error) = FeedbackProgram.Run(command);
        Assert.Equal(1, code);
        Assert.Equal("feedback: 1 run failed: backprop/seed-1\n", error);
        Assert.Contains("is a file, wanted a folder", output);
        Dictionary<string, string> failed = Table("study/study.csv").Single(run => run["label"] == "backprop");
        Assert.Equal("failed", failed["status"]);
        Assert.Contains("is a file, wanted a folder", failed["failure"]);
        File.Delete(At("study/backprop/seed-1"));
        Assert.Equal((0, ""), FeedbackProgram.Run(command) is var (again, _, complaint) ? (again, complaint) : default);
        Assert.All(Table("study/study.csv"), run => Assert.Equal(("finished", ""), (run["status"], run["failure"])));
    }

    [Fact]
    public void The_first_line_counts_one_run_in_the_singular()
    {
        string output = Study("study", $"{Small} --seeds 7", ["bp"]);
        Assert.Contains("1 run: 1 rule x 1 seed\n", output.ReplaceLineEndings("\n"));
    }

    [Fact]
    public void A_rule_that_the_swept_option_has_no_effect_on_runs_once()
    {
        string output = Study("study", $"{Small} --seeds 1-2 --sweep mirror-samples=16,64", ["bp", "wm --mirror-warm-up 4"]);
        Assert.Contains("6 runs: ", output);
        Assert.Equal(
            ["backprop/seed-1", "backprop/seed-2", "weight-mirror--mirror-warm-up-4/mirror-samples-16/seed-1"],
            Table("study/study.csv").Select(run => run["folder"]).Take(3));
        // Both values are compared with the same runs.
        Assert.Equal(["2", "2"], Table("study/summary.csv").Where(row => row["label"] != "backprop" && row["measure"] == "testTop1").Select(row => row["pairs"]));
        JsonElement rule = FeedbackProgram.Json(At("study/weight-mirror--mirror-warm-up-4/mirror-samples-64/seed-2"), "config.json").GetProperty("rule");
        Assert.Equal((64, 4), (rule.GetProperty("samples").GetInt32(), rule.GetProperty("warmUpSteps").GetInt32()));
    }

    [Fact]
    public void A_rule_may_have_options_of_the_run_for_itself()
    {
        Study("study", $"{Small} --seeds 1", ["bp", "slow=bp --lr 0.01 --weight-decay 0"]);
        (double Rate, double Decay) Of(string label)
        {
            JsonElement training = FeedbackProgram.Json(At($"study/{label}/seed-1"), "config.json").GetProperty("training");
            return (training.GetProperty("schedule").GetProperty("peak").GetDouble(), training.GetProperty("weightDecay").GetDouble());
        }

        Assert.Equal((0.05, 5e-4), Of("backprop"));
        Assert.Equal((0.01, 0), Of("slow"));
        // The first that is backprop is the baseline, the other is compared with it.
        Assert.Equal(("", "1"), Table("study/summary.csv").Where(row => row["measure"] == "testTop1").Select(row => row["pairs"]).ToArray() is [var a, var b] ? (a, b) : default);
    }

    [Fact]
    public void Models_and_recipes_can_be_swept()
    {
        string common = "--limit-train 32 --limit-test 16 --batch 16 --epochs 1 --align-every 0 --rules bp --seeds 1";
        Study("models", $"{common} --sweep model=resnet14,mlp,resnet8 --schedule constant");
        Assert.Equal(["resnet14", "mlp", "resnet8"], Table("models/study.csv").Select(run => run["value"]));
        string page = File.ReadAllText(At("models/study.html"));
        Assert.True(page.IndexOf("epochs, model resnet8", StringComparison.Ordinal) < page.IndexOf("epochs, model resnet14", StringComparison.Ordinal));
        Assert.Contains("several models on synthetic", page);
        string config = At("models/backprop/model-mlp/seed-1/config.json");
        // All settings from a file, another seed.
        Study("config", $"--config {config} --rules bp,fa --seeds 5");
        Assert.Equal("constant", FeedbackProgram.Json(At("config/feedback-alignment/seed-5"), "config.json").GetProperty("training").GetProperty("schedule").GetProperty("kind").GetString());
        Study("recipe", $"--recipe cifar10-resnet20-fast --model mlp --hidden 8 --data synthetic {common}");
        Assert.Equal(0.05, FeedbackProgram.Json(At("recipe/backprop/seed-1"), "config.json").GetProperty("training").GetProperty("schedule").GetProperty("peak").GetDouble());
    }

    [Fact]
    public void A_dry_run_lists_the_runs_and_writes_nothing()
    {
        Study("study", $"{Small} --rules bp --seeds 1");
        Dictionary<string, byte[]> before = Files("study");
        (int code, string output, string error) = FeedbackProgram.Run(["study", .. $"{Small} --rules bp,fa --seeds 1-2 --dry-run --parallel 2".Split(' '), "--out", At("study")]);
        Assert.Equal((0, ""), (code, error));
        Assert.Equal(before, Files("study"));
        Assert.Contains($"has ended: feedback train {Small} --rule backprop --seed 1 --out {At("study/backprop/seed-1")}\n", output);
        Assert.Contains($"\nfeedback train {Small} --rule feedback-alignment --seed 2 --out {At("study/feedback-alignment/seed-2")}\n", output);
        Assert.Matches(@"feedback-alignment: about .+ for a run, 2 to do\nbackprop: about .+ for a run, 1 to do\nin all: about .+ one after another", output);
        Assert.Equal(0, FeedbackProgram.Run(["study", .. $"{Small} --rules bp --seeds 1 --dry-run".Split(' '), "--out", At("new")]).Code);
        Assert.False(Directory.Exists(At("new")));
    }

    public static TheoryData<int, string, string[]> WrongUses() => new()
    {
        { 2, "unknown rule 'x'", ["--rules", "bp,x"] },
        { 2, "unknown rule 'bp,kp'", ["--rules", "bp,kp --kp-early-shrink 1"] },
        { 2, "--rules 'kolen-pollack --kp-shrunk 1': unknown option '--kp-shrunk'", ["--rules", "bp", "kp --kp-shrunk 1"] },
        { 2, "--rules 'plain': --kp-early-shrink 2: wanted above 0 to 1", ["--rules", "plain=kp --kp-early-shrink 2"] },
        { 2, "--rules 'feedback-alignment --kp-decay 0.1': --kp-decay has no effect here: it needs the rule kolen-pollack", ["--rules", "fa --kp-decay 0.1", "kp"] },
        { 2, "--rules has backprop 2 times; a label tells rules apart", ["--rules", "bp", "backprop"] },
        { 2, "would have the same folder", ["--rules", "a b=bp", "a-b=fa"] },
        { 2, "wanted a label before the =", ["--rules", "=kp --kp-early-shrink 1"] },
        { 2, "--kp-early-shrink has no effect here", ["--rules", "bp,fa", "--kp-early-shrink", "0.5"] },
        { 2, "--sweep 'lr': wanted OPTION=VALUE", ["--sweep", "lr"] },
        { 2, "--sweep 'lr=0.1,,1': wanted OPTION=VALUE", ["--sweep", "lr=0.1,,1"] },
        { 2, "--sweep 'momentun=0.1': unknown option '--momentun'; did you mean '--momentum'?", ["--sweep", "momentun=0.1"] },
        { 2, "--sweep 'momentum=0.5,0.50': 0.5 is given twice", ["--sweep", "momentum=0.5,0.50"] },
        { 2, "--sweep 'seed=1,2': --seeds gives the seeds", ["--sweep", "seed=1,2"] },
        { 2, "--sweep 'rule=bp,kp': --rules gives the rules", ["--sweep", "rule=bp,kp"] },
        { 2, "--sweep: --momentum 1.5: wanted 0 to below 1", ["--sweep", "momentum=0.5,1.5"] },
        { 2, "--sweep: unknown model 'resnet9'", ["--rules", "bp", "--model", "-", "--sweep", "model=resnet8,resnet9"] },
        { 2, "--sweep: --mirror-samples has no effect here: it needs the rule weight-mirror", ["--rules", "bp,fa", "--sweep", "mirror-samples=16,64"] },
        { 2, "--lr is given and swept", ["--sweep", "lr=0.1,0.2"] },
        { 2, "--momentum is swept, and 'backprop --momentum 0' of --rules sets it", ["--rules", "bp --momentum 0", "--sweep", "momentum=0.1,0.2"] },
        { 2, "--seeds '3-1': wanted numbers and ranges", ["--seeds", "3-1"] },
        { 2, "--seeds '1,x': wanted numbers and ranges", ["--seeds", "1,x"] },
        { 2, "--seeds '1-3,2': 2 is given 2 times", ["--seeds", "1-3,2"] },
        { 2, "--parallel 0: wanted 1 to 1024", ["--parallel", "0"] },
        { 2, "unknown option '--seed'", ["--seed", "1"] },
        // The second value is refused with the data; no run of the first has been done.
        { 1, "backprop, batch 65: a batch of 65 out of 64", ["--rules", "bp", "--batch", "-", "--sweep", "batch=16,65"] },
        { 1, "feedback-alignment --rule-for fcx=bp: no layer matches 'fcx'", ["--rules", "bp", "fa --rule-for fcx=bp"] },
        { 1, "has files in it and no study.json", ["--out", "{other}"] },
    };

    [Theory, MemberData(nameof(WrongUses))]
    public void A_wrong_use_gives_one_clear_line_before_the_first_run(int expected, string part, string[] arguments)
    {
        string other = Directory.CreateDirectory(At("other")).FullName;
        File.WriteAllText(At("other/precious"), "");
        // A dash takes an option away from the usual ones.
        List<string> words = [.. Small.Split(' ')];
        for (int i = 0; i + 1 < arguments.Length; i++)
        {
            if (arguments[i + 1] == "-") words.RemoveRange(words.IndexOf(arguments[i]), 2);
        }

        string[] given = [.. arguments.Where((word, i) => word != "-" && (i + 1 == arguments.Length || arguments[i + 1] != "-")).Select(word => word == "{other}" ? other : word)];
        (int code, _, string error) = FeedbackProgram.Run(["study", .. words, .. given, .. given.Contains("--out") ? Array.Empty<string>() : ["--out", At("study")]]);
        Assert.Equal(expected, code);
        Assert.Contains(part, error);
        Assert.StartsWith("feedback: ", Assert.Single(error.TrimEnd('\n').Split('\n')));
        Assert.False(Directory.Exists(At("study")));
        Assert.Equal(["precious"], Directory.EnumerateFileSystemEntries(other).Select(Path.GetFileName));
    }

    [Fact]
    public void A_study_needs_a_folder_that_no_other_writes_to()
    {
        (int code, _, string error) = FeedbackProgram.Run(["study", .. Small.Split(' ')]);
        Assert.Equal(2, code);
        Assert.Contains("--out", error);
        using (ClaimedFolder.Take(At("study")))
        {
            (code, _, error) = FeedbackProgram.Run(["study", .. $"{Small} --rules bp --seeds 1".Split(' '), "--out", At("study")]);
            Assert.Equal(1, code);
            Assert.Contains("is in use", error);
        }
    }

    private string At(string name) => Path.Combine(_folder, name);

    /// <summary>A study without errors; its output.</summary>
    private string Study(string folder, string options, params string[] rules)
    {
        (int code, string output, string error) = FeedbackProgram.Run(["study", .. options.Split(' '), .. rules.Length == 0 ? rules : ["--rules", .. rules], "--out", At(folder)]);
        Assert.Equal((0, ""), (code, error));
        return output;
    }

    /// <summary>Last test accuracy and training loss of the seeds 1 to 3, from the tables of their runs.</summary>
    private (double[] Top1, double[] Loss) OfMetrics(string label, string value)
    {
        string[][] last = [.. Enumerable.Range(1, 3).Select(seed => File.ReadAllLines(At($"study/{label}/lr-{value}/seed-{seed}/metrics.csv"))[^1].Split(','))];
        return ([.. last.Select(cells => Number(cells[6]))], [.. last.Select(cells => Number(cells[3]))]);
    }

    private static (double Mean, double Error) Mean(double[] values)
    {
        double mean = (values[0] + values[1] + values[2]) / 3;
        double squares = Math.Pow(values[0] - mean, 2) + Math.Pow(values[1] - mean, 2) + Math.Pow(values[2] - mean, 2);
        return (mean, Math.Sqrt(squares / 2 / 3));
    }

    private static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);

    private Dictionary<string, string>[] Table(string file)
    {
        string[] lines = File.ReadAllLines(At(file));
        string[] header = lines[0].Split(',');
        return [.. lines.Skip(1).Select(Cells).Select(cells => header.Zip(cells).ToDictionary(p => p.First, p => p.Second))];
    }

    private static IEnumerable<string> Cells(string line) =>
        Regex.Matches(line, "(?:^|,)(?:\"((?:[^\"]|\"\")*)\"|([^,]*))").Select(m => m.Groups[1].Success ? m.Groups[1].Value.Replace("\"\"", "\"", StringComparison.Ordinal) : m.Groups[2].Value);

    private string Untimed(string file) => string.Join('\n', Table(file).Select(row => string.Join(',', row.Where(cell => !Timed.Contains(cell.Key)).Select(cell => cell.Value))));

    private void AssertEqualStudies(string expected, string actual)
    {
        Assert.Equal(Untimed($"{expected}/study.csv"), Untimed($"{actual}/study.csv"));
        Assert.Equal(File.ReadAllText(At($"{expected}/summary.csv")), File.ReadAllText(At($"{actual}/summary.csv")));
        foreach (Dictionary<string, string> run in Table($"{expected}/study.csv")) EqualRuns.Assert(At($"{expected}/{run["folder"]}"), At($"{actual}/{run["folder"]}"), run["folder"]);
    }

    private Dictionary<string, byte[]> Files(string folder) => Directory.EnumerateFiles(At(folder), "*", SearchOption.AllDirectories).Order().ToDictionary(file => file, File.ReadAllBytes);

    private static async Task WaitFor(string path, Func<string, bool> holds)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        stop.CancelAfter(Patience);
        while (!(File.Exists(path) || Directory.Exists(path)) || !holds(path)) await Task.Delay(5, stop.Token);
    }
}
