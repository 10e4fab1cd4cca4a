using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Reports;
using FeedbackKernels.Rules;
using FeedbackKernels.Settings;
using FeedbackKernels.Storage;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>All settings of a run: the content of config.json, from which the run can be repeated.</summary>
public sealed record RunConfig
{
    /// <summary>In place of <see cref="Data"/>: the model was imported, and it is not known where its data are.</summary>
    internal const string NoData = "none";

    private static readonly string ThisProgram = NameThisProgram();

    /// <summary>Name of the model, see <see cref="ModelCatalog.Names"/>.</summary>
    public string Model { get; init; } = "resnet20";

    /// <summary>Order of batch norm and ReLU.</summary>
    public NormOrder NormOrder { get; init; }

    /// <summary>Whether the last norm of each residual block starts at 0.</summary>
    public bool ZeroGamma { get; init; }

    /// <summary>Hidden units of the MLP; 0 for the number in the weight-mirror paper.</summary>
    public int Hidden { get; init; }

    /// <summary>The data, see <see cref="SourceCatalog.Forms"/>. A run's file has the absolute path.</summary>
    public string Data { get; init; } = "synthetic";

    /// <summary>Identifies the data of the run; null if no run has used this configuration.</summary>
    public DataFingerprint? DataFingerprint { get; init; }

    /// <summary>Use only the first N training images; null for all.</summary>
    public int? LimitTrain { get; init; }

    /// <summary>Use only the first N test images; null for all.</summary>
    public int? LimitTest { get; init; }

    /// <summary>The learning rule of all layers.</summary>
    public FeedbackRule Rule { get; init; } = new Backprop();

    /// <summary>Rules of some layers.</summary>
    public IReadOnlyList<RuleFor> RuleFor { get; init; } = [];

    /// <summary>Name of the backend, see <see cref="Backends.Names"/>.</summary>
    public string Backend { get; init; } = "auto";

    /// <summary>Vector width of the CPU backend; null for the widest.</summary>
    public SimdLevel? Simd { get; init; }

    /// <summary>Whether the CPU backend computes convolutions without Winograd.</summary>
    public bool Exact { get; init; }

    /// <summary>Number of the CUDA backend's device, as the driver counts them.</summary>
    public int Device { get; init; }

    /// <summary>Number format of the CUDA backend's products.</summary>
    public CudaPrecision Precision { get; init; }

    /// <summary>Whether the CUDA backend launches steps as graphs.</summary>
    public bool CudaGraphs { get; init; } = true;

    /// <summary>Threads of the CPU backend; 0 for one per processor.</summary>
    public int Threads { get; init; }

    /// <summary>How often the run saves its state within an epoch; it does so at the end of each epoch too.</summary>
    public CheckpointInterval CheckpointEvery { get; init; } = CheckpointInterval.Usual;

    /// <summary>Number of checkpoints to keep, besides that of the epoch with the best test accuracy.</summary>
    public int KeepCheckpoints { get; init; } = 3;

    /// <summary>What the run writes for TensorBoard.</summary>
    public TensorBoardContent TensorBoard { get; init; } = TensorBoardContent.Scalars;

    /// <summary>Threads that read and decode images of several sizes; 0 for the usual number.</summary>
    public int DataThreads { get; init; }

    /// <summary>Batches that are prepared ahead.</summary>
    public int BatchesAhead { get; init; } = FeedOptions.Default.BatchesAhead;

    /// <summary>Whether a packed file is held in memory.</summary>
    public bool RamCache { get; init; }

    /// <summary>Number of processes that trained the model together. Batch norms see the images of one of them.</summary>
    public int Processes { get; init; } = 1;

    /// <summary>Number format in which several processes on GPUs send and add gradients. Left out of files where it is fp32, as in those of older
    /// versions.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public CudaPrecision ReduceType { get; init; }

    /// <summary>How the model is trained.</summary>
    public TrainingOptions Training { get; init; } = new();

    /// <summary>Program, version and commit that wrote the file.</summary>
    public string WrittenBy { get; init; } = ThisProgram;

    /// <summary>All rules of the run.</summary>
    [JsonIgnore]
    public RuleSet Rules => new(Rule, RuleFor);

    /// <summary>Makes the backend.</summary>
    public Backend CreateBackend() => Backends.Create(Backend, Threads, Simd, Exact, Precision, Device, CudaGraphs);

    /// <summary>Size of the images that the model is made for: that of the data, or the size that they are brought to.</summary>
    /// <param name="images">Training images.</param>
    public MapShape InputOf(IImageSource images)
    {
        ArgumentNullException.ThrowIfNull(images);
        int size = Training.Images.TrainSize > 0 ? Training.Images.TrainSize : ModelCatalog.UsualImageSize(Model);
        return images.Shape ?? new MapShape(size, size, images.Channels);
    }

    /// <summary>The settings of training with those of the feed, which do not change the results.</summary>
    public TrainingOptions TrainingOnThisMachine() =>
        Training with { Feed = FeedOptions.Default with { Threads = DataThreads, BatchesAhead = BatchesAhead } };

    /// <summary>Opens the data of the run.</summary>
    /// <inheritdoc cref="DataSet.Open"/>
    public DataSet OpenData() => DataSet.Open(Data, Training.Seed, LimitTrain, LimitTest, RamCache);

    /// <summary>Describes the model for images of a size and a number of classes.</summary>
    /// <param name="images">Size of an image.</param>
    /// <param name="classes">Number of classes.</param>
    /// <exception cref="ArgumentException">There is no such model, or an option of it is out of range.</exception>
    public ModelSpec Describe(MapShape images, int classes) =>
        ModelCatalog.Create(Model, images, classes, new ModelOptions(NormOrder, ZeroGamma, Hidden));

    /// <summary>The configuration for an opened data set: with the absolute path and the fingerprint of the data.</summary>
    /// <param name="data">The opened data.</param>
    /// <exception cref="InvalidDataException">The configuration has a fingerprint, and the data differ from it.</exception>
    public RunConfig For(DataSet data)
    {
        ArgumentNullException.ThrowIfNull(data);
        RequireSameData(data.Name, data.Fingerprint);
        return this with { Data = DataSet.Absolute(data.Name), DataFingerprint = data.Fingerprint, WrittenBy = ThisProgram };
    }

    /// <summary>Checks all settings that do not depend on the data or the backend.</summary>
    /// <exception cref="ArgumentException">A setting is out of range; the message names it.</exception>
    public void Validate()
    {
        if (!ModelCatalog.Names.Contains(Model)) throw new ArgumentException($"model: '{Model}' is unknown; the models are {string.Join(", ", ModelCatalog.Names)}");
        if (!Backends.Names.Contains(Backend)) throw new ArgumentException($"backend: no backend '{Backend}' in this build; there are {string.Join(", ", Backends.Names)}");
        RequireAtLeast(0, Hidden, "hidden");
        RequireAtLeast(0, Threads, "threads");
        RequireAtLeast(0, Device, "device");
        RequireAtLeast(0, DataThreads, "dataThreads");
        RequireAtLeast(1, BatchesAhead, "batchesAhead");
        RequireAtLeast(1, Processes, "processes");
        RequireAtLeast(1, LimitTrain ?? 1, "limitTrain");
        RequireAtLeast(1, LimitTest ?? 1, "limitTest");
        RequireAtLeast(1, KeepCheckpoints, "keepCheckpoints");
        if (!Enum.IsDefined(TensorBoard)) throw new ArgumentException($"tensorBoard: {TensorBoard}, wanted {KebabCase.All<TensorBoardContent>()}");
        Training.Validate();
        Rules.Validate();
    }

    /// <summary>Reads a config.json. What it does not set, because an older version wrote it, is as in a new
    /// <see cref="RunConfig"/>.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">It does not exist.</exception>
    /// <exception cref="InvalidDataException">It is not a run's configuration; the message names the file, the line and the setting.</exception>
    public static RunConfig Read(string path) => Parse(() => ReadText(path), path);

    /// <summary>The configuration in a text.</summary>
    /// <param name="read">Gives the text.</param>
    /// <param name="path">Where it is from, for errors.</param>
    internal static RunConfig Parse(Func<string> read, string path)
    {
        try
        {
            string text = read();
            JsonObject given = Parse(text, path);
            // Parsed alone first, so that errors name the lines of this file and not those of the merged text.
            _ = JsonSerializer.Deserialize(text, RunJson.Default.RunConfig);
            JsonNode settings = JsonSerializer.SerializeToNode(new RunConfig(), RunJson.Default.RunConfig)!;
            Overlay(settings.AsObject(), given);
            RunConfig config = settings.Deserialize(RunJson.Default.RunConfig)!;
            config.Validate();
            return config;
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"{path}, line {(e.LineNumber ?? 0) + 1}: not a run's configuration: {Describe(e)}", e);
        }
        catch (NotSupportedException e)
        {
            // Only the rule is a type that is chosen by a name in the file.
            throw new InvalidDataException($"{path}: not a run's configuration: a rule lacks its name, wanted \"rule\": {{ \"rule\": NAME }}", e);
        }
        catch (ArgumentException e)
        {
            throw new InvalidDataException($"{path}: not a run's configuration: {e.Message.ReplaceLineEndings(" ")}", e);
        }
    }

    /// <summary>
    /// Identifies the configuration in a file: a checksum of everything that the results depend on. Paths, the numbers of threads and
    /// of the device, checkpoints, what is written for TensorBoard, and the program's version are left out, so that equal runs have equal models.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">The file does not exist.</exception>
    /// <exception cref="InvalidDataException">It is not a JSON object.</exception>
    public static string HashOf(string path)
    {
        try
        {
            return HashOf(Parse(ReadText(path), path));
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"{path}, line {(e.LineNumber ?? 0) + 1}: not a run's configuration: {Describe(e)}", e);
        }
    }

    /// <inheritdoc cref="HashOf(string)"/>
    internal string Hash() => HashOf(JsonSerializer.SerializeToNode(this, RunJson.Default.RunConfig)!.AsObject());

    /// <summary>Identifies what the state of the run depends on, whatever the number of its epochs.</summary>
    internal string HashOfState() => (this with { Training = Training with { Epochs = 1 } }).Hash();

    /// <summary>The settings in which the results of two configurations differ, with both values.</summary>
    /// <param name="other">The other configuration.</param>
    public IReadOnlyList<string> DifferencesFrom(RunConfig other)
    {
        var differences = new List<string>();
        Compare("", Relevant(this), Relevant(other));
        return differences;

        static JsonObject Relevant(RunConfig config)
        {
            JsonObject settings = JsonSerializer.SerializeToNode(config, RunJson.Default.RunConfig)!.AsObject();
            RemoveIrrelevant(settings);
            return settings;
        }

        void Compare(string path, JsonNode? mine, JsonNode? theirs)
        {
            if (JsonNode.DeepEquals(mine, theirs)) return;
            if (mine is JsonObject a && theirs is JsonObject b)
            {
                foreach (string name in a.Select(p => p.Key).Union(b.Select(p => p.Key))) Compare(path.Length == 0 ? name : $"{path}.{name}", a[name], b[name]);
                return;
            }

            differences.Add($"{path} {mine?.ToJsonString() ?? "null"} instead of {theirs?.ToJsonString() ?? "null"}");
        }
    }

    private static void RemoveIrrelevant(JsonObject config)
    {
        foreach (string name in (string[])["writtenBy", "threads", "device", "cudaGraphs", "dataThreads", "batchesAhead", "ramCache", "processes", "checkpointEvery", "keepCheckpoints", "tensorBoard"]) config.Remove(name);
        if (config["data"] is JsonValue source && source.TryGetValue(out string? text)) config["data"] = text.Split(':')[0];
    }

    private static string HashOf(JsonObject config)
    {
        RemoveIrrelevant(config);
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(config.ToJsonString())));
    }

    private static string ReadText(string path)
    {
        if (!File.Exists(path)) throw new FileNotFoundException($"file '{path}' does not exist", path);
        byte[] bytes = File.ReadAllBytes(path);
        ReadOnlySpan<byte> head = bytes.AsSpan(0, Math.Min(bytes.Length, FoundInstead.HeadBytes));
        if (FoundInstead.Error(path, head, "a run's config.json") is { } error) throw error;
        using var text = new StreamReader(new MemoryStream(bytes));
        return text.ReadToEnd();
    }

    private static JsonObject Parse(string text, string path) =>
        JsonNode.Parse(text, documentOptions: new JsonDocumentOptions { AllowDuplicateProperties = false }) as JsonObject
            ?? throw new InvalidDataException($"{path}: not a run's configuration: not a JSON object");

    // The message without positions in the text, which the caller adds, and without .NET type names.
    private static string Describe(JsonException e)
    {
        string message = e.Message.Split(" Path: ")[0].Split(" LineNumber: ")[0], setting = e.Path is { Length: > 2 } path ? path[2..] : "";
        if (message.Contains("could not be mapped to any .NET member", StringComparison.Ordinal)) return $"unknown setting '{setting}'";
        if (message.Contains("could not be converted to", StringComparison.Ordinal)) message = "the value has the wrong type or is not one of the choices";
        return setting.Length == 0 ? message : $"setting '{setting}': {message}";
    }

    // The build appends the commit to the version, if there is one: 0.1.0+c0ffee.
    private static string NameThisProgram()
    {
        string[] version = typeof(RunConfig).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion.Split('+');
        return $"feedback {version[0]}{(version.Length > 1 ? $", commit {version[1]}" : "")}";
    }

    private static void RequireAtLeast(int least, int value, string setting)
    {
        if (value < least) throw new ArgumentException($"{setting}: {value}, wanted {least} or more");
    }

    // The generated reader sets missing values to zero, not to the defaults of the properties.
    private static void Overlay(JsonObject settings, JsonObject given)
    {
        foreach ((string name, JsonNode? value) in given)
        {
            // A rule is replaced as a whole: another rule has other settings.
            if (name != "rule" && settings[name] is JsonObject below && value is JsonObject part) Overlay(below, part);
            else settings[name] = value?.DeepClone();
        }
    }

    /// <summary>Writes the file. It appears whole or not at all.</summary>
    /// <param name="path">The file.</param>
    public void Write(string path) => AtomicFile.WriteAllText(path, ToJson() + "\n");

    /// <summary>The content of config.json.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, RunJson.Default.RunConfig);

    /// <summary>Summarises a run of this configuration.</summary>
    /// <param name="model">The trained model.</param>
    /// <param name="result">What was measured.</param>
    /// <param name="divergence">What ended the run early, if it diverged.</param>
    public RunSummary Summarise(Model model, TrainingResult result, NonFiniteLossException? divergence = null) =>
        RunSummary.Of(Rule.Name, Data, Training.Seed, model, result, divergence);

    /// <summary>Checks that data are those of the run, if the configuration belongs to one.</summary>
    internal void RequireSameData(string name, DataFingerprint found)
    {
        if (DataFingerprint is null || found.DifferencesFrom(DataFingerprint) is not { Count: > 0 } differences) return;
        throw new InvalidDataException(
            $"{name}: not the data that the run was trained on: {string.Join("; ", differences)}. --data gives another place");
    }
}

/// <summary>JSON of the files of a run. The catalogue of rules adds the rules to what the compiler generates.</summary>
internal sealed class RunJson
{
    private readonly JsonSerializerOptions _options = new(RunJsonContext.Default.Options)
    {
        TypeInfoResolver = JsonTypeInfoResolver.Combine(RuleCatalog.Json, RunJsonContext.Default),
    };

    private RunJson() => _options.MakeReadOnly();

    /// <summary>The one instance.</summary>
    public static RunJson Default { get; } = new();

    /// <summary>config.json.</summary>
    public JsonTypeInfo<RunConfig> RunConfig => (JsonTypeInfo<RunConfig>)GetTypeInfo(typeof(RunConfig));

    /// <summary>summary.json of a run.</summary>
    public JsonTypeInfo<RunSummary> RunSummary => (JsonTypeInfo<RunSummary>)GetTypeInfo(typeof(RunSummary));

    /// <summary>summary.json of a comparison.</summary>
    public JsonTypeInfo<IReadOnlyList<RunSummary>> IReadOnlyListRunSummary => (JsonTypeInfo<IReadOnlyList<RunSummary>>)GetTypeInfo(typeof(IReadOnlyList<RunSummary>));

    /// <summary>attacks.json of a run.</summary>
    public JsonTypeInfo<StoredAttack[]> StoredAttacks => (JsonTypeInfo<StoredAttack[]>)GetTypeInfo(typeof(StoredAttack[]));

    /// <summary>JSON of a type that one of these files contains.</summary>
    public JsonTypeInfo GetTypeInfo(Type type) => _options.GetTypeInfo(type);
}

/// <summary>JSON of the files of a run without the rules, in camelCase, names of choices in kebab-case.</summary>
[JsonSourceGenerationOptions(
    WriteIndented = true,
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    RespectNullableAnnotations = true,
    AllowDuplicateProperties = false,
    Converters = [typeof(KebabCase<NormOrder>), typeof(KebabCase<SimdLevel>), typeof(KebabCase<CudaPrecision>), typeof(KebabCase<TensorBoardContent>), typeof(ScheduleKindJson), typeof(KebabCase<Augmentation>),
        typeof(KebabCase<NormalisationKind>), typeof(KebabCase<NoisyUpdates>), typeof(CheckpointIntervalJson), typeof(KebabCase<AttackKind>)])]
[JsonSerializable(typeof(RunConfig))]
[JsonSerializable(typeof(RunSummary))]
[JsonSerializable(typeof(IReadOnlyList<RunSummary>))]
[JsonSerializable(typeof(StoredAttack[]))]
internal sealed partial class RunJsonContext : JsonSerializerContext;

/// <summary>A schedule is written as its name.</summary>
internal sealed class ScheduleKindJson : JsonConverter<ScheduleKind>
{
    public override ScheduleKind Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.String && ScheduleCatalog.Find(reader.GetString()!) is { } kind ? kind : throw new JsonException();

    public override void Write(Utf8JsonWriter writer, ScheduleKind value, JsonSerializerOptions options) => writer.WriteStringValue(value.Name);
}
