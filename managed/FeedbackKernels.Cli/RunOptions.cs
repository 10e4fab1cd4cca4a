using System.CommandLine;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Runs;
using FeedbackKernels.Training;

namespace FeedbackKernels.Cli;

/// <summary>The options that <c>train</c> and <c>compare</c> share: everything in a <see cref="RunConfig"/> but the rule.</summary>
internal sealed class RunOptions
{
    private readonly RunConfig _standard;
    private readonly List<(Option Option, Func<ParseResult, RunConfig, RunConfig> Apply)> _settings = [];
    private readonly Option<FileInfo?> _config = new("--config")
    {
        Description = "Starts from a run's config.json; other options override it.",
        HelpName = "file",
    };

    private readonly Option<Augmentation> _augment;

    /// <param name="standard">What applies where nothing is given.</param>
    public RunOptions(RunConfig standard)
    {
        _standard = standard;
        TrainingOptions training = standard.Training;
        Add(ModelOption(standard.Model), (c, v) => c with { Model = v });
        Add(Names.Choice("--norm-order", standard.NormOrder, "Order of convolution, batch norm and ReLU; conv-relu-bn is the paper's."), (c, v) => c with { NormOrder = v });
        Add(new Option<bool>("--zero-gamma") { Description = "Starts the last batch norm of each residual block at 0." }, (c, v) => c with { ZeroGamma = v });
        Add(Names.AtLeast("--hidden", 0, standard.Hidden, "Hidden units of the mlp; 0 for the paper's, 500 or 1000."), (c, v) => c with { Hidden = v });
        Add(new Option<string>("--data") { Description = $"Images: {DataSet.Forms}.", DefaultValueFactory = _ => standard.Data, HelpName = "source" }, (c, v) => c with { Data = v, DataFingerprint = null });
        Add(Names.OptionalCount("--limit-train", "Uses the first so many training images."), (c, v) => c with { LimitTrain = v });
        Add(Names.OptionalCount("--limit-test", "Uses the first so many test images."), (c, v) => c with { LimitTest = v });
        AddTraining(Names.AtLeast("--epochs", 1, training.Epochs, "Passes over the training images."), (t, v) => t with { Epochs = v });
        AddTraining(Names.AtLeast("--batch", 1, training.Batch, "Images in a step."), (t, v) => t with { Batch = v });
        AddTraining(Names.Number("--lr", training.Schedule.Peak, "Learning rate, at its peak."), (t, v) => t with { Schedule = t.Schedule with { Peak = v } });
        AddTraining(Names.Choice("--schedule", training.Schedule.Kind, "How the learning rate moves."), (t, v) => t with { Schedule = t.Schedule with { Kind = v } });
        AddTraining(
            Names.Number("--warm-up", training.Schedule.WarmUpEpochs, "Epochs over which the learning rate rises; one-cycle has its own."),
            (t, v) => t with { Schedule = t.Schedule with { WarmUpEpochs = v } });
        AddTraining(
            new Option<double[]>("--milestones")
            {
                Description = $"Multi-step: fractions of the run at which the rate falls. [default: {string.Join(' ', LearningRateSchedule.DefaultMilestones)}]",
                HelpName = "numbers",
                AllowMultipleArgumentsPerToken = true,
                CustomParser = result => [.. result.Tokens.Select((_, i) => Names.ParseNumber<double>(result, i))],
            },
            (t, v) => t with { Schedule = t.Schedule with { Milestones = v } });
        AddTraining(Names.Number("--gamma", training.Schedule.Gamma, "Multi-step: factor at a milestone."), (t, v) => t with { Schedule = t.Schedule with { Gamma = v } });
        AddTraining(Names.Number("--momentum", training.Momentum, "Momentum of SGD."), (t, v) => t with { Momentum = v });
        AddTraining(new Option<bool>("--nesterov") { Description = "Nesterov's form of the momentum; --nesterov false for the classical one.", DefaultValueFactory = _ => training.Nesterov }, (t, v) => t with { Nesterov = v });
        AddTraining(Names.Number("--weight-decay", training.WeightDecay, "L2 decay of weights; biases and batch norms have none."), (t, v) => t with { WeightDecay = v });
        AddTraining(Names.Number("--label-smoothing", training.LabelSmoothing, "Share of the target spread over all classes."), (t, v) => t with { LabelSmoothing = v });
        AddTraining(Names.Number("--clip-norm", training.ClipNorm, "Largest norm of all gradients together; 0 for no limit."), (t, v) => t with { ClipNorm = v });
        _augment = new Option<Augmentation>("--augment")
        {
            Description = $"What is done to training images: {Names.All<Augmentation>()}. [default: what is usual for the data]",
            HelpName = "name",
            CustomParser = Names.Choice("--augment", Augmentation.None, "").CustomParser,
        };
        AddTraining(_augment, (t, v) => t with { Augmentation = v });
        AddTraining(Names.Choice("--normalize", training.Normalisation, "How pixels become numbers: mean 0 and variance 1, or 0 to 1."), (t, v) => t with { Normalisation = v });
        AddTraining(Names.Number("--seed", training.Seed, "Names every random number of the run."), (t, v) => t with { Seed = v });
        AddTraining(Names.AtLeast("--align-every", 0, training.AlignEvery, "Epochs from one measurement of the alignment to the next; 0 for none."), (t, v) => t with { AlignEvery = v });
        BackendOptions backend = new(standard);
        Add(backend.Threads, (c, v) => c with { Threads = v });
        Add(backend.Backend, (c, v) => c with { Backend = v });
        Add(backend.Simd, (c, v) => c with { Simd = v });
        Add(backend.Exact, (c, v) => c with { Exact = v });
        Add(backend.Device, (c, v) => c with { Device = v });
        Add(backend.Precision, (c, v) => c with { Precision = v });
        Add(backend.NoCudaGraph, (c, v) => c with { CudaGraphs = !v });
    }

    /// <summary>All options.</summary>
    public IEnumerable<Option> All => [.. _settings.Select(s => s.Option), _config];

    /// <summary>The configuration that was asked for; the augmentation still has to be taken from the data where it was
    /// not given.</summary>
    public RunConfig Read(ParseResult parsed) =>
        _settings.Aggregate(Start(parsed), (config, setting) => setting.Apply(parsed, config));

    /// <summary>The configuration with what is usual for its data where nothing was said.</summary>
    public RunConfig Complete(ParseResult parsed, RunConfig config, DataSet data)
    {
        bool said = parsed.GetResult(_augment) is { Implicit: false } || parsed.GetResult(_config) is { Implicit: false };
        return said ? config : config with { Training = config.Training with { Augmentation = data.Augmentation } };
    }

    internal static Option<string> ModelOption(string standard)
    {
        var option = new Option<string>("--model")
        {
            Description = $"Model: {string.Join(", ", ModelCatalog.Names)}.",
            DefaultValueFactory = _ => standard,
            HelpName = "name",
        };
        option.Validators.Add(result =>
        {
            string name = result.GetValueOrDefault<string>() ?? "";
            if (!ModelCatalog.Names.Contains(name)) result.AddError($"unknown model '{name}'; there are {string.Join(", ", ModelCatalog.Names)}");
        });
        return option;
    }

    private RunConfig Start(ParseResult parsed) =>
        parsed.GetValue(_config) is { } file ? RunConfig.Read(file.FullName) : _standard;

    private void Add<T>(Option<T> option, Func<RunConfig, T, RunConfig> apply) => _settings.Add((
        option,
        (parsed, config) => parsed.GetResult(option) is { Implicit: false } ? apply(config, parsed.GetValue(option)!) : config));

    private void AddTraining<T>(Option<T> option, Func<TrainingOptions, T, TrainingOptions> apply) =>
        Add(option, (config, value) => config with { Training = apply(config.Training, value) });
}

/// <summary>The options that choose what computes.</summary>
internal sealed class BackendOptions(RunConfig standard)
{
    public Option<int> Threads { get; } = Names.AtLeast("--threads", 0, standard.Threads, "Threads of the CPU backend; 0 for one a processor.");

    public Option<string> Backend { get; } = new("--backend")
    {
        Description = $"What computes: {string.Join(" | ", Backends.Names)}.",
        DefaultValueFactory = _ => standard.Backend,
        HelpName = "name",
    };

    public Option<SimdLevel?> Simd { get; } = Names.OptionalChoice<SimdLevel>("--simd", "Vector width of the CPU backend; the widest there is where it is not given.");

    public Option<bool> Exact { get; } = new("--exact")
    {
        Description = "No Winograd convolutions on the CPU, whose rounding errors are larger.",
        DefaultValueFactory = _ => standard.Exact,
    };

    public Option<int> Device { get; } = Names.AtLeast("--device", 0, standard.Device, "GPU of the CUDA backend, as the driver counts them from 0.");

    public Option<CudaPrecision> Precision { get; } = Names.Choice("--precision", standard.Precision, "What the CUDA backend stores activations, errors and copies of the weights in and multiplies; with bf16 on tensor cores, sums and master weights in fp32.");

    public Option<bool> NoCudaGraph { get; } = new("--no-cuda-graph")
    {
        Description = "The CUDA backend launches each kernel by itself: slower, but what fails is named, and a loss that is not finite is seen before the update.",
        DefaultValueFactory = _ => !standard.CudaGraphs,
    };

    public Backend Create(ParseResult parsed) =>
        Backends.Create(
            parsed.GetValue(Backend)!, parsed.GetValue(Threads), parsed.GetValue(Simd), parsed.GetValue(Exact), parsed.GetValue(Precision),
            parsed.GetValue(Device), graphs: !parsed.GetValue(NoCudaGraph));
}
