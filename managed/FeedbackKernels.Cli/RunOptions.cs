using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using FeedbackKernels.Data;
using FeedbackKernels.Models;
using FeedbackKernels.Runs;
using FeedbackKernels.Settings;
using FeedbackKernels.Training;

namespace FeedbackKernels.Cli;

/// <summary>The options that <c>train</c> and <c>compare</c> share: all settings of a <see cref="RunConfig"/> except the rule.</summary>
internal sealed class RunOptions
{
    private readonly RunConfig _standard;
    private readonly Settings _settings = new();
    private readonly BackendOptions _backend;
    private readonly Setting<Augmentation> _augment;
    private readonly Setting<FileInfo?> _config = new("--config", Use.Always)
    {
        Description = "Take all settings from the config.json of an earlier run. Options on the command line override them.",
        HelpName = "file",
    };

    private readonly Setting<Recipe?> _recipe = new("--recipe", Use.Always)
    {
        Description = $"Take all settings but the data from a recipe; `feedback recipes` describes them: {Recipe.Names}. Options on the command line override them; with another --batch and without --lr, the learning rate of the recipe is scaled in proportion.",
        HelpName = "name",
        CustomParser = result =>
        {
            string name = result.Tokens.Single().Value;
            if (Recipe.Find(name) is { } recipe) return recipe;
            result.AddError($"unknown recipe '{name}'; recipes: {Recipe.Names}");
            return null;
        },
    };

    private readonly Setting<string> _data;
    private readonly Setting<float> _rate;
    private readonly Setting<float?> _ratePer256;
    private readonly List<string> _notes = [];

    /// <param name="standard">The defaults.</param>
    public RunOptions(RunConfig standard)
    {
        _standard = standard;
        _backend = new BackendOptions(standard);
        AddModel();
        _data = AddData();
        AddSteps();
        _rate = AddSchedule();
        AddOptimiser();
        _augment = AddImages();
        AddSizes();
        AddTraining(TestFlipOption(standard.Training.TestFlip), (t, v) => t with { TestFlip = v });
        AddFeed();
        // After the batch, which it is scaled by.
        _ratePer256 = Names.OptionalNumber<float>(
            "--lr-per-256", Use.Always, Bounds.AtLeast(0), "Peak learning rate for a batch of 256; it is scaled in proportion to --batch (Goyal et al. 2017). Takes the place of --lr.");
        AddTraining(_ratePer256, (t, v) => t with { Schedule = t.Schedule with { Peak = v!.Value * t.Batch / 256 } });
        _settings.Add(CheckpointOption(standard), (c, v) => c with { CheckpointEvery = v });
        _settings.Add(KeepOption(standard), (c, v) => c with { KeepCheckpoints = v });
        AddFiles();
    }

    /// <summary>All options.</summary>
    public IEnumerable<Option> All => [.. _settings, .. _backend.All, _config, _recipe];

    /// <summary>The given configuration. If no augmentation was given, <see cref="Complete"/> sets it when the data are open.</summary>
    public RunConfig Read(ParseResult parsed)
    {
        if (Settings.IsGiven(parsed, _rate) && Settings.IsGiven(parsed, _ratePer256)) throw new UsageException("--lr and --lr-per-256 both set the peak learning rate; give one of them");
        _notes.Clear();
        return _backend.Apply(parsed, WithRecipesRate(parsed, _settings.Apply(parsed, Start(parsed))));
    }

    /// <summary>What a person should know of the configuration that was read.</summary>
    public IReadOnlyList<string> Notes => _notes;

    /// <summary>The peak learning rate of a recipe is that of its batch, and in proportion for another (Goyal et al. 2017).</summary>
    private RunConfig WithRecipesRate(ParseResult parsed, RunConfig config)
    {
        if (parsed.GetValue(_recipe) is not { } recipe || Settings.IsGiven(parsed, _rate) || Settings.IsGiven(parsed, _ratePer256)) return config;
        (int before, int batch, float peak) = (recipe.Config.Training.Batch, config.Training.Batch, recipe.Config.Training.Schedule.Peak);
        if (before == batch) return config;
        float scaled = peak * batch / before;
        _notes.Add(string.Create(CultureInfo.InvariantCulture, $"recipe {recipe.Name}: the learning rate of {peak} for a batch of {before} becomes {scaled} for a batch of {batch}; --lr sets another"));
        return config with { Training = config.Training with { Schedule = config.Training.Schedule with { Peak = scaled } } };
    }

    /// <summary>Each of several processes takes a batch of the size that one would take.</summary>
    private static RunConfig ForEachProcess(RunConfig config) =>
        config with { Training = config.Training with { Batch = checked(config.Training.Batch * Processes.Group.Size) } };

    private RunConfig Start(ParseResult parsed)
    {
        FileInfo? file = parsed.GetValue(_config);
        // The file of a run has the batch of all its processes.
        if (parsed.GetValue(_recipe) is not { } recipe) return file is null ? ForEachProcess(_standard) : RunConfig.Read(file.FullName);
        if (file is not null) throw new UsageException("--recipe and --config both give all settings; give one of them");
        if (!Settings.IsGiven(parsed, _data)) throw new UsageException($"--recipe {recipe.Name} needs --data, as {recipe.Data}");
        if (!IsFor(recipe, parsed.GetValue(_data)!)) _notes.Add($"recipe {recipe.Name} is for {recipe.Data}, not for {parsed.GetValue(_data)}: its accuracy says nothing here");
        return ForEachProcess(recipe.Config);
    }

    /// <summary>Whether data are of the kind that a recipe is for; photos are of one kind, whatever holds them.</summary>
    private static bool IsFor(Recipe recipe, string data)
    {
        SourceKind found = SourceCatalog.KindOf(data);
        return recipe.Data.Split(" or ").Select(SourceCatalog.KindOf).Any(kind => kind == found || (kind.HasSeveralSizes && found.HasSeveralSizes));
    }

    /// <summary>The configuration with the usual augmentation of its data, if none was given.</summary>
    public RunConfig Complete(ParseResult parsed, RunConfig config, DataSet data)
    {
        bool said = Settings.IsGiven(parsed, _augment) || Settings.IsGiven(parsed, _config) || Settings.IsGiven(parsed, _recipe);
        return said ? config : config with { Training = config.Training with { Augmentation = data.Augmentation } };
    }

    internal static Setting<string> ModelOption(string standard)
    {
        var option = new Setting<string>("--model", Use.Always)
        {
            Description = $"Model. {ModelCatalog.Help}.",
            DefaultValueFactory = _ => standard,
            HelpName = "name",
        };
        option.Validators.Add(result =>
        {
            string name = result.GetValueOrDefault<string>() ?? "";
            if (ModelCatalog.Find(name) is null) result.AddError($"unknown model '{name}'; models: {string.Join(", ", ModelCatalog.Names)}");
        });
        return option;
    }

    internal static Setting<int> HiddenOption(int standard) => Names.Number(
        "--hidden", Use.Models(entry => entry.HasHiddenUnits), standard, Bounds.AtLeast(0),
        "Hidden units of the mlp; 0 for those of the weight mirror paper: 500 for grey images, 1000 for colour images.");

    internal static Setting<CheckpointInterval> CheckpointOption(RunConfig standard) => new("--checkpoint-every", Use.Always)
    {
        Description = $"How often to save the state of the run, from which `feedback resume` goes on: {CheckpointInterval.Forms}. It is also saved at the end of each epoch, and when a signal stops the run. off saves nothing. [default: {standard.CheckpointEvery}]",
        HelpName = "interval",
        CustomParser = result =>
        {
            string text = result.Tokens.Single().Value;
            if (CheckpointInterval.TryParse(text) is { } interval) return interval;
            result.AddError($"--checkpoint-every '{text}': wanted {CheckpointInterval.Forms}");
            return standard.CheckpointEvery;
        },
    };

    internal static Setting<int> KeepOption(RunConfig standard) => Names.Number(
        "--keep-checkpoints", Use.Checkpoints, standard.KeepCheckpoints, Bounds.AtLeast(1),
        "Number of checkpoints to keep. That of the epoch with the best test accuracy is kept besides.");

    private void AddModel()
    {
        Add(ModelOption(_standard.Model), (c, v) => c with { Model = v });
        Add(
            Names.Choice("--norm-order", Use.BatchNorms, _standard.NormOrder, "Order of convolution, batch norm and ReLU. The weight mirror paper uses conv-relu-bn."),
            (c, v) => c with { NormOrder = v });
        Add(
            Names.Switch("--zero-gamma", Use.ResidualBlocks, _standard.ZeroGamma, "Initialise the scale of the last batch norm of each residual block with 0, so that each block starts as the identity. Can help with large batches."),
            (c, v) => c with { ZeroGamma = v });
        Add(HiddenOption(_standard.Hidden), (c, v) => c with { Hidden = v });
    }

    private Setting<string> AddData()
    {
        var data = new Setting<string>("--data", Use.Always) { Description = $"Data set. {SourceCatalog.Help}.", DefaultValueFactory = _ => _standard.Data, HelpName = "source" };
        Add(data, (c, v) => c with { Data = v, DataFingerprint = null });
        Add(LimitOption("--limit-train", "training"), (c, v) => c with { LimitTrain = v });
        Add(LimitOption("--limit-test", "test"), (c, v) => c with { LimitTest = v });
        return data;
    }

    internal static Setting<int?> LimitOption(string name, string images) =>
        Names.OptionalNumber<int>(name, Use.Always, Bounds.AtLeast(1), $"Use only N {images} images, for a quick trial: the first ones, or evenly spaced ones if the images are sorted by class.");

    private void AddSteps()
    {
        TrainingOptions training = _standard.Training;
        AddTraining(Names.Number("--epochs", Use.Always, training.Epochs, new Bounds(1, 1_000_000), "Number of passes over the training images. More epochs take longer and usually give a higher accuracy."), (t, v) => t with { Epochs = v });
        AddTraining(Names.Number("--batch", Use.Always, training.Batch, Bounds.AtLeast(1), "Images in a training step, in each process if mpirun starts several. A larger batch is faster per image, needs more memory, and usually a higher --lr."), (t, v) => t with { Batch = checked(v * Processes.Group.Size) });
        AddTraining(
            Names.Number("--accumulate", Use.Always, training.Accumulate, Bounds.AtLeast(1), "Compute the gradients of a step in N parts of batch/N images, one after the other. Needs memory for one part only. The step is the same up to rounding, except that batch norm sees each part alone."),
            (t, v) => t with { Accumulate = v });
        AddTraining(
            Names.Number("--seed", Use.Always, training.Seed, Bounds.AtLeast(0), "Seed of the random number generator. Equal seeds and settings give equal results; several seeds show how much results vary."),
            (t, v) => t with { Seed = v });
        AddTraining(
            Names.Number("--align-every", Use.Always, training.AlignEvery, Bounds.AtLeast(0), "Measure the angles between feedback and forward weights every N epochs, also a fraction: 0.25 is four times in each epoch. 0 turns the measurement off and saves some time."),
            (t, v) => t with { AlignEvery = v });
    }

    private Setting<float> AddSchedule()
    {
        LearningRateSchedule schedule = _standard.Training.Schedule;
        Setting<float> rate = Names.Number("--lr", Use.Always, schedule.Peak, Bounds.AtLeast(0), "Peak learning rate. Lower it if a run diverges.");
        AddSchedule(rate, (s, v) => s with { Peak = v });
        AddSchedule(Names.Entry("--schedule", ScheduleCatalog.All, kind => kind.Name, kind => kind.Help, schedule.Kind, "How the learning rate changes during the run."), (s, v) => s with { Kind = v });
        AddSchedule(
            Names.Number(
                "--warm-up", Use.Schedules(kind => kind.HasWarmUp), schedule.WarmUpEpochs, Bounds.AtLeast(0),
                "Increase the learning rate linearly from 0 over the first N epochs; N may be a fraction. Helps with a large --lr or --batch. one-cycle has its own warm-up."),
            (s, v) => s with { WarmUpEpochs = v });
        AddSchedule(
            new Setting<double[]>("--milestones", Use.Schedules(kind => kind.HasMilestones))
            {
                Description = $"When multi-step lowers the learning rate: as fractions of the run (all below 1) or in epochs (all 1 or more). [default: {string.Join(' ', LearningRateSchedule.DefaultMilestones)}]",
                HelpName = "numbers",
                AllowMultipleArgumentsPerToken = true,
                Arity = ArgumentArity.OneOrMore,
                CustomParser = result => [.. result.Tokens.Select((_, i) => Names.ParseNumber<double>(result, Bounds.Positive, i))],
            },
            (s, v) => s with { Milestones = v });
        AddSchedule(
            Names.Number("--gamma", Use.Schedules(kind => kind.HasMilestones), schedule.Gamma, Bounds.PositiveShare, "Factor by which multi-step multiplies the learning rate at each milestone."),
            (s, v) => s with { Gamma = v });
        return rate;
    }

    private void AddOptimiser()
    {
        TrainingOptions training = _standard.Training;
        AddTraining(Names.Number("--momentum", Use.Always, training.Momentum, Bounds.Share, "Momentum of SGD; 0 for SGD without momentum."), (t, v) => t with { Momentum = v });
        AddTraining(Names.Switch("--nesterov", Use.Always, training.Nesterov, "Use Nesterov momentum; --nesterov false uses classical momentum."), (t, v) => t with { Nesterov = v });
        AddTraining(
            Names.Number("--weight-decay", Use.Always, training.WeightDecay, Bounds.AtLeast(0), "L2 weight decay: this times W is added to the gradient of W. Biases and batch norms do not decay. Increase it against overfitting."),
            (t, v) => t with { WeightDecay = v });
        AddTraining(
            Names.Number("--label-smoothing", Use.Always, training.LabelSmoothing, Bounds.Share, "Fraction of the target probability that is spread evenly over all classes. 0.1 is usual on ImageNet; 0 turns it off."),
            (t, v) => t with { LabelSmoothing = v });
        AddTraining(
            Names.Number("--ema", Use.Always, training.Ema, Bounds.Share, "Decay of an exponential moving average of the weights, as 0.9998, which is evaluated and saved in place of the weights themselves; 0 turns it off."),
            (t, v) => t with { Ema = v });
        AddTraining(
            Names.Number("--clip-norm", Use.Always, training.ClipNorm, Bounds.AtLeast(0), "Largest joint L2 norm of all gradients; larger gradients are scaled down. 0 for no limit. Use it if single steps make training unstable."),
            (t, v) => t with { ClipNorm = v });
        AddNoise(training);
    }

    private void AddNoise(TrainingOptions training)
    {
        AddTraining(
            Names.Number("--noise-pretraining", Use.Always, training.NoisePretraining, new Bounds(0, 10_000_000), "Train N steps on images of noise with random labels before training on data, under the rule of the run (Cheon et al. 2024). Running statistics of batch norms are left alone."),
            (t, v) => t with { NoisePretraining = v });
        AddTraining(
            Names.OptionalNumber<float>("--noise-pretraining-lr", Use.NoisePretraining, Bounds.AtLeast(0), "Constant learning rate of those steps. [default: the peak, --lr]"),
            (t, v) => t with { NoisePretrainingRate = v });
        AddTraining(
            Names.Number("--update-noise", Use.Always, training.UpdateNoise, Bounds.AtLeast(0), "Standard deviation of normal noise on each update: after it, the noise times the learning rate is added to every parameter (Kunin et al. 2020). 0 for none. Shows how robust a rule is."),
            (t, v) => t with { UpdateNoise = v });
        AddTraining(
            Names.Choice("--update-noise-on", Use.UpdateNoise, training.UpdateNoiseOn, "Which updates get that noise: those of all parameters and of the feedback weights that the optimiser moves, or those of the latter alone."),
            (t, v) => t with { UpdateNoiseOn = v });
    }

    private Setting<Augmentation> AddImages()
    {
        var augment = new Setting<Augmentation>("--augment", Use.Always)
        {
            Description = $"Augmentation of the training images: {KebabCase.All<Augmentation>()}. [default: the usual one of the data set]",
            HelpName = "name",
            CustomParser = Names.Choice("--augment", Use.Always, Augmentation.None, "").CustomParser,
        };
        AddTraining(augment, (t, v) => t with { Augmentation = v });
        AddTraining(
            Names.Switch("--shuffle", Use.Always, _standard.Training.Shuffle, "Take the training images in another random order in each epoch; --shuffle false takes them in the order of the data set."),
            (t, v) => t with { Shuffle = v });
        AddTraining(
            Names.Choice("--normalize", Use.Always, _standard.Training.Normalisation, "Pixel scale: standard for mean 0 and variance 1 in each channel, unit for the range 0 to 1."),
            (t, v) => t with { Normalisation = v });
        return augment;
    }

    private void AddFiles() => Add(
        Names.Choice(
            "--tensorboard", Use.Always, _standard.TensorBoard,
            "Event file for TensorBoard in the folder of the run. scalars: losses, accuracies, learning rate, speed, and the angles and norm ratio of each layer; histograms: also the values of W, B and the error of each layer."),
        (c, v) => c with { TensorBoard = v });

    private void AddSizes()
    {
        ImageOptions images = _standard.Training.Images;
        var size = new Bounds(0, ImageOptions.MostSize);
        AddImages(
            Names.Number("--train-size", Use.SeveralSizes, images.TrainSize, size, "Rows and columns of training images, which are random parts of the images; 0 for the model's usual size. Smaller images are faster."),
            (i, v) => i with { TrainSize = v });
        AddImages(TestSizeOption(images.TestSize), (i, v) => i with { TestSize = v });
        AddImages(TestResizeOption(images.TestResize), (i, v) => i with { TestResize = v });
        AddImages(
            new Setting<SizeChange[]>("--resize-schedule", Use.SeveralSizes)
            {
                Description = "Change the size of training images during the run (progressive resizing): 160@6 192@11 for 160 rows and columns from epoch 6 on, 192 from epoch 11 on. Epochs before have --train-size.",
                HelpName = "size@epoch",
                AllowMultipleArgumentsPerToken = true,
                Arity = ArgumentArity.OneOrMore,
                CustomParser = result => [.. result.Tokens.Select(token => ParseChange(result, token.Value))],
            },
            (i, v) => i with { ResizeSchedule = v });
        AddImages(
            Names.Range("--crop-scale", Use.SeveralSizes, images.CropScaleMin, images.CropScaleMax, Bounds.PositiveShare, "Smallest and largest fraction of an image's area that a training crop takes. Larger crops suit short runs."),
            (i, v) => i with { CropScaleMin = v.Min, CropScaleMax = v.Max });
        AddImages(
            Names.Range("--crop-ratio", Use.SeveralSizes, images.CropRatioMin, images.CropRatioMax, Bounds.Positive, "Smallest and largest ratio of width to height of a training crop."),
            (i, v) => i with { CropRatioMin = v.Min, CropRatioMax = v.Max });
        AddImages(
            Names.Switch("--damaged-is-fatal", Use.SeveralSizes, images.DamagedIsFatal, "End the run at an image whose data are damaged. Without it, what can be decoded of the image is used, and the run says so."),
            (i, v) => i with { DamagedIsFatal = v });
    }

    internal static Setting<int> TestSizeOption(int standard) => Names.Number(
        "--test-size", Use.SeveralSizes, standard, new Bounds(0, ImageOptions.MostSize),
        "Rows and columns of test images, which are the centres of the images; 0 for the largest size of training images. Somewhat larger test images often give a better accuracy.");

    internal static Setting<int> TestResizeOption(int standard) => Names.Number(
        "--test-resize", Use.SeveralSizes, standard, new Bounds(0, ImageOptions.MostSize),
        "Length to which the shorter side of a test image is resized before its centre is taken; 0 for 8/7 of --test-size, as 256 for 224.");

    private static SizeChange ParseChange(ArgumentResult result, string text)
    {
        string[] parts = text.Split('@');
        if (parts.Length == 2 && int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out int size)
            && int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out int epoch))
            return new SizeChange(epoch, size);
        result.AddError($"{Names.OptionOf(result)} '{text}': wanted SIZE@EPOCH, as 160@6");
        return default;
    }

    private void AddFeed()
    {
        Add(DataThreadsOption(_standard), (c, v) => c with { DataThreads = v });
        Add(BatchesAheadOption(_standard), (c, v) => c with { BatchesAhead = v });
        Add(RamCacheOption(_standard), (c, v) => c with { RamCache = v });
    }

    internal static Setting<int> DataThreadsOption(RunConfig standard) => Names.Number(
        "--data-threads", Use.SeveralSizes, standard.DataThreads, new Bounds(0, 1024),
        "Threads that read and decode images; 0 for one for each processor on a GPU, and for every second processor on the CPU. The results do not depend on it.");

    internal static Setting<int> BatchesAheadOption(RunConfig standard) => Names.Number(
        "--batches-ahead", Use.SeveralSizes, standard.BatchesAhead, new Bounds(1, 1024),
        "Batches that are prepared ahead. More need more memory and bridge longer pauses of a disk.");

    internal static Setting<bool> RamCacheOption(RunConfig standard) => Names.Switch(
        "--ram-cache", Use.InMemory, standard.RamCache, "Hold the packed file in memory. Use it if the file system is slow.");

    private void AddImages<T>(Setting<T> option, Func<ImageOptions, T, ImageOptions> apply) =>
        AddTraining(option, (training, value) => training with { Images = apply(training.Images, value) });

    internal static Setting<bool> TestFlipOption(bool standard) => Names.Switch(
        "--test-flip", Use.Always, standard, "Evaluate each test image and its mirror image, and take the mean of their logits. Takes twice the time and usually gives a little more accuracy.");

    private void Add<T>(Setting<T> option, Func<RunConfig, T, RunConfig> apply) => _settings.Add(option, apply);

    private void AddTraining<T>(Setting<T> option, Func<TrainingOptions, T, TrainingOptions> apply) =>
        Add(option, (config, value) => config with { Training = apply(config.Training, value) });

    private void AddSchedule<T>(Setting<T> option, Func<LearningRateSchedule, T, LearningRateSchedule> apply) =>
        AddTraining(option, (training, value) => training with { Schedule = apply(training.Schedule, value) });
}
