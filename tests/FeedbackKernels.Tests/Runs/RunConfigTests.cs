using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using FeedbackKernels.Reports;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Runs;

/// <summary>config.json: what is written, and what is rejected.</summary>
public sealed class RunConfigTests : IDisposable
{
    private readonly string _file = Path.GetTempFileName();

    public void Dispose() => File.Delete(_file);

    [Fact]
    public void Every_enum_that_a_configuration_reaches_is_written_as_its_name()
    {
        var seen = new HashSet<Type>();
        var enums = new HashSet<Type>();
        Walk(typeof(RunConfig));
        Walk(typeof(RunSummary));
        // An empty walk would prove nothing.
        Assert.Superset(
            new HashSet<Type> { typeof(EarlyDecay), typeof(FeedbackKernels.Data.Augmentation), typeof(FeedbackKernels.Interop.SimdLevel), typeof(SignMagnitude) }, enums);
        foreach (Type type in enums)
        {
            JsonTypeInfo info = RunJson.Default.GetTypeInfo(type)!;
            foreach (object value in Enum.GetValues(type))
            {
                string text = JsonSerializer.Serialize(value, info);
                Assert.True(text.StartsWith('"'), $"{type} is written as {text}");
                Assert.Equal(JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString()!), JsonSerializer.Deserialize<string>(text));
            }

            Assert.ThrowsAny<JsonException>(() => JsonSerializer.Deserialize("1", info));
        }

        void Walk(Type type)
        {
            type = Nullable.GetUnderlyingType(type) ?? type;
            if (!seen.Add(type)) return;
            if (type.IsEnum)
            {
                enums.Add(type);
                return;
            }

            if (type.IsPrimitive || type == typeof(string)) return;
            JsonTypeInfo info = RunJson.Default.GetTypeInfo(type) ?? throw new InvalidOperationException($"{type} is not in RunJson");
            if (info.ElementType is { } element) Walk(element);
            foreach (JsonDerivedType derived in info.PolymorphismOptions?.DerivedTypes ?? []) Walk(derived.DerivedType);
            foreach (JsonPropertyInfo property in info.Properties) Walk(property.PropertyType);
        }
    }

    [Fact]
    public void A_schedule_is_written_as_its_name()
    {
        JsonTypeInfo info = RunJson.Default.GetTypeInfo(typeof(ScheduleKind))!;
        foreach (ScheduleKind kind in ScheduleCatalog.All)
        {
            string text = JsonSerializer.Serialize(kind, info);
            Assert.Equal($"\"{kind.Name}\"", text);
            Assert.Same(kind, JsonSerializer.Deserialize(text, info));
        }

        Assert.Equal(["constant", "cosine", "one-cycle", "multi-step"], ScheduleCatalog.All.Select(kind => kind.Name));
        Assert.All((string[])["1", "\"Cosine\"", "\"none\"", "{}"], text => Assert.ThrowsAny<JsonException>(() => JsonSerializer.Deserialize(text, info)));
    }

    [Fact]
    public void Every_rule_has_a_name_in_json()
    {
        JsonTypeInfo info = RunJson.Default.GetTypeInfo(typeof(FeedbackRule))!;
        Type[] rules = [.. typeof(FeedbackRule).Assembly.GetTypes().Where(t => t.IsSubclassOf(typeof(FeedbackRule)) && !t.IsAbstract)];
        Assert.Equal(rules.OrderBy(t => t.Name), info.PolymorphismOptions!.DerivedTypes.Select(d => d.DerivedType).OrderBy(t => t.Name));
    }

    [Fact]
    public void The_file_says_which_program_wrote_it()
    {
        new RunConfig().Write(_file);
        string by = JsonNode.Parse(File.ReadAllText(_file))!["writtenBy"]!.GetValue<string>();
        Assert.Matches(@"^feedback \d+\.\d+\.\d+(, commit [0-9a-f]{40})?$", by);
    }

    [Theory]
    [InlineData("{\n  \"hidden\": -5\n}", "hidden: -5, wanted 0 or more")]
    [InlineData("{\n  \"threads\": -1\n}", "threads: -1, wanted 0 or more")]
    [InlineData("{\n  \"limitTrain\": 0\n}", "limitTrain: 0, wanted 1 or more")]
    [InlineData("{\n  \"model\": \"vgg\"\n}", "'vgg' is unknown")]
    [InlineData("{\n  \"backend\": \"tpu\"\n}", "no backend 'tpu'")]
    [InlineData("{\n  \"rule\": {}\n}", "a rule lacks its name")]
    [InlineData("{\n  \"rule\": { \"rule\": \"hebb\" }\n}", "line 2", "setting 'rule'", "hebb")]
    [InlineData("{\n  \"rule\": { \"rule\": \"kolen-pollack\", \"decay\": 2 }\n}", "Decay")]
    [InlineData("{\n  \"ruleFor\": [ { \"pattern\": \"fc\", \"rule\": { \"rule\": \"weight-mirror\", \"rate\": -1 } } ]\n}", "Rate")]
    [InlineData("{\n  \"training\": {\n    \"epochs\": 0 } }", "Epochs")]
    [InlineData("{\n  \"training\": {\n    \"schedule\": { \"gamma\": -0.1 } } }", "gamma")]
    [InlineData("{\n\n\n  \"training\": {\n    \"epochs\": \"many\" } }", "line 5", "setting 'training.epochs'")]
    [InlineData("{\n  \"model\": \"lenet\",\n  \"modle\": 3\n}", "line 3", "unknown setting 'modle'")]
    [InlineData("{\n  \"rule\": { \"rule\": \"kolen-pollack\",\n \"early\": 7 }\n}", "line 3", "setting 'rule.early'")]
    [InlineData("{\n  \"batch\": 3, }", "line 2")]
    public void A_wrong_setting_is_named_with_file_and_line(string text, params string[] parts)
    {
        File.WriteAllText(_file, text);
        string message = Assert.Throws<InvalidDataException>(() => RunConfig.Read(_file)).Message;
        Assert.StartsWith(_file, message);
        Assert.All(parts, part => Assert.Contains(part, message));
        Assert.DoesNotContain(".NET", message);
        Assert.DoesNotContain('\n', message);
    }

    [Fact]
    public void The_hash_is_of_what_results_depend_on()
    {
        string hash = Hash(new RunConfig());
        foreach (RunConfig same in (RunConfig[])[new() { Threads = 3 }, new() { Device = 1 }, new() { CudaGraphs = false }, new() { WrittenBy = "another" }])
            Assert.Equal(hash, Hash(same));
        Assert.Equal(Hash(new RunConfig { Data = "mnist:/a" }), Hash(new RunConfig { Data = "mnist:/b" }));
        RunConfig[] others =
        [
            new() { Model = "mlp" }, new() { Hidden = 3 }, new() { Data = "mnist:/a" }, new() { Data = "cifar10:/a" }, new() { LimitTest = 4 }, new() { Exact = true },
            new() { Rule = new KolenPollack() }, new() { Rule = new KolenPollack(Scale: 2) }, new() { Training = new TrainingOptions { Seed = 2 } },
            new() { RuleFor = [new RuleFor("fc", new Backprop())] },
        ];
        string[] hashes = [hash, .. others.Select(Hash)];
        Assert.Equal(hashes.Length, hashes.Distinct().Count());

        string Hash(RunConfig config)
        {
            config.Write(_file);
            Assert.Equal(RunConfig.HashOf(_file), config.Hash());
            return config.Hash();
        }
    }
}
