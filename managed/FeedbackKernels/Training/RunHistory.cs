using System.Diagnostics;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using FeedbackKernels.State;

namespace FeedbackKernels.Training;

/// <summary>What a run has measured so far, and how long it has taken, interruptions excepted.</summary>
internal sealed class RunHistory : IState
{
    private readonly History<EpochReport> _epochs = new(HistoryJson.Default.EpochReport);
    private readonly History<LayerAlignment> _alignment = new(HistoryJson.Default.LayerAlignment);
    private double _secondsBefore;
    private long _start = Stopwatch.GetTimestamp();

    /// <summary>Results of the finished epochs.</summary>
    public IReadOnlyList<EpochReport> Epochs => _epochs.All;

    /// <summary>All measurements of the alignment.</summary>
    public IReadOnlyList<LayerAlignment> Alignment => _alignment.All;

    /// <summary>Duration of the run, with evaluation.</summary>
    public double Seconds => _secondsBefore + Stopwatch.GetElapsedTime(_start).TotalSeconds;

    /// <summary>Begins to measure the duration, or goes on.</summary>
    public void StartClock() => _start = Stopwatch.GetTimestamp();

    /// <summary>Adds the result of an epoch.</summary>
    public void Add(EpochReport report) => _epochs.Add(report);

    /// <summary>Adds a measurement of the alignment.</summary>
    public void Add(IEnumerable<LayerAlignment> layers)
    {
        foreach (LayerAlignment layer in layers) _alignment.Add(layer);
    }

    /// <summary>Leaves out measurements of the alignment.</summary>
    public void KeepAlignment(Predicate<LayerAlignment> where) => _alignment.Keep(where);

    /// <summary>All measurements.</summary>
    public TrainingResult Result(bool cancelled) => TrainingResult.Of([.. Epochs], [.. Alignment], Seconds, cancelled);

    /// <inheritdoc/>
    public void Walk(IStateWalker walker)
    {
        double seconds = Seconds;
        walker.Scalar("trainer.seconds", ref seconds);
        if (walker.Replaces) (_secondsBefore, _start) = (seconds, Stopwatch.GetTimestamp());
        _epochs.Walk("trainer.epochs", walker);
        _alignment.Walk("trainer.alignment", walker);
    }

    /// <summary>A list, and its text of one line of JSON for each entry. The text grows with the list: a checkpoint of a long run does not
    /// write all of it anew.</summary>
    private sealed class History<T>(JsonTypeInfo<T> json)
    {
        private readonly List<T> _all = [];
        private readonly StringBuilder _text = new();

        public IReadOnlyList<T> All => _all;

        public void Add(T entry)
        {
            _all.Add(entry);
            _text.Append(JsonSerializer.Serialize(entry, json)).Append('\n');
        }

        public void Keep(Predicate<T> where)
        {
            T[] kept = [.. _all.Where(entry => where(entry))];
            if (kept.Length == _all.Count) return;
            _all.Clear();
            _text.Clear();
            foreach (T entry in kept) Add(entry);
        }

        public void Walk(string name, IStateWalker walker)
        {
            string text = _text.ToString();
            walker.Text(name, ref text);
            if (!walker.Replaces) return;
            _all.Clear();
            _text.Clear();
            foreach (string line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries)) Add(JsonSerializer.Deserialize(line, json)!);
        }
    }
}

/// <summary>JSON of what a checkpoint keeps of the measurements. An angle is NaN where there is nothing to compare.</summary>
[JsonSourceGenerationOptions(NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals)]
[JsonSerializable(typeof(EpochReport))]
[JsonSerializable(typeof(LayerAlignment))]
internal sealed partial class HistoryJson : JsonSerializerContext;
