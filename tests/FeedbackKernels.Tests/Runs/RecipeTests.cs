using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Runs;
using FeedbackKernels.Tests.Cli;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Runs;

/// <summary>The named recipes.</summary>
[Collection(nameof(CommandLineTests))]
public sealed class RecipeTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-recipes").FullName;

    public static TheoryData<string> Names() => [.. Recipe.All.Select(recipe => recipe.Name)];

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void The_settings_that_people_ask_for_are_there() => Assert.Superset(
        new HashSet<string>
        {
            "cifar10-mlp-authors", "cifar10-resnet20", "cifar10-resnet20-fast", "imagenet-resnet18-16", "imagenet-resnet18-40", "imagenet-resnet18-90", "imagenet-resnet18-paper",
            "imagenet-resnet50-16", "imagenet-resnet50-40", "imagenet-resnet50-90", "imagenette-resnet18", "mnist-mlp-authors", "tiny-imagenet-resnet18",
        },
        Recipe.All.Select(recipe => recipe.Name).ToHashSet());

    [Theory, MemberData(nameof(Names))]
    public void A_recipe_can_be_run_and_says_what_it_is(string name)
    {
        Recipe recipe = Recipe.Find(name)!;
        recipe.Config.Validate();
        Assert.NotEqual(new RunConfig(), recipe.Config);
        // A recipe says its augmentation: without one it is for nets that were trained without.
        Assert.Equal(recipe.Config.Model == "mlp", recipe.Config.Training.Augmentation == Augmentation.None);
        _ = SourceCatalog.KindOf(recipe.Data.Split(' ')[0]);
        (int code, string output, string error) = FeedbackProgram.Run("recipes");
        Assert.Equal((0, ""), (code, error));
        Assert.Contains($"{name}: {recipe.Config.Model}", output);
        Assert.Contains(recipe.Description, output);
        Assert.Contains($"feedback train --recipe {name} --data ", output);
        Assert.DoesNotContain("/work", recipe.Description);
    }

    [Fact]
    public void The_recipe_of_he_et_al_is_theirs()
    {
        TrainingOptions training = Recipe.Find("cifar10-resnet20")!.Config.Training;
        // 64,000 steps of 128 images; the rate is divided by 10 after 32,000 and 48,000.
        const int steps = 50_000 / 128;
        Assert.Equal(64_000, steps * training.Epochs, 100.0);
        Assert.Equal(0.1f, training.Schedule.At(31_900, steps, training.Epochs), 1e-6f);
        Assert.Equal(0.01f, training.Schedule.At(32_100, steps, training.Epochs), 1e-6f);
        Assert.Equal(0.01f, training.Schedule.At(47_900, steps, training.Epochs), 1e-6f);
        Assert.Equal(0.001f, training.Schedule.At(48_100, steps, training.Epochs), 1e-6f);
        Assert.Equal((0.9f, 1e-4f, 128, false), (training.Momentum, training.WeightDecay, training.Batch, training.Nesterov));
    }

    // 784 * 500 + 500 + 500 * 10 + 10, and 3072 * 1000 + 1000 + 1000 * 10 + 10.
    [Theory]
    [InlineData("mnist-mlp-authors", 28, 1, 397_510)]
    [InlineData("cifar10-mlp-authors", 32, 3, 3_083_010)]
    public void The_recipes_of_the_weight_mirror_paper_are_those_of_its_public_code(string name, int size, int channels, long parameters)
    {
        RunConfig config = Recipe.Find(name)!.Config;
        ModelSpec spec = config.Describe(new MapShape(size, size, channels), 10);
        using var backend = new CpuBackend(1);
        using var model = new Model(backend, spec, config.Rules, 1, config.Training.Seed);
        Assert.Equal((parameters, LossKind.SigmoidCrossEntropy), (model.ParameterCount, spec.Loss));
        TrainingOptions training = config.Training;
        Assert.Equal((400, 128, 0f, 0f, 1111ul, false), (training.Epochs, training.Batch, training.Momentum, training.WeightDecay, training.Seed, training.Shuffle));
        Assert.Equal((NormalisationKind.Unit, Augmentation.None), (training.Normalisation, training.Augmentation));
        Assert.All((int[])[0, 1000, 400 * 468 - 1], step => Assert.Equal(0.2f, training.Schedule.At(step, 468, 400)));
    }

    [Fact]
    public void A_recipe_gives_the_settings_and_options_override_them()
    {
        string run = Path.Combine(_folder, "run");
        (int code, _, string error) = FeedbackProgram.Run(
            "train", "--recipe", "cifar10-resnet20", "--data", "synthetic", "--model", "lenet", "--limit-train", "32", "--limit-test", "16", "--batch", "16",
            "--epochs", "1", "--milestones", "0.5", "--out", run);
        Assert.Equal((0, ""), (code, error));
        RunConfig config = RunConfig.Read(Path.Combine(run, RunFiles.Config));
        Assert.Equal(("lenet", "synthetic", 1, 16), (config.Model, config.Data, config.Training.Epochs, config.Training.Batch));
        Assert.Equal((ScheduleKind.MultiStep, 1e-4f, false, Augmentation.CropFlip), (config.Training.Schedule.Kind, config.Training.WeightDecay, config.Training.Nesterov, config.Training.Augmentation));
    }

    [Theory]
    [InlineData("--recipe cifar10-resnet20", "--recipe cifar10-resnet20 needs --data, as cifar10:DIR")]
    [InlineData("--recipe cifar10", "unknown recipe 'cifar10'; recipes: cifar10-mlp-authors, cifar10-resnet20")]
    [InlineData("--recipe cifar10-resnet20 --data synthetic --config x.json", "--recipe and --config both give all settings")]
    [InlineData("--lr 0.1 --lr-per-256 0.1", "--lr and --lr-per-256 both set the peak")]
    public void Wrong_combinations_are_refused(string options, string message)
    {
        (int code, _, string error) = FeedbackProgram.Run(["train", .. options.Split(' '), "--out", Path.Combine(_folder, "none")]);
        Assert.Equal(2, code);
        Assert.Contains(message, error);
        Assert.False(Directory.Exists(Path.Combine(_folder, "none")));
    }

    [Theory]
    [InlineData("train")]
    [InlineData("compare")]
    public void The_rate_is_scaled_with_the_batch(string command)
    {
        string run = Path.Combine(_folder, "run");
        string[] usual = ["--model", "lenet", "--limit-train", "64", "--limit-test", "16", "--epochs", "1", "--out", run, .. command == "compare" ? (string[])["--rules", "bp"] : []];
        Assert.Equal(0, FeedbackProgram.Run([command, "--lr-per-256", "0.5", "--batch", "16", .. usual]).Code);
        RunConfig config = RunConfig.Read(Path.Combine(run, command == "compare" ? "backprop" : "", RunFiles.Config));
        Assert.Equal(0.5f * 16 / 256, config.Training.Schedule.Peak);
    }

    [Theory]
    [InlineData("train")]
    [InlineData("compare")]
    public void A_recipe_is_for_both_commands(string command)
    {
        string run = Path.Combine(_folder, "run");
        string[] rules = command == "compare" ? ["--rules", "bp"] : [];
        // The recipe has a rate of 0.4 for a batch of 128.
        (int code, string output, _) = FeedbackProgram.Run(
            [command, "--recipe", "cifar10-resnet20-fast", "--data", "synthetic", "--model", "lenet", "--limit-train", "32", "--limit-test", "16", "--batch", "16",
                "--epochs", "1", "--out", run, .. rules]);
        Assert.Equal(0, code);
        Assert.Contains("recipe cifar10-resnet20-fast is for cifar10:DIR, not for synthetic", output);
        Assert.Contains("the learning rate of 0.4 for a batch of 128 becomes 0.05 for a batch of 16", output);
        Assert.Equal(0.05f, RunConfig.Read(Path.Combine(run, command == "compare" ? "backprop" : "", RunFiles.Config)).Training.Schedule.Peak);
    }
}
