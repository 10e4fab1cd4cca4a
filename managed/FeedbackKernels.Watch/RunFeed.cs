using System.Text.Json;
using System.Text.Json.Serialization;
using FeedbackKernels.Runs;

namespace FeedbackKernels.Watch;

/// <summary>A message to a page.</summary>
/// <param name="Type">hello, runs, rows or log.</param>
/// <param name="Json">The content.</param>
internal readonly record struct Message(string Type, string Json);

/// <summary>The first message: the page forgets what it knew.</summary>
/// <param name="Folder">The watched folder.</param>
internal sealed record Hello(string Folder);

/// <summary>A run, for the list.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Model">The model; null if config.json does not say.</param>
/// <param name="Rule">The rule.</param>
/// <param name="Data">The data.</param>
/// <param name="Epochs">Epochs that it is to have.</param>
/// <param name="State">open, finished, stopped or diverged. A run that was killed is open.</param>
/// <param name="Written">When it wrote last, in milliseconds since 1970.</param>
/// <param name="HasReport">Whether it has a report.</param>
internal sealed record RunState(string Name, string? Model, string? Rule, string? Data, int? Epochs, string State, long Written, bool HasReport);

/// <summary>Rows of a table.</summary>
/// <param name="Run">The run.</param>
/// <param name="Table">metrics or alignment.</param>
/// <param name="Anew">Whether they replace the rows before.</param>
/// <param name="Columns">Names of the columns.</param>
/// <param name="Rows">Cells, one for each column.</param>
internal sealed record TableRows(string Run, string Table, bool Anew, IReadOnlyList<string> Columns, IReadOnlyList<string[]> Rows);

/// <summary>Lines of a log.</summary>
/// <param name="Run">The run.</param>
/// <param name="Anew">Whether they replace the lines before.</param>
/// <param name="Lines">The lines.</param>
internal sealed record LogLines(string Run, bool Anew, IReadOnlyList<string> Lines);

/// <summary>JSON of the messages.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(Hello))]
[JsonSerializable(typeof(IReadOnlyList<RunState>))]
[JsonSerializable(typeof(TableRows))]
[JsonSerializable(typeof(LogLines))]
internal sealed partial class MessageJson : JsonSerializerContext;

/// <summary>Follows the runs of a folder for one open page: what has changed since the last look.</summary>
/// <param name="scanner">The folder.</param>
internal sealed class RunFeed(RunScanner scanner)
{
    /// <summary>Lines of a log that a page gets at first.</summary>
    public const int LogTail = 200;

    private readonly Dictionary<string, RunTail> _runs = [];
    private string? _list;

    /// <summary>What has changed, in the order in which the page is told.</summary>
    public IEnumerable<Message> Poll()
    {
        bool first = _list is null;
        if (first) yield return new Message("hello", JsonSerializer.Serialize(new Hello(scanner.Folder), MessageJson.Default.Hello));
        IReadOnlyList<FoundRun> found = scanner.Scan();
        foreach (string gone in _runs.Keys.Except(found.Select(run => run.Name)).ToList()) _runs.Remove(gone);
        string list = JsonSerializer.Serialize([.. found.Select(run => Tail(run).State())], MessageJson.Default.IReadOnlyListRunState);
        if (list != _list) yield return new Message("runs", _list = list);
        foreach (FoundRun run in found)
        {
            foreach (Message message in Tail(run).Poll()) yield return message;
        }
    }

    private RunTail Tail(FoundRun run)
    {
        if (!_runs.TryGetValue(run.Name, out RunTail? tail)) _runs.Add(run.Name, tail = new RunTail(run));
        return tail;
    }

    /// <summary>The files of one run.</summary>
    private sealed class RunTail(FoundRun run)
    {
        private readonly TableTail _metrics = new(run, "metrics", RunFiles.Metrics), _alignment = new(run, "alignment", RunFiles.Alignment);
        private readonly FileTail _log = new(Path.Combine(run.Folder, RunFiles.Log));

        public RunState State()
        {
            using JsonDocument? config = ReadJson(RunFiles.Config), summary = ReadJson(RunFiles.Summary);
            string state = summary is null ? IsImported() ? "imported" : "open"
                : Text(summary, "diverged") is not null ? "diverged"
                : summary.RootElement.TryGetProperty("cancelled", out JsonElement cancelled) && cancelled.ValueKind == JsonValueKind.True ? "stopped" : "finished";
            return new RunState(
                run.Name, Text(config, "model"), Text(config, "rule", "rule"), Text(config, "data"),
                Find(config, "training", "epochs") is { ValueKind: JsonValueKind.Number } epochs && epochs.TryGetInt32(out int count) ? count : null,
                state, Written(), FolderRules.IsOwnFile(Path.Combine(run.Folder, RunFiles.Report)));
        }

        public IEnumerable<Message> Poll()
        {
            foreach (TableTail table in (TableTail[])[_metrics, _alignment])
            {
                if (table.Read() is { } rows) yield return new Message("rows", JsonSerializer.Serialize(rows, MessageJson.Default.TableRows));
            }

            if (_log.Read() is { } log)
                yield return new Message("log", JsonSerializer.Serialize(new LogLines(run.Name, log.Anew, [.. log.Lines.TakeLast(LogTail)]), MessageJson.Default.LogLines));
        }

        /// <summary>Weights without a log are those of `feedback import`: a run writes its log before its first weights.</summary>
        private bool IsImported() =>
            FolderRules.IsOwnFile(Path.Combine(run.Folder, RunFiles.Model)) && !File.Exists(Path.Combine(run.Folder, RunFiles.Log));

        private long Written() => ((string[])[RunFiles.Config, RunFiles.Metrics, RunFiles.Log, RunFiles.Summary])
            .Select(name => File.GetLastWriteTimeUtc(Path.Combine(run.Folder, name))).Max() is var time ? new DateTimeOffset(time).ToUnixTimeMilliseconds() : 0;

        /// <summary>A JSON object; null if there is none that can be read.</summary>
        private JsonDocument? ReadJson(string name)
        {
            string path = Path.Combine(run.Folder, name);
            try
            {
                if (!FolderRules.IsOwnFile(path)) return null;
                JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
                if (document.RootElement.ValueKind == JsonValueKind.Object) return document;
                document.Dispose();
                return null;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
            {
                return null;
            }
        }

        private static string? Text(JsonDocument? document, params string[] path) =>
            Find(document, path) is { ValueKind: JsonValueKind.String } found ? found.GetString() : null;

        private static JsonElement? Find(JsonDocument? document, params string[] path)
        {
            if (document is null) return null;
            JsonElement element = document.RootElement;
            foreach (string name in path)
            {
                if (element.ValueKind != JsonValueKind.Object || !element.TryGetProperty(name, out element)) return null;
            }

            return element;
        }
    }

    /// <summary>A CSV file with a header.</summary>
    private sealed class TableTail(FoundRun run, string table, string file)
    {
        private readonly FileTail _tail = new(Path.Combine(run.Folder, file));
        private string[]? _columns;

        public TableRows? Read()
        {
            if (_tail.Read() is not { } added) return null;
            if (added.Anew) _columns = null;
            IEnumerable<string[]> rows = added.Lines.Select(line => line.TrimEnd('\r').Split(','));
            if (_columns is null && added.Lines.Count > 0)
            {
                _columns = rows.First();
                rows = rows.Skip(1);
            }

            // A process that was killed within a line leaves a part of one, to which the next process may have added a whole one.
            return new TableRows(run.Name, table, added.Anew, _columns ?? [], [.. rows.Where(row => row.Length == _columns?.Length)]);
        }
    }
}
