using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>Everything that a run needs to be repeated: the content of config.json.</summary>
public sealed record RunConfig
{
    /// <summary>Name of the model, see <see cref="ModelCatalog.Names"/>.</summary>
    public string Model { get; init; } = "resnet20";

    /// <summary>Order of batch norm and ReLU.</summary>
    public NormOrder NormOrder { get; init; }

    /// <summary>Whether the last norm of each residual block starts at 0.</summary>
    public bool ZeroGamma { get; init; }

    /// <summary>Hidden units of the MLP; 0 for the paper's.</summary>
    public int Hidden { get; init; }

    /// <summary>The data, see <see cref="DataSet.Forms"/>.</summary>
    public string Data { get; init; } = "synthetic";

    /// <summary>Uses the first so many training images.</summary>
    public int? LimitTrain { get; init; }

    /// <summary>Uses the first so many test images.</summary>
    public int? LimitTest { get; init; }

    /// <summary>The learning rule of all layers.</summary>
    public FeedbackRule Rule { get; init; } = new Backprop();

    /// <summary>Rules of some layers.</summary>
    public IReadOnlyList<RuleFor> RuleFor { get; init; } = [];

    /// <summary>Name of the backend, see <see cref="Backends.Names"/>.</summary>
    public string Backend { get; init; } = "auto";

    /// <summary>Vector width of the CPU backend; null for the widest.</summary>
    public SimdLevel? Simd { get; init; }

    /// <summary>Whether the CPU backend computes convolutions by their sums alone, without Winograd.</summary>
    public bool Exact { get; init; }

    /// <summary>Number of the CUDA backend's device, as the driver counts them.</summary>
    public int Device { get; init; }

    /// <summary>How the CUDA backend forms products.</summary>
    public CudaPrecision Precision { get; init; }

    /// <summary>Whether the CUDA backend launches steps as graphs.</summary>
    public bool CudaGraphs { get; init; } = true;

    /// <summary>Threads; 0 for one a processor.</summary>
    public int Threads { get; init; }

    /// <summary>How the model is trained.</summary>
    public TrainingOptions Training { get; init; } = new();

    /// <summary>All rules of the run.</summary>
    [JsonIgnore]
    public RuleSet Rules => new(Rule, RuleFor);

    /// <summary>Makes the backend.</summary>
    public Backend CreateBackend() => Backends.Create(Backend, Threads, Simd, Exact, Precision, Device, CudaGraphs);

    /// <summary>Describes the model for images of a data set.</summary>
    public ModelSpec Describe(ImageSet images) =>
        ModelCatalog.Create(Model, images.Shape, images.Classes, new ModelOptions(NormOrder, ZeroGamma, Hidden));

    /// <summary>Reads a config.json. What it does not set, because an older version wrote it, is as in a new
    /// <see cref="RunConfig"/>.</summary>
    /// <exception cref="IOException">It is not there.</exception>
    /// <exception cref="InvalidDataException">It is not a run's configuration; the message names the file and the setting.</exception>
    public static RunConfig Read(string path)
    {
        if (!File.Exists(path)) throw new FileNotFoundException($"file '{path}' is not there", path);
        try
        {
            if (JsonNode.Parse(File.ReadAllText(path)) is not JsonObject given) throw new InvalidDataException($"{path}: not a JSON object");
            JsonNode settings = JsonSerializer.SerializeToNode(new RunConfig(), RunJson.Default.RunConfig)!;
            Overlay(settings.AsObject(), given);
            return settings.Deserialize(RunJson.Default.RunConfig)!;
        }
        // A name that stands twice is an ArgumentException.
        catch (Exception e) when (e is JsonException or ArgumentException)
        {
            throw new InvalidDataException($"{path}: not a run's configuration ({e.Message})", e);
        }
    }

    // The generated reader leaves what is missing at zero, whatever a property's initialiser says.
    private static void Overlay(JsonObject settings, JsonObject given)
    {
        foreach ((string name, JsonNode? value) in given)
        {
            // Another rule has other settings, and its own defaults.
            if (name != "rule" && settings[name] is JsonObject below && value is JsonObject part) Overlay(below, part);
            else settings[name] = value?.DeepClone();
        }
    }

    /// <summary>Writes it.</summary>
    public void Write(string path) => File.WriteAllText(path, JsonSerializer.Serialize(this, RunJson.Default.RunConfig) + "\n");
}

/// <summary>What a run came to: the content of summary.json. Accuracies are shares, 0 to 1.</summary>
/// <param name="Model">Name of the model.</param>
/// <param name="Rule">Name of the rule.</param>
/// <param name="Data">The data.</param>
/// <param name="Epochs">Epochs that ended.</param>
/// <param name="Seed">Seed.</param>
/// <param name="Backend">Backend and what it ran on.</param>
/// <param name="TestTop1">Top-1 accuracy after the last epoch.</param>
/// <param name="TestTop5">Top-5 accuracy after the last epoch.</param>
/// <param name="BestTestTop1">Best top-1 accuracy of all epochs.</param>
/// <param name="FinalLoss">Training loss of the last epoch.</param>
/// <param name="TestLoss">Test loss after the last epoch.</param>
/// <param name="WeightAngle">Mean over layers of the angle between W and Bᵀ at the end, degrees; null where there is no B.</param>
/// <param name="DeltaAngle">Mean over layers of the angle between the error signals at the end, degrees.</param>
/// <param name="Parameters">Parameters of the model, B excepted.</param>
/// <param name="ImagesPerSecond">Training speed, median over epochs.</param>
/// <param name="Seconds">Duration, evaluation included.</param>
/// <param name="Cancelled">Whether the run was stopped before its end.</param>
public sealed record RunSummary(
    string Model, string Rule, string Data, int Epochs, ulong Seed, string Backend, double? TestTop1, double? TestTop5,
    double? BestTestTop1, double? FinalLoss, double? TestLoss, double? WeightAngle, double? DeltaAngle, long Parameters,
    double ImagesPerSecond, double Seconds, bool Cancelled)
{
    /// <summary>Sums a run up.</summary>
    public static RunSummary Of(RunConfig config, Model model, TrainingResult result)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(result);
        EpochReport? last = result.Epochs is [.., var final] ? final : null;
        LayerAlignment[] lastAlignment = result.Alignment.Count == 0 ? [] : [.. result.Alignment.Where(a => a.Step == result.Alignment[^1].Step)];
        return new RunSummary(
            config.Model, config.Rule.Name, config.Data, result.Epochs.Count, config.Training.Seed,
            $"{model.Backend.Name}: {model.Backend.Description}", last?.TestTop1, last?.TestTop5,
            result.Epochs.Count == 0 ? null : result.Epochs.Max(e => e.TestTop1), last?.TrainLoss, last?.TestLoss,
            Mean(lastAlignment.Select(a => a.WeightAngle)), Mean(lastAlignment.Select(a => a.DeltaAngle)), model.ParameterCount,
            result.ImagesPerSecond, result.Seconds, result.Cancelled);
    }

    private static double? Mean(IEnumerable<double> values)
    {
        double[] known = [.. values.Where(double.IsFinite)];
        return known.Length == 0 ? null : known.Average();
    }
}

/// <summary>JSON of the files of a run, in camelCase, names of choices in kebab-case.</summary>
[JsonSourceGenerationOptions(
    WriteIndented = true,
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    RespectNullableAnnotations = true,
    Converters = [typeof(KebabCase<NormOrder>), typeof(KebabCase<SimdLevel>), typeof(KebabCase<CudaPrecision>), typeof(KebabCase<ScheduleKind>), typeof(KebabCase<Augmentation>),
        typeof(KebabCase<NormalisationKind>), typeof(KebabCase<WeightInit>), typeof(KebabCase<SignMagnitude>), typeof(KebabCase<NoiseKind>),
        typeof(KebabCase<MirrorForm>), typeof(KebabCase<KolenPollackForm>), typeof(KebabCase<DirectTarget>)])]
[JsonSerializable(typeof(RunConfig))]
[JsonSerializable(typeof(RunSummary))]
[JsonSerializable(typeof(IReadOnlyList<RunSummary>))]
internal sealed partial class RunJson : JsonSerializerContext;

/// <summary>Names of choices as the command line has them: <c>CropFlip</c> is <c>crop-flip</c>.</summary>
internal sealed class KebabCase<TEnum>() : JsonStringEnumConverter<TEnum>(JsonNamingPolicy.KebabCaseLower, allowIntegerValues: false)
    where TEnum : struct, Enum;
