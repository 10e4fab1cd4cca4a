using System.Text.Json;
using System.Text.Json.Nodes;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Reports;
using FeedbackKernels.Storage;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>
/// Several runs in one folder, with tables and a page of all of them. The folder alone tells what is done: runs in it that have finished are
/// taken, runs that were stopped go on, others start. So a study goes on where it stopped, and a longer list of runs extends it. All
/// runs are in this process, because they share the data in memory and the compiled code; each has a backend of its own.
/// </summary>
/// <param name="folder">Its folder; it need not exist.</param>
/// <param name="outline">What it compares.</param>
/// <param name="cells">Its runs, in the order in which they are done.</param>
/// <param name="data">Opens their data.</param>
internal sealed class Study(string folder, StudyOutline outline, IReadOnlyList<StudyCell> cells, StudyData data)
{
    // By folder; and the folders of the runs that are still to be done.
    private readonly Dictionary<string, StudiedRun> _ended = [];
    private readonly HashSet<string> _waiting = [];
    private readonly Lock _gate = new();

    /// <summary>The results so far.</summary>
    public StudyResults Results
    {
        get
        {
            lock (_gate) return new StudyResults(outline, [.. _ended.Values]);
        }
    }

    /// <summary>What it compares.</summary>
    public StudyOutline Outline => outline;

    /// <summary>The runs that have not ended or that lack an attack, in their order.</summary>
    public IReadOnlyList<StudyCell> Remaining
    {
        get
        {
            lock (_gate) return [.. cells.Where(cell => !IsDone(cell))];
        }
    }

    /// <summary>The runs that have not ended, in their order.</summary>
    public IReadOnlyList<StudyCell> Untrained
    {
        get
        {
            lock (_gate) return [.. cells.Where(cell => !IsTrained(cell))];
        }
    }

    /// <summary>Folder of a run.</summary>
    public string PathOf(StudyCell cell) => Path.Combine(folder, cell.Folder);

    /// <summary>Checks a folder for a study. Writes nothing.</summary>
    /// <exception cref="IOException">It is a file, or has files in it that are none of a study.</exception>
    public static void CheckFolder(string folder)
    {
        if (File.Exists(folder)) throw new IOException($"'{folder}' is a file, wanted a folder");
        if (Directory.Exists(folder) && !File.Exists(Path.Combine(folder, StudyFiles.Study)) && !ClaimedFolder.IsEmptyFolder(folder))
            throw new IOException($"folder '{folder}' has files in it and no {StudyFiles.Study}: it is none of a study; give another one with --out");
    }

    /// <summary>Reads what the folder has of the study's runs, and checks that they are the runs that are wanted. Writes nothing.</summary>
    /// <exception cref="IOException">A run in the folder has another configuration, or another process trains in it; the message names the
    /// folder and the differences.</exception>
    /// <exception cref="InvalidDataException">A file of a run is damaged.</exception>
    public void ReadFolder()
    {
        CheckFolder(folder);
        foreach (StudyCell cell in cells)
        {
            string path = PathOf(cell);
            if (!StoppedRun.IsIn(path)) continue;
            using (StoppedRun there = StoppedRun.Open(path)) there.RequireSame(cell.Config);
            if (StoredResults.Read(cell, path, outline.Attacks) is { } run) _ended[cell.Folder] = run;
        }
    }

    /// <summary>Does the runs that have not ended. Tables and page are written at the start and after each run.</summary>
    /// <param name="parallel">Number of runs at the same time. Those on the CPU divide the threads.</param>
    /// <param name="observer">Follows the study.</param>
    /// <param name="cancel">Stops the runs after their current steps, and begins no others.</param>
    /// <exception cref="IOException">Another study writes to the folder, or a file of the study itself cannot be written.</exception>
    public void Run(int parallel, IStudyObserver observer, CancellationToken cancel)
    {
        using ClaimedFolder claim = ClaimedFolder.Take(folder);
        AtomicFile.WriteAllText(Path.Combine(folder, StudyFiles.Study), Describe());
        Write();
        var waiting = new Queue<(StudyCell Cell, int Number)>(Remaining.Select((cell, i) => (cell, i + 1)));
        _waiting.UnionWith(waiting.Select(next => next.Cell.Folder));
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task[] workers = [.. Enumerable.Range(0, Math.Min(parallel, waiting.Count)).Select(_ => Task.Factory.StartNew(Work, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
        Task.WhenAll(workers).GetAwaiter().GetResult();

        void Work()
        {
            try
            {
                while (Next() is { } next) End(next.Cell, observer.Show(next.Cell, next.Number, follower => RunOne(next.Cell, parallel, observer, follower, stop.Token)));
            }
            catch
            {
                // Files of the study cannot be written: the other runs end too.
                stop.Cancel();
                throw;
            }
        }

        (StudyCell Cell, int Number)? Next()
        {
            lock (_gate) return !stop.IsCancellationRequested && waiting.TryDequeue(out (StudyCell, int) next) ? next : null;
        }

        void End(StudyCell cell, StudiedRun run)
        {
            TimeSpan? left;
            lock (_gate)
            {
                _ended[cell.Folder] = run;
                _waiting.Remove(cell.Folder);
                Write();
                left = TimeLeft(parallel);
            }

            observer.OnEnd(run, left);
        }
    }

    private StudiedRun RunOne(StudyCell cell, int parallel, IStudyObserver observer, ITrainingObserver? follower, CancellationToken cancel)
    {
        string path = PathOf(cell);
        bool trained;
        lock (_gate) trained = IsTrained(cell);
        try
        {
            DataSet images = data.Open(cell.Config);
            using Backend backend = OnThreads(cell, parallel).CreateBackend();
            if (!trained) Train(cell, path, images, backend, follower, cancel);
            trained = true;
            AttackModel(cell, path, images, backend, cancel);
        }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested)
        {
            // What has been written is whole.
        }
        catch (Exception e)
        {
            observer.OnError(cell, e);
            // A model that no attack could be made on has been trained all the same.
            if (!trained) return StoredResults.Read(cell, path, outline.Attacks, e.Message.ReplaceLineEndings(" "))!;
        }

        return StoredResults.Read(cell, path, outline.Attacks) ?? cell.Told(RunStatus.Stopped, null, null, [], []);
    }

    private static void Train(StudyCell cell, string path, DataSet images, Backend backend, ITrainingObserver? follower, CancellationToken cancel)
    {
        using StoppedRun? stopped = StoppedRun.IsIn(path) ? StoppedRun.Open(path) : null;
        // Files without a configuration are none of a run.
        if (stopped is null) Experiment.Train(cell.Config, images, backend, new RunPlace(path, Overwrite: true), follower, cancel: cancel);
        else Experiment.Resume(stopped, cell.Config, images, backend, follower, cancel: cancel);
    }

    /// <summary>Makes the attacks that have not been made on the model of a run that has finished.</summary>
    private void AttackModel(StudyCell cell, string path, DataSet images, Backend backend, CancellationToken cancel)
    {
        // Without attacks the tables of the run need not be read here.
        if (outline.Attacks.Count == 0) return;
        if (StoredResults.Read(cell, path, outline.Attacks) is not { Status: RunStatus.Finished, Summary: { } summary } trained) return;
        Attack[] missing = [.. outline.Attacks.Where(attack => !trained.Attacked.ContainsKey(attack.Kind))];
        if (missing.Length == 0) return;
        using StoredRun run = StoredRun.Open(path);
        // No more images at a time than training took, so that memory suffices.
        using Model model = Model.ForAttack(backend, run.Describe(), cell.Config.Training.PartBatch);
        run.Model.LoadInto(model);
        foreach (Attack attack in missing)
        {
            (Evaluation clean, Evaluation found) = new AttackEvaluator(model, attack).Run(images.Test, run.Preprocessing, cancel: cancel);
            new StoredAttack(attack, summary.Epochs, clean.Top1, found.Top1, found.Top5, double.IsFinite(found.Loss) ? found.Loss : null).AddTo(path);
        }
    }

    /// <summary>The settings of the run's backend: where several share a CPU, each has its part of the threads. The run's results and its
    /// configuration do not depend on it.</summary>
    private static RunConfig OnThreads(StudyCell cell, int parallel)
    {
        if (parallel == 1 || cell.Backend != "cpu") return cell.Config;
        int all = cell.Config.Threads > 0 ? cell.Config.Threads : Environment.ProcessorCount;
        return cell.Config with { Threads = Math.Max(1, all / parallel) };
    }

    private bool IsTrained(StudyCell cell) => _ended.GetValueOrDefault(cell.Folder) is { Status: RunStatus.Finished or RunStatus.Diverged };

    private bool IsDone(StudyCell cell) => IsTrained(cell)
        && (_ended[cell.Folder].Status == RunStatus.Diverged || outline.Attacks.All(attack => _ended[cell.Folder].Attacked.ContainsKey(attack.Kind)));

    // A run takes as long as those of its rule and value, otherwise of its value (which may be the model), otherwise of all.
    private TimeSpan? TimeLeft(int parallel)
    {
        StudiedRun[] timed = [.. _ended.Values.Where(run => run is { Status: RunStatus.Finished, Summary: not null })];
        if (timed.Length == 0) return null;
        double seconds = cells.Where(cell => _waiting.Contains(cell.Folder) && !IsTrained(cell)).Sum(cell =>
            MeanOf(run => run.Label == cell.Label && run.Value == cell.Value) ?? MeanOf(run => run.Value == cell.Value) ?? MeanOf(_ => true)!.Value);
        return TimeSpan.FromSeconds(seconds / parallel);

        double? MeanOf(Func<StudiedRun, bool> which) => timed.Where(which).Select(run => (double?)run.Summary!.Seconds).DefaultIfEmpty(null).Average();
    }

    private void Write()
    {
        StudyResults results = Results;
        AtomicFile.WriteAllText(Path.Combine(folder, StudyFiles.Runs), StudyTables.Runs(results));
        AtomicFile.WriteAllText(Path.Combine(folder, StudyFiles.Summary), StudyTables.Summary(results));
        AtomicFile.WriteAllText(Path.Combine(folder, StudyFiles.Page), StudyPage.Of(results));
    }

    private string Describe()
    {
        var study = new JsonObject
        {
            ["command"] = outline.Command,
            ["writtenBy"] = new RunConfig().WrittenBy,
            ["rules"] = new JsonArray([.. outline.Labels.Select(label => (JsonNode)label)]),
            ["baseline"] = outline.Baseline,
            ["seeds"] = new JsonArray([.. outline.Seeds.Select(seed => (JsonNode)seed)]),
            ["option"] = outline.Option,
            ["attacks"] = new JsonArray([.. outline.Attacks.Select(attack => (JsonNode)attack.Describe())]),
            ["values"] = new JsonArray([.. outline.Values.Select(value => (JsonNode)value)]),
            ["runs"] = new JsonArray([.. cells.Select(DescribeRun)]),
        };
        return study.ToJsonString(new JsonSerializerOptions { WriteIndented = true }) + "\n";
    }

    private static JsonNode DescribeRun(StudyCell cell) => new JsonObject
    {
        ["folder"] = cell.Folder,
        ["label"] = cell.Label,
        ["value"] = cell.Value,
        ["seed"] = cell.Seed,
        ["command"] = cell.Command,
    };
}
