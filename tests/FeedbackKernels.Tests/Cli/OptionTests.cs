using System.CommandLine;
using System.Diagnostics;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Cuda;
using FeedbackKernels.Tests.Data;
using FeedbackKernels.Tests.Runs;

namespace FeedbackKernels.Tests.Cli;

/// <summary>Each option of each command, with a value other than the default: config.json has the value, and the run shows its effect.
/// The options come from the parser, so a new option without a case fails.</summary>
[Collection(nameof(CommandLineTests))]
public sealed class OptionTests(OptionTests.Bench bench) : IClassFixture<OptionTests.Bench>
{
    private const string Usual =
        "--model lenet --limit-train 64 --limit-test 32 --batch 16 --epochs 1 --align-every 0 --lr 0.1 --schedule cosine";

    private static readonly OptionCase[] EvaluateCases =
    [
        new("--data mnist:{digits}-copy", (_, with) => Assert.Contains("digits-copy: top-1", with.Output), With: "{digits-run}"),
        new("--limit-test 16", (_, with) => Assert.Contains(", 16 test images", with.Output), With: "{run}"),
        new("--test-flip", (without, with) => Assert.NotEqual(without.Output, with.Output), With: "{run}"),
        new("--attack fgsm", (_, with) => Assert.Contains("\nunder fgsm, epsilon 8/255: top-1 ", with.Output), With: "{run}"),
        new("--attack fgsm,pgd", (_, with) => Assert.Matches("\nunder fgsm, .*\nunder pgd, ", with.Output), With: "{run}"),
        new("--attack-epsilon 0.1", (_, with) => Assert.Contains("\nunder fgsm, epsilon 25.5/255: top-1 ", with.Output), With: "{run} --attack fgsm"),
        new("--attack-steps 3", (_, with) => Assert.Contains(", 3 steps of 6.667/255, seed 1: ", with.Output), With: "{run} --attack pgd"),
        new("--attack-step-size 0.02", (_, with) => Assert.Contains(", 10 steps of 5.1/255, seed 1: ", with.Output), With: "{run} --attack pgd"),
        new("--attack-seed 2", (without, with) => Assert.NotEqual(without.Output, with.Output), With: "{run} --attack pgd"),
        new("--test-size 24", (without, with) => Assert.NotEqual(without.Output, with.Output), With: "{photos-run}"),
        new("--test-resize 40", (without, with) => Assert.NotEqual(without.Output, with.Output), With: "{photos-run}"),
        new("--backend reference", (_, with) => Assert.StartsWith("backend reference: ", with.Output), With: "{run}"),
        new("--threads 3", (_, with) => Assert.Contains("3 threads", with.Output), With: "{run}"),
        new("--simd scalar", (_, with) => Assert.Contains("Scalar, 1 floats", with.Output), With: "{run}"),
        new("--exact", (_, with) => Assert.Contains("no Winograd", with.Output), With: "{run}"),
        new("--device 1", (_, with) => Assert.Contains(", device 1, ", with.Output), With: "{small-run}", Cuda: true),
        new("--precision bf16", (_, with) => Assert.Contains("activations in bf16", with.Output), With: "{small-run}", Cuda: true),
    ];

    private static readonly OptionCase[] InfoCases =
    [
        new("--model mlp", (_, with) => Assert.Contains("\nmlp: images 32x32x3, 10 classes", with.Output)),
        new("--hidden 16", (_, with) => Assert.Contains("49,338 parameters", with.Output), With: "--model mlp"),
        new("--size 36", (_, with) => Assert.Contains("images 36x36x3", with.Output)),
        new("--channels 1", (_, with) => Assert.Contains("images 32x32x1", with.Output)),
        new("--classes 7", (_, with) => Assert.Contains("7 classes", with.Output)),
        // With few images, Winograd serves other layers.
        new("--batch 1", (without, with) => Assert.NotEqual(without.Output, with.Output), With: "--model resnet20"),
        new("--exact", (without, with) => Assert.Equal((true, false), (HasWinograd(without), HasWinograd(with))), With: "--model resnet20"),
        new("--backend reference", (_, with) => Assert.StartsWith("backend reference: ", with.Output)),
        new("--threads 3", (_, with) => Assert.Contains("3 threads", with.Output)),
        new("--simd scalar", (_, with) => Assert.Contains("Scalar, 1 floats", with.Output)),
        new("--device 1", (_, with) => Assert.Contains(", device 1, ", with.Output), Cuda: true),
        new("--precision bf16", (_, with) => Assert.Contains("activations in bf16", with.Output), Cuda: true),
        new("--load-kernels", (without, with) => Assert.True(FilesIn(with) > FilesIn(without) && FilesIn(without) > 0), Cuda: true),
    ];

    private static readonly OptionCase[] PackCases =
    [
        new("--encode raw", (_, with) => Assert.All(FormatsOf(with), format => Assert.Equal(ImageFormat.Pnm, format))),
        new("--longest-side 12", (_, with) => Assert.All(SizesOf(with), size => Assert.Equal((9, 12), size)), With: "--encode raw"),
        new("--shortest-side 6", (_, with) => Assert.All(SizesOf(with), size => Assert.Equal((6, 8), size)), With: "--encode raw"),
        new("--quality 20", (without, with) => Assert.True(with.Packed.Length < without.Packed.Length), With: "--encode jpeg"),
        new("--raw-share 1", (_, with) => Assert.All(FormatsOf(with), format => Assert.Equal(ImageFormat.Pnm, format))),
        new("--seed 5", (without, with) => Assert.NotEqual(without.Packed, with.Packed)),
        new("--threads 3", (without, with) => Assert.Equal(without.Packed, with.Packed)),
        new("--limit-train 4", (_, with) => Assert.Contains("4 training and 6 test images", with.Output)),
        new("--limit-test 2", (_, with) => Assert.Contains("12 training and 2 test images", with.Output)),
    ];

    // Those of the backend, as of evaluate.
    private static readonly OptionCase[] PredictCases = [.. EvaluateCases.Where(c => c.Option is "--backend" or "--threads" or "--simd" or "--exact" or "--device" or "--precision").Select(c => c with { With = $"{c.With} {{picture}}" })];

    private static readonly OptionCase[] InspectCases =
    [
        new("--sheet {sheet}.png", (_, with) => Assert.Contains("contact sheet: ", with.Output), With: "{packed}"),
    ];

    private static readonly OptionCase[] VerifyCases =
    [
        new("--threads 3", (without, with) => Assert.Equal(without.Output, with.Output), With: "{packed}"),
    ];

    /// <summary>Options that another test covers.</summary>
    private static readonly Dictionary<string, string> Elsewhere = new()
    {
        ["train --rule"] = nameof(The_rule_is_the_one_that_is_named),
        ["compare --rules"] = nameof(Compare_gives_every_rule_the_same_start),
        ["train --config"] = nameof(A_config_gives_every_setting_of_its_run),
        ["compare --config"] = nameof(A_config_gives_every_setting_of_its_run),
        ["train --damaged-is-fatal"] = nameof(A_damaged_image_is_said_or_ends_the_run),
        ["compare --damaged-is-fatal"] = nameof(A_damaged_image_is_said_or_ends_the_run),
        ["train --sync-batch-norm"] = nameof(MpiTests.Synchronised_batch_norms_are_an_option_of_several_processes),
        ["train --mirror-split"] = nameof(MpiTests.Processes_can_divide_the_samples_of_the_mirror),
        ["train --out"] = nameof(Every_case_has_a_folder_of_its_own),
        ["compare --out"] = nameof(Every_case_has_a_folder_of_its_own),
        ["train --overwrite"] = nameof(Overwrite_lets_a_folder_be_used_again),
        ["compare --overwrite"] = nameof(Overwrite_lets_a_folder_be_used_again),
        ["evaluate --batch"] = nameof(Evaluate_plans_for_its_batch),
        ["train --verbose"] = nameof(Verbose_shows_where_an_error_occurred),
        ["compare --verbose"] = nameof(Verbose_shows_where_an_error_occurred),
        ["evaluate --verbose"] = nameof(Verbose_shows_where_an_error_occurred),
        ["train --checkpoint-every"] = nameof(ResumeCommandTests.Checkpoints_are_written_at_their_steps_and_at_the_end_of_each_epoch),
        ["compare --checkpoint-every"] = nameof(ResumeCommandTests.Checkpoints_are_written_at_their_steps_and_at_the_end_of_each_epoch),
        ["train --keep-checkpoints"] = nameof(ResumeCommandTests.Checkpoints_are_written_at_their_steps_and_at_the_end_of_each_epoch),
        ["compare --keep-checkpoints"] = nameof(ResumeCommandTests.Checkpoints_are_written_at_their_steps_and_at_the_end_of_each_epoch),
        ["train --recipe"] = nameof(RecipeTests.A_recipe_is_for_both_commands),
        ["compare --recipe"] = nameof(RecipeTests.A_recipe_is_for_both_commands),
        ["train --lr-per-256"] = nameof(RecipeTests.The_rate_is_scaled_with_the_batch),
        ["compare --lr-per-256"] = nameof(RecipeTests.The_rate_is_scaled_with_the_batch),
        ["study --rules"] = nameof(StudyCommandTests.A_rule_may_have_options_of_the_run_for_itself),
        ["study --seeds"] = nameof(StudyCommandTests.A_run_of_a_study_is_the_run_of_train_that_it_names),
        ["study --sweep"] = nameof(StudyCommandTests.Tables_and_page_say_what_the_files_of_the_runs_say),
        ["study --attack"] = nameof(StudyCommandTests.Attacks_are_made_on_each_model_as_by_evaluate),
        ["study --attack-epsilon"] = nameof(StudyCommandTests.Attacks_are_made_on_each_model_as_by_evaluate),
        ["study --attack-steps"] = nameof(StudyCommandTests.Attacks_are_made_on_each_model_as_by_evaluate),
        ["study --attack-step-size"] = nameof(StudyCommandTests.Attacks_are_made_on_each_model_as_by_evaluate),
        ["study --attack-seed"] = nameof(StudyCommandTests.Attacks_are_made_on_each_model_as_by_evaluate),
        ["study --parallel"] = nameof(StudyCommandTests.Runs_side_by_side_end_as_those_one_after_another),
        ["study --dry-run"] = nameof(StudyCommandTests.A_dry_run_lists_the_runs_and_writes_nothing),
        ["study --out"] = nameof(StudyCommandTests.Longer_lists_extend_a_study),
        ["study --verbose"] = nameof(Verbose_shows_where_an_error_occurred),
        ["recipes --verbose"] = nameof(Verbose_shows_where_an_error_occurred),
        ["train --resume-if-there"] = nameof(ResumeCommandTests.Resume_if_there_starts_then_goes_on_then_says_that_it_is_finished),
        ["train --reduce-type"] = nameof(Collectives.NcclCommandLineTests.Gradients_in_bf16_train_to_another_model_and_a_resumed_run_keeps_them),
        ["resume --epochs"] = nameof(ResumeCommandTests.More_epochs_end_as_if_they_had_been_asked_for_at_once),
        ["resume --data"] = nameof(ResumeCommandTests.An_option_of_resume_changes_the_run_that_goes_on),
        ["resume --threads"] = nameof(ResumeCommandTests.An_option_of_resume_changes_the_run_that_goes_on),
        ["resume --checkpoint-every"] = nameof(ResumeCommandTests.An_option_of_resume_changes_the_run_that_goes_on),
        ["resume --keep-checkpoints"] = nameof(ResumeCommandTests.An_option_of_resume_changes_the_run_that_goes_on),
        ["resume --data-threads"] = nameof(A_run_of_photos_goes_on_with_other_threads),
        ["resume --batches-ahead"] = nameof(A_run_of_photos_goes_on_with_other_threads),
        ["resume --ram-cache"] = nameof(A_run_of_photos_goes_on_with_other_threads),
        ["resume --device"] = nameof(A_run_goes_on_on_another_device),
        ["resume --no-cuda-graph"] = nameof(A_run_goes_on_on_another_device),
        ["resume --verbose"] = nameof(Verbose_shows_where_an_error_occurred),
        ["info --verbose"] = nameof(Verbose_shows_where_an_error_occurred),
        ["plan --measure"] = nameof(Measuring_longer_takes_longer),
        ["watch --port"] = nameof(WatchProgramTests.The_options_are_those_of_the_program),
        ["watch --host"] = nameof(WatchProgramTests.The_options_are_those_of_the_program),
        ["watch --verbose"] = nameof(Verbose_shows_where_an_error_occurred),
        ["pack --on-damage"] = nameof(PackCommandTests.A_damaged_picture_is_named_and_can_be_left_out),
        ["pack --overwrite"] = nameof(PackCommandTests.Overwrite_replaces_a_file_and_limits_take_a_part),
        ["pack --verbose"] = nameof(Verbose_shows_where_an_error_occurred),
        ["export --format"] = nameof(WeightCommandTests.The_ending_onnx_chooses_the_format_and_folding_removes_the_norms),
        ["export --fold-norms"] = nameof(WeightCommandTests.The_ending_onnx_chooses_the_format_and_folding_removes_the_norms),
        ["export --no-feedback"] = nameof(WeightCommandTests.Export_replaces_a_file_only_if_asked),
        ["export --overwrite"] = nameof(WeightCommandTests.Export_replaces_a_file_only_if_asked),
        ["export --verbose"] = nameof(Verbose_shows_where_an_error_occurred),
        ["import --model"] = nameof(WeightCommandTests.Options_of_import_say_what_the_file_does_not),
        ["import --norm-order"] = nameof(WeightCommandTests.Options_of_import_say_what_the_file_does_not),
        ["import --size"] = nameof(WeightCommandTests.Options_of_import_say_what_the_file_does_not),
        ["import --resize"] = nameof(WeightCommandTests.Options_of_import_say_what_the_file_does_not),
        ["import --mean"] = nameof(WeightCommandTests.Options_of_import_say_what_the_file_does_not),
        ["import --std"] = nameof(WeightCommandTests.Options_of_import_say_what_the_file_does_not),
        ["import --class-names"] = nameof(WeightCommandTests.Options_of_import_say_what_the_file_does_not),
        ["import --data"] = nameof(WeightCommandTests.Options_of_import_say_what_the_file_does_not),
        ["import --out"] = nameof(WeightCommandTests.An_exported_run_is_imported_and_evaluates_alike),
        ["import --overwrite"] = nameof(WeightCommandTests.An_exported_run_is_imported_and_evaluates_alike),
        ["import --verbose"] = nameof(Verbose_shows_where_an_error_occurred),
        ["predict --json"] = nameof(WeightCommandTests.Predict_finds_the_classes_that_evaluate_finds),
        ["predict --batch"] = nameof(WeightCommandTests.Predict_finds_the_classes_that_evaluate_finds),
        ["predict --verbose"] = nameof(Verbose_shows_where_an_error_occurred),
        ["inspect --verbose"] = nameof(Verbose_shows_where_an_error_occurred),
        ["verify --verbose"] = nameof(Verbose_shows_where_an_error_occurred),
    };

    public static TheoryData<string, string, string> Cases()
    {
        var data = new TheoryData<string, string, string>();
        foreach (string command in FeedbackProgram.Commands.Select(c => c.Name))
        {
            foreach (OptionCase c in CasesOf(command)) data.Add(command, c.Given, c.With);
        }

        return data;
    }

    [Fact]
    public void Every_option_of_the_parser_has_a_case()
    {
        foreach (Command command in FeedbackProgram.Commands)
        {
            string[] options = [.. FeedbackProgram.OptionsOf(command).Where(o => o is not System.CommandLine.Help.HelpOption).Select(o => o.Name)];
            foreach (string option in options)
                // The options of plan and study are read as those of train, which has cases for them.
                Assert.True(
                    Elsewhere.ContainsKey($"{command.Name} {option}") || CasesOf(command.Name).Any(c => c.Option == option)
                    || (command.Name is "plan" or "study" && (Elsewhere.ContainsKey($"train {option}") || CasesOf("train").Any(c => c.Option == option))),
                    $"{command.Name} {option}: no case");
            Assert.All(CasesOf(command.Name), c => Assert.Contains(c.Option, options));
        }
    }

    [Theory, MemberData(nameof(Cases))]
    [SeveralDevices("of --device")]
    public void An_option_is_kept_and_changes_what_runs(string command, string given, string with)
    {
        OptionCase option = CasesOf(command).First(c => c.Given == given && c.With == with);
        if (option.Cuda) CudaUnderTest.RequireDevices(option.Option == "--device" ? 2 : 1);
        Trial[] without = bench.Run(command, option.With, "", option.Cuda), changed = bench.Run(command, option.With, option.Given, option.Cuda);
        Assert.Equal(without.Length, changed.Length);
        foreach ((Trial before, Trial after) in without.Zip(changed))
        {
            option.Shows(before, after);
            if (option.Config is null) continue;
            Assert.Equal(bench.Fill(option.Value!), after.Config(option.Config));
            // With the default value the case would prove nothing.
            if (!option.Config.Contains(".0", StringComparison.Ordinal)) Assert.NotEqual(after.Config(option.Config), before.Config(option.Config));
        }
    }

    [Fact]
    public void Plan_and_study_take_the_options_of_train_but_those_of_its_folder_and_of_several_processes()
    {
        string[] Names(string command) => [.. FeedbackProgram.OptionsOf(FeedbackProgram.Commands.Single(c => c.Name == command)).Select(o => o.Name).Order()];
        string[] several = ["--sync-batch-norm", "--mirror-split", "--reduce-type"];
        Assert.Equal(Names("train").Except(["--out", "--overwrite", "--resume-if-there", .. several]).Append("--measure").Order(), Names("plan"));
        string[] study = ["--rules", "--seeds", "--sweep", "--parallel", "--dry-run", "--attack", "--attack-epsilon", "--attack-steps", "--attack-step-size", "--attack-seed"];
        Assert.Equal(Names("train").Except(["--rule", "--seed", "--overwrite", "--resume-if-there", .. several]).Concat(study).Order(), Names("study"));
        // They have their effect: other rules need other states, other models other numbers.
        string[] usual = ["plan", "--measure", "0", "--limit-train", "64", "--limit-test", "32", "--batch", "16", "--epochs", "2"];
        string[] plain = FeedbackProgram.Run([.. usual, "--model", "lenet"]).Output.Split('\n'), other = FeedbackProgram.Run([.. usual, "--model", "mlp", "--hidden", "16", "--rule", "kp", "--align-every", "0"]).Output.Split('\n');
        Assert.Contains("model: lenet under backprop: 62,006 parameters", plain.Single(line => line.StartsWith("model: ", StringComparison.Ordinal)));
        Assert.Contains("model: mlp under kolen-pollack: 49,338 parameters", other.Single(line => line.StartsWith("model: ", StringComparison.Ordinal)));
    }

    [Fact]
    public void Measuring_longer_takes_longer()
    {
        string[] arguments = ["plan", "--model", "mlp", "--hidden", "8", "--limit-train", "10000", "--limit-test", "16", "--batch", "1", "--align-every", "0", "--measure"];
        long start = Stopwatch.GetTimestamp();
        Assert.Equal(0, FeedbackProgram.Run([.. arguments, "0"]).Code);
        TimeSpan brief = Stopwatch.GetElapsedTime(start);
        start = Stopwatch.GetTimestamp();
        Assert.Equal(0, FeedbackProgram.Run([.. arguments, "0.5"]).Code);
        // An epoch has 10,000 steps, which take longer than that.
        Assert.True(Stopwatch.GetElapsedTime(start) > TimeSpan.FromSeconds(0.45), $"{brief} and {Stopwatch.GetElapsedTime(start)}");
    }

    [Theory]
    [InlineData("kp", "kolen-pollack")]
    [InlineData("feedback-alignment", "feedback-alignment")]
    public void The_rule_is_the_one_that_is_named(string given, string name)
    {
        Trial without = Assert.Single(bench.Run("train", "", "", cuda: false)), with = Assert.Single(bench.Run("train", "", $"--rule {given}", cuda: false));
        Assert.Equal(("backprop", name), (without.Config("rule.rule"), with.Config("rule.rule")));
        OptionCase.OtherModel(without, with);
    }

    [Fact]
    public void Compare_gives_every_rule_the_same_start()
    {
        // With a learning rate of 0 the trained weights are the initial ones.
        Trial[] still = bench.Run("compare", "", "--rules bp,fa,ss,dfa --lr 0", cuda: false);
        Assert.Equal(4, still.Length);
        Trial backprop = still.Single(r => r.Config("rule.rule") == "backprop");
        Assert.NotEmpty(backprop.Tensors);
        Assert.All(still, rule => Assert.All(backprop.Tensors, tensor => Assert.Equal(tensor.Value, rule.Tensors[tensor.Key])));
        Assert.All(still, rule => Assert.Equal(backprop.Metrics[0][3], rule.Metrics[0][3]));
        // They equal those of train with the same seed, and differ from those of another seed.
        Trial[] other = bench.Run("compare", "", "--rules bp,fa --lr 0 --seed 7", cuda: false);
        Assert.All(other[0].Tensors, tensor => Assert.Equal(tensor.Value, other[1].Tensors[tensor.Key]));
        Assert.NotEqual(backprop.Model, other[0].Model);
        Assert.Equal(other[0].Model, bench.Run("train", "", "--lr 0 --seed 7", cuda: false)[0].Model);
        // The images and their order are the same too: a rule trains as it would alone.
        Trial[] moving = bench.Run("compare", "", "--rules fa,bp", cuda: false);
        Assert.Equal(bench.Run("train", "", "", cuda: false)[0].Model, moving.Single(r => r.Config("rule.rule") == "backprop").Model);
        Assert.Equal(bench.Run("train", "", "--rule fa", cuda: false)[0].Model, moving.Single(r => r.Config("rule.rule") == "feedback-alignment").Model);
    }

    [Theory]
    [InlineData("train", "--rule wm --mirror-warm-up 5 --augment crop-flip --lr 0.05 --seed 3")]
    [InlineData("train", "--rule kp --kp-early-steps 3 --augment flip --normalize unit --schedule multi-step --milestones 0.5")]
    [InlineData("compare", "--augment crop --schedule one-cycle --clip-norm 0.5")]
    public void A_config_gives_every_setting_of_its_run(string command, string settings)
    {
        Trial[] first = bench.Run(command, "", settings, cuda: false);
        string config = Path.Combine(first[0].Folder, "config.json");
        string rules = command == "compare" ? " --rules bp,fa" : "";
        Trial[] second = bench.Run(command, "", $"--config {config}{rules}", cuda: false, usual: "");
        foreach ((Trial before, Trial after) in first.Zip(second))
        {
            Assert.Equal(before.Model, after.Model);
            Assert.Equal(File.ReadAllText(Path.Combine(before.Folder, "config.json")), File.ReadAllText(Path.Combine(after.Folder, "config.json")));
        }

        // Options on the command line override the file.
        Trial[] third = bench.Run(command, "", $"--config {config}{rules} --momentum 0.25", cuda: false, usual: "");
        Assert.All(third, run => Assert.Equal("0.25", run.Config("training.momentum")));
        Assert.Equal(first[0].Config("training.augmentation"), third[0].Config("training.augmentation"));
        OptionCase.OtherModel(first[0], third[0]);
    }

    [Theory]
    [InlineData("train")]
    [InlineData("compare")]
    public void Every_case_has_a_folder_of_its_own(string command)
    {
        Trial[] runs = bench.Run(command, "", "", cuda: false);
        Assert.All(runs, run => Assert.True(File.Exists(Path.Combine(run.Folder, "summary.json"))));
        Assert.Contains(command == "train" ? runs[0].Folder : Path.GetDirectoryName(runs[0].Folder)!, runs[0].Output);
    }

    [Theory]
    [InlineData("train")]
    [InlineData("compare")]
    public void Overwrite_lets_a_folder_be_used_again(string command)
    {
        string folder = Path.Combine(bench.Folder, $"again-{command}");
        string[] arguments = [command, .. Usual.Split(' '), .. command == "compare" ? (string[])["--rules", "bp"] : [], "--out", folder];
        Assert.Equal(0, FeedbackProgram.Run(arguments).Code);
        (int code, _, string error) = FeedbackProgram.Run(arguments);
        Assert.NotEqual(0, code);
        Assert.Contains("not empty", error);
        Assert.Equal((0, ""), FeedbackProgram.Run([.. arguments, "--overwrite"]) is var (again, _, complaint) ? (again, complaint) : default);
    }

    [Fact]
    public void Evaluate_plans_for_its_batch()
    {
        string run = bench.Fill("{run}");
        string Evaluate(string batch) => FeedbackProgram.Run("evaluate", run, "--batch", batch) is (0, var output, "") ? output : "";
        // The result does not depend on the batch, but the memory does.
        Assert.Equal(Evaluate("5"), Evaluate("32"));
        Assert.NotEmpty(Evaluate("5"));
        (int code, _, string error) = FeedbackProgram.Run("evaluate", run, "--batch", "2000000000");
        Assert.NotEqual(0, code);
        Assert.Contains("2000000000", error);
    }

    [Fact]
    public void A_run_of_photos_goes_on_with_other_threads()
    {
        string run = Path.Combine(bench.Folder, "photos-resumed"), packed = bench.Fill("packed:{photos-packed}");
        Assert.Equal(0, FeedbackProgram.Run("train", "--data", packed, "--model", "lenet", "--batch", "16", "--epochs", "1", "--schedule", "constant", "--out", run).Code);
        (int code, string output, string error) = FeedbackProgram.Run("resume", run, "--epochs", "2", "--data-threads", "3", "--batches-ahead", "5", "--ram-cache");
        Assert.Equal((0, ""), (code, error));
        Assert.Contains("3 threads decode images", output);
        Assert.Contains("5 batches ahead", output);
        Assert.Equal("True", new Trial("resume", run, output).Config("ramCache"));
        // The images in memory are those of the file.
        string undisturbed = Path.Combine(bench.Folder, "photos-at-once");
        Assert.Equal(0, FeedbackProgram.Run("train", "--data", packed, "--model", "lenet", "--batch", "16", "--epochs", "2", "--schedule", "constant", "--out", undisturbed).Code);
        Assert.Equal(new Trial("train", undisturbed, "").Model, new Trial("resume", run, "").Model);
    }

    [Fact]
    [SeveralDevices("")]
    public void A_run_goes_on_on_another_device()
    {
        CudaUnderTest.RequireDevices(2);
        // All epochs but the last: a run with more of them goes on.
        Trial run = Assert.Single(bench.Run("train", "--model mlp --hidden 8 --epochs 1 --schedule constant --backend cuda", "", cuda: true));
        Assert.Contains(", device 0, ", run.Summary("backend"));
        (int code, _, string error) = Bench.RunOnCuda(["resume", run.Folder, "--epochs", "2", "--device", "1", "--no-cuda-graph"]);
        Assert.Equal((0, ""), (code, error));
        Assert.Contains(", device 1, ", run.Summary("backend"));
        Assert.Contains("no graphs", run.Summary("backend"));
        Assert.Equal(("1", "False"), (run.Config("device"), run.Config("cudaGraphs")));
        Assert.Equal(2, run.Metrics.Length);
    }

    [Theory]
    [InlineData("train")]
    [InlineData("compare")]
    public void A_damaged_image_is_said_or_ends_the_run(string command)
    {
        string photos = Path.Combine(bench.Folder, $"damaged-{command}");
        SmallPhotos.Write(photos, train: 32, test: 16, onlyJpeg: true);
        string image = Path.Combine(photos, "train", "class1", "0005.jpg");
        File.WriteAllBytes(image, File.ReadAllBytes(image)[..^200]);
        string[] arguments =
        [
            command, "--data", $"imagefolder:{photos}", "--model", "lenet", "--batch", "16", "--epochs", "1", .. command == "compare" ? (string[])["--rules", "bp"] : [],
            "--out", Path.Combine(bench.Folder, $"damaged-{command}-run"), "--overwrite",
        ];
        (int code, string output, string error) = FeedbackProgram.Run(arguments);
        Assert.Equal((0, ""), (code, error));
        Assert.Contains(image, output);
        Assert.Contains("1 images are damaged", output);
        (code, _, error) = FeedbackProgram.Run([.. arguments, "--damaged-is-fatal"]);
        Assert.Equal(1, code);
        Assert.Contains(image, error);
    }

    [Theory]
    [InlineData("resume /not/there")]
    [InlineData("train --data nowhere")]
    [InlineData("compare --data nowhere")]
    [InlineData("study --data nowhere --out none")]
    [InlineData("evaluate /not/there")]
    [InlineData("info --backend nothing")]
    [InlineData("watch /not/there")]
    [InlineData("pack imagefolder:/not/there x.packed")]
    [InlineData("inspect /not/there")]
    [InlineData("export /not/there x.safetensors")]
    [InlineData("import /not/there")]
    [InlineData("predict /not/there x.jpg")]
    [InlineData("verify /not/there")]
    public void Verbose_shows_where_an_error_occurred(string arguments)
    {
        Assert.DoesNotContain("   at ", FeedbackProgram.Run(arguments.Split(' ')).Error);
        Assert.Contains("   at FeedbackKernels.", FeedbackProgram.Run([.. arguments.Split(' '), "--verbose"]).Error);
    }

    private static ImageFormat[] FormatsOf(Trial trial) => OfPacked(trial, images => Enumerable.Range(0, images.Count).Select(images.FormatOf));

    private static (int, int)[] SizesOf(Trial trial) => OfPacked(trial, images => Enumerable.Range(0, images.Count).Select(images.SizeOf));

    private static T[] OfPacked<T>(Trial trial, Func<PackedImages, IEnumerable<T>> read)
    {
        using PackedFile file = PackedFile.Open(Path.Combine(trial.Folder, Trial.PackedFile));
        return [.. read(file.Train), .. read(file.Test)];
    }

    private static int FilesIn(Trial trial) =>
        int.Parse(trial.Output.Split("CUDA kernels loaded: ")[1].Split(' ')[0], System.Globalization.CultureInfo.InvariantCulture);

    private static bool HasWinograd(Trial trial) => trial.Output.Contains(") Winograd", StringComparison.Ordinal);

    private static OptionCase[] CasesOf(string command) => command switch
    {
        "evaluate" => EvaluateCases,
        "info" => InfoCases,
        "pack" => PackCases,
        "inspect" => InspectCases,
        "predict" => PredictCases,
        "verify" => VerifyCases,
        "resume" or "recipes" or "watch" or "plan" or "study" or "export" or "import" => [],
        _ => RunOptionCases.All,
    };

    /// <summary>Runs the program and caches the results: each command line runs once.</summary>
    public sealed class Bench : IDisposable
    {
        private readonly Dictionary<string, Trial[]> _done = [];

        public Bench()
        {
            SmallDigits.Write(Digits);
            SmallDigits.Write($"{Digits}-copy");
            SmallPictures.Write(Pictures);
            SmallPhotos.Write(Photos);
        }

        public string Folder { get; } = Directory.CreateTempSubdirectory("feedback-options").FullName;

        private string Photos => Path.Combine(Folder, "photos");

        private string PackedPhotos()
        {
            string file = Path.Combine(Folder, "photos.packed");
            if (!File.Exists(file)) Assert.Equal((0, ""), FeedbackProgram.Run("pack", $"imagefolder:{Photos}", file) is var (code, _, error) ? (code, error) : default);
            return file;
        }

        private string Digits => Path.Combine(Folder, "digits");

        private string Pictures => Path.Combine(Folder, "pictures");

        public void Dispose() => Directory.Delete(Folder, recursive: true);

        /// <summary>Replaces the placeholders of folders.</summary>
        public string Fill(string text)
        {
            text = text.Replace("{digits}", Digits, StringComparison.Ordinal);
            text = text.Replace("{sheet}", Path.Combine(Folder, "sheet"), StringComparison.Ordinal);
            if (text.Contains("{packed}", StringComparison.Ordinal))
                text = text.Replace("{packed}", Path.Combine(Run("pack", "", "", cuda: false)[0].Folder, Trial.PackedFile), StringComparison.Ordinal);
            if (text.Contains("{photos-packed}", StringComparison.Ordinal)) text = text.Replace("{photos-packed}", PackedPhotos(), StringComparison.Ordinal);
            if (text.Contains("{photos-run}", StringComparison.Ordinal))
                text = text.Replace("{photos-run}", Run("train", "--data imagefolder:{photos} --model resnet8 --train-size 16", "", cuda: false)[0].Folder, StringComparison.Ordinal);
            text = text.Replace("{picture}", Path.Combine(Pictures, "val", SmallPictures.Classes[0], "0-0000.JPEG"), StringComparison.Ordinal);
            text = text.Replace("{photos}", Photos, StringComparison.Ordinal);
            if (text.Contains("{run}", StringComparison.Ordinal)) text = text.Replace("{run}", Run("train", "", "", cuda: false)[0].Folder, StringComparison.Ordinal);
            if (text.Contains("{small-run}", StringComparison.Ordinal))
                text = text.Replace("{small-run}", Run("train", "--model mlp --hidden 8", "", cuda: false)[0].Folder, StringComparison.Ordinal);
            if (text.Contains("{digits-run}", StringComparison.Ordinal))
                text = text.Replace("{digits-run}", Run("train", "--data mnist:{digits}", "", cuda: false)[0].Folder, StringComparison.Ordinal);
            return text;
        }

        /// <summary>Runs a command with the usual options, which <paramref name="with"/> and <paramref name="given"/> override. For
        /// <c>compare</c>, returns one trial for each rule; if a rule is given, only that of the first.</summary>
        internal Trial[] Run(string command, string with, string given, bool cuda, string? usual = null)
        {
            string key = $"{command} | {with} | {given} | {cuda} | {usual}";
            if (_done.TryGetValue(key, out Trial[]? done)) return done;
            bool trains = command is "train" or "compare";
            var arguments = new List<string> { command };
            Dictionary<string, string[]> options = Merge(
                trains ? usual ?? Usual : "", with, given, cuda ? "--backend cuda" : "");
            bool oneRule = false;
            foreach ((string name, string[] values) in options)
            {
                if (name.Length == 0) arguments.AddRange(values);
                else if (name == "--rule" && command == "compare")
                {
                    arguments.AddRange("--rules", $"{values[0]},bp");
                    oneRule = true;
                }
                else arguments.AddRange([name, .. values]);
            }

            if (command == "compare" && !oneRule && !options.ContainsKey("--rules")) arguments.AddRange("--rules", "bp,fa");
            string folder = Path.Combine(Folder, _done.Count.ToString());
            if (trains) arguments.AddRange("--out", folder);
            if (command == "pack") arguments.InsertRange(1, [$"imagefolder:{Pictures}", Path.Combine(Directory.CreateDirectory(folder).FullName, Trial.PackedFile)]);
            (int code, string output, string error) = cuda ? RunOnCuda([.. arguments]) : FeedbackProgram.Run([.. arguments]);
            Assert.Equal((0, ""), (code, error));
            string[] folders = command != "compare" ? [folder] : [.. Directory.GetDirectories(folder).Order()];
            if (oneRule) folders = [.. folders.Where(f => Path.GetFileName(f) != "backprop")];
            Trial[] trials = [.. folders.Select(f => new Trial(command, f, output))];
            _done.Add(key, trials);
            return trials;
        }

        /// <summary>Options by name; those of a later text replace those of an earlier one.</summary>
        private Dictionary<string, string[]> Merge(params string[] texts)
        {
            var options = new Dictionary<string, string[]>();
            foreach (string text in texts)
            {
                string name = "";
                foreach (string word in Fill(text).Split(' ', StringSplitOptions.RemoveEmptyEntries))
                {
                    if (word.StartsWith("--", StringComparison.Ordinal)) options[name = word] = [];
                    else options[name] = [.. options.GetValueOrDefault(name, []), word];
                }
            }

            return options;
        }

        internal static (int Code, string Output, string Error) RunOnCuda(string[] arguments)
        {
            var start = new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "feedback"), arguments)
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            };
            start.Environment[CudaLibrary.EnvironmentVariable] = CudaUnderTest.Path;
            start.Environment["FEEDBACK_EMULATED_DEVICES"] = "2";
            using Process process = Process.Start(start)!;
            Task<string> error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return (process.ExitCode, output, error.Result);
        }
    }
}
