using System.Reflection;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.State;
using FeedbackKernels.Storage;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Training;

/// <summary>
/// What is not in the state cannot exist: after training, a field of an object with state is either the same in a new object that has
/// loaded the checkpoint, or it is listed here with the reason why nothing depends on it. A field that is added to a rule, an optimiser or
/// the trainer and forgotten in its walk fails.
/// </summary>
public sealed class StateTests : IDisposable
{
    /// <summary>Fields that differ between a trainer that has run and one that will, and why that changes no result.</summary>
    private static readonly Dictionary<string, string> Derived = new()
    {
        ["Trainer._started"] = "a trainer runs once",
        ["Trainer._waitedBefore"] = "a time",
        ["Trainer._saidThatItWaits"] = "a message that is printed once",
        ["Trainer._saidDamaged"] = "a message that is printed once",
        ["Trainer.<IsBetweenSteps>k__BackingField"] = "true wherever a state is saved",
        ["EpochTally._start"] = "a time",
        ["EpochTally._startImages"] = "for the speed in this process",
        ["EpochTally._batchLoss"] = "of the last step, for its report",
        ["EpochTally._startTimes"] = "for the waiting in this process",
        ["EpochTally.<Speed>k__BackingField"] = "a speed",
        ["RunHistory._start"] = "a time",
        ["RunHistory._secondsBefore"] = "a time",
        ["ImageFeed._order"] = "made anew from seed and epoch",
        ["ImageFeed._orderEpoch"] = "the epoch of that order",
        ["ImageFeed._uploadTicks"] = "a time",
        ["ImageFeed._start"] = "of the batches in preparation",
        ["Sgd._segments"] = "filled at each update",
        ["Sgd._coupled"] = "filled at each update",
    };

    // Objects without state: what they hold is made anew, or read once by the step that wrote it.
    private static readonly string[] Unlisted = ["Evaluator", "Prefetcher`1", "Batch", "ImageWorker"];

    private readonly CpuBackend _backend = new(1);
    private readonly string _file = Path.GetTempFileName();

    public static TheoryData<string> Rules() => [.. RuleCatalog.All.Select(rule => rule.Name), "wm-partial", "wm-average", "wm-follow", "kp-closed"];

    public void Dispose()
    {
        _backend.Dispose();
        File.Delete(_file);
    }

    [Theory, MemberData(nameof(Rules))]
    public void Every_field_is_in_the_state_or_derived(string rule)
    {
        DataSet data = DataSet.Open("synthetic", 3, 3 * 16, 16);
        using Model trainedModel = NewModel(), loadedModel = NewModel();
        TrainingOptions options = TrainerTests.Options(2) with { Batch = 16 };
        using Trainer trained = new(trainedModel, data, options), loaded = new(loadedModel, data, options);
        using var stop = new CancellationTokenSource();
        Assert.True(trained.Run(new Stop(stop), stop.Token).Cancelled);
        Checkpoint.Save(trained, _backend, _file);
        Checkpoint.Load(loaded, _backend, _file);
        var seen = new HashSet<object>(ReferenceEqualityComparer.Instance);
        var states = new HashSet<string>();
        var wrong = new List<string>();
        Compare(trained, loaded);
        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
        // A walk that reaches nothing would find no difference.
        Assert.Superset(new HashSet<string> { "Trainer", "Sgd", "ImageFeed", "EpochTally", "RunHistory", "Model" }, states);
        if (rule.StartsWith('w')) Assert.Contains("Mirror", states);

        Model NewModel() => new(_backend, ModelCatalog.Create("resnet8", data.Train.RequireShape(), 10), RulesOf(rule), 16, seed: 4);

        void Compare(object a, object b)
        {
            if (!seen.Add(a)) return;
            if (a is IState) states.Add(a.GetType().Name);
            foreach (FieldInfo field in FieldsOf(a.GetType()))
            {
                object? mine = field.GetValue(a), other = field.GetValue(b);
                string name = $"{field.DeclaringType!.Name}.{field.Name}";
                if (IsValue(field.FieldType))
                {
                    if (!Derived.ContainsKey(name) && !Same(mine, other)) wrong.Add($"{name}: {mine}, after loading {other}");
                }
                else if (mine is not null && other is not null && IsOurs(mine.GetType())) Compare(mine, other);
                else if (mine is System.Collections.IEnumerable many and not string && other is System.Collections.IEnumerable others)
                {
                    foreach ((object x, object y) in many.Cast<object>().Zip(others.Cast<object>()))
                    {
                        if (x is not null && y is not null && IsOurs(x.GetType())) Compare(x, y);
                    }
                }
            }
        }
    }

    private static RuleSet RulesOf(string rule) => rule switch
    {
        "wm-partial" => RuleSet.Of(new WeightMirror(Samples: 5, WarmUpSteps: 3)),
        "wm-average" => RuleSet.Of(new WeightMirror(Samples: 5, WarmUpSteps: 3, Update: MirrorUpdate.Average)),
        "wm-follow" => RuleSet.Of(new WeightMirror(Samples: 5, WarmUpSteps: 3, Follow: true)),
        "kp-closed" => RuleSet.Of(new KolenPollack(Form: KolenPollackForm.ClosedForm)),
        _ => RuleSet.Of(RuleCatalog.All.Single(entry => entry.Name == rule).Create()),
    };

    // Memory of a backend is compared by the checkpoint; layers, rules, optimiser, feed and trainer are objects of this library.
    private static bool IsOurs(Type type) =>
        type.Assembly == typeof(Trainer).Assembly && !type.IsValueType && !typeof(Delegate).IsAssignableFrom(type) && !Unlisted.Contains(type.Name);

    private static bool IsValue(Type type) => type.IsPrimitive || type.IsEnum || type == typeof(string) || (type.IsArray && type.GetElementType()!.IsPrimitive);

    private static bool Same(object? a, object? b) => a is Array x && b is Array y ? x.Cast<object>().SequenceEqual(y.Cast<object>()) : Equals(a, b);

    private static IEnumerable<FieldInfo> FieldsOf(Type type)
    {
        for (Type? at = type; at is not null && at != typeof(object); at = at.BaseType)
        {
            foreach (FieldInfo field in at.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly)) yield return field;
        }
    }

    private sealed class Stop(CancellationTokenSource source) : ITrainingObserver
    {
        private int _steps;

        // In the second epoch, so that every count is past its start.
        public void OnStep(in StepReport report)
        {
            if (++_steps == 5) source.Cancel();
        }
    }
}
