using FeedbackKernels.Data;

namespace FeedbackKernels.Runs;

/// <summary>The data of a study's runs. Runs on the same data share one copy, and it is freed when no run needs it.</summary>
internal sealed class StudyData
{
    private readonly Dictionary<Key, WeakReference<DataSet>> _open = [];
    private readonly Lock _gate = new();

    // Kept alive for the next run, which mostly has the same data.
    private DataSet? _last;

    /// <summary>Called with the notes of a reader, once for each data set that is read.</summary>
    public Action<IReadOnlyList<string>> OnNotes { get; init; } = _ => { };

    /// <summary>The data of a run.</summary>
    /// <inheritdoc cref="DataSet.Open"/>
    public DataSet Open(RunConfig config)
    {
        bool isDrawn = !DataSource.Parse(config.Data).Kind.HasPlace;
        var key = new Key(DataSet.Absolute(config.Data), isDrawn ? config.Training.Seed : 0, config.LimitTrain, config.LimitTest, config.RamCache);
        lock (_gate)
        {
            if (_open.GetValueOrDefault(key) is { } known && known.TryGetTarget(out DataSet? there)) return _last = there;
            DataSet data = config.OpenData();
            if (!_open.ContainsKey(key)) OnNotes(data.Notes);
            _open[key] = new WeakReference<DataSet>(data);
            return _last = data;
        }
    }

    /// <param name="Data">The source.</param>
    /// <param name="Seed">The seed, if it draws the images.</param>
    /// <param name="LimitTrain">Training images that are used.</param>
    /// <param name="LimitTest">Test images that are used.</param>
    /// <param name="RamCache">Whether a packed file is held in memory.</param>
    private sealed record Key(string Data, ulong Seed, int? LimitTrain, int? LimitTest, bool RamCache);
}
