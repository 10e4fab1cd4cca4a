using System.CommandLine;
using System.Security.Cryptography;
using System.Text;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Runs;

namespace FeedbackKernels.Cli;

/// <summary>The runs of a study: each is a line of <c>train</c>, put together from the options of all runs, those of its rule, the swept
/// one and the seed. All are read and checked before the first one runs.</summary>
internal sealed class StudyCells
{
    // Longer names of folders are cut, and a checksum tells them apart.
    private const int LongestName = 80;

    private readonly ParseResult _study;
    private readonly TrainLine _line = new();
    private readonly IReadOnlyList<string> _common;
    private readonly StudySweep? _sweep;
    private readonly Kind[] _kinds;

    /// <summary>Reads the lines, one for each rule and value.</summary>
    /// <param name="study">The command line of the study.</param>
    /// <param name="rules">Its rules.</param>
    /// <param name="sweep">What it sweeps; null for nothing.</param>
    /// <exception cref="UsageException">There is an error in a line, or an option without effect.</exception>
    public StudyCells(ParseResult study, IReadOnlyList<StudyRule> rules, StudySweep? sweep)
    {
        (_study, _sweep) = (study, sweep);
        _common = _line.GivenTo(study);
        if (sweep is not null) RequireNotGiven(sweep, rules);
        _kinds = [.. rules.SelectMany(KindsOf)];
        RefuseUnused([.. _kinds]);
        RequireDistinct("--rules", rules.Select(rule => rule.Label));
        if (sweep is not null) RequireDistinct("--sweep", sweep.Values);
    }

    /// <summary>The runs, checked: those of the first seed first, so that a study that is looked at early has something of each rule.</summary>
    /// <param name="seeds">The seeds.</param>
    /// <param name="data">Opens the data.</param>
    /// <param name="onBackend">Called with each backend that runs will use, and the name that was asked for.</param>
    /// <exception cref="UsageException">The backend does not use an option that was given.</exception>
    /// <exception cref="ArgumentException">A run's configuration, data and backend do not fit together.</exception>
    public IReadOnlyList<StudyCell> Check(IReadOnlyList<ulong> seeds, StudyData data, Action<string, Backend> onBackend)
    {
        var backends = new List<(RunConfig Of, Backend Backend)>();
        Backend BackendOf(Kind kind) => backends.First(b => AreAlike(b.Of, kind.Config)).Backend;
        try
        {
            foreach (Kind kind in _kinds.Where(kind => !backends.Any(b => AreAlike(b.Of, kind.Config)))) backends.Add((kind.Config, kind.Config.CreateBackend()));
            Kind[] kinds = [.. _kinds.Select(kind => kind with { Backend = BackendOf(kind).Name })];
            RefuseUnused(kinds);
            foreach ((RunConfig of, Backend backend) in backends) onBackend(of.Backend, backend);
            kinds = [.. kinds.Select(kind => Check(kind, seeds[0], data, BackendOf(kind)))];
            return [.. seeds.SelectMany(seed => kinds.Select(kind => CellOf(kind, seed)))];
        }
        finally
        {
            foreach ((_, Backend backend) in backends) backend.Dispose();
        }
    }

    /// <summary>Completes the configuration of a kind by its data, and checks it with one seed: what can fail does not depend on the
    /// seed.</summary>
    private Kind Check(Kind kind, ulong seed, StudyData data, Backend backend)
    {
        RunConfig config = kind.Config with { Training = kind.Config.Training with { Seed = seed } };
        DataSet images = data.Open(config);
        config = _line.Complete(kind.Parsed, config, images).For(images);
        try
        {
            Experiment.Check(config, images, backend);
        }
        catch (ArgumentException e)
        {
            throw new ArgumentException($"{StudyProgress.NameOf(kind.Rule.Label, _sweep?.Option, kind.Value)}: {Program.Plain(e.Message.ReplaceLineEndings(" "))}", e);
        }

        return kind with { Config = config };
    }

    /// <summary>Whether two runs can use the same backend.</summary>
    private static bool AreAlike(RunConfig one, RunConfig other) =>
        (one.Backend, one.Threads, one.Simd, one.Exact, one.Precision, one.Device, one.CudaGraphs) == (other.Backend, other.Threads, other.Simd, other.Exact, other.Precision, other.Device, other.CudaGraphs);

    private void RequireNotGiven(StudySweep sweep, IReadOnlyList<StudyRule> rules)
    {
        if (TrainLine.NamesIn(_common).Contains(sweep.Option)) throw new UsageException($"{sweep.Option} is given and swept; leave one of them out");
        if (rules.FirstOrDefault(rule => TrainLine.NamesIn(rule.Options).Contains(sweep.Option)) is { } twice)
            throw new UsageException($"{sweep.Option} is swept, and '{twice.Label}' of --rules sets it; leave one of them out");
    }

    /// <summary>A rule at each value; once if the swept option has no effect on it.</summary>
    private IEnumerable<Kind> KindsOf(StudyRule rule)
    {
        if (_sweep is null) return [KindOf(rule, null)];
        Kind[] kinds = [.. _sweep.Values.Select(value => KindOf(rule, value))];
        return kinds.Any(kind => _line.HasEffect(_sweep.Option, kind.Parsed, kind.Config)) ? kinds : [KindOf(rule, null)];
    }

    private Kind KindOf(StudyRule rule, string? value)
    {
        HashSet<string> replaced = [.. TrainLine.NamesIn(rule.Options)];
        string[] words = [.. Without(_common, replaced), TrainLine.Rule, rule.Name, .. rule.Options, .. value is null ? [] : _sweep!.WordsOf(value)];
        try
        {
            ParseResult parsed = _line.Parse(words);
            return new Kind(rule, value, words, parsed, _line.Read(parsed), null);
        }
        catch (UsageException e)
        {
            throw new UsageException(value is not null ? $"--sweep: {e.Message}" : $"--rules '{rule.Label}': {e.Message}");
        }
    }

    /// <summary>Refuses an option that was given and has no effect: of the rules' own options on that rule, of all others on any.</summary>
    private void RefuseUnused(IReadOnlyList<Kind> kinds)
    {
        UnusedOptions.Refuse(_study, [.. kinds.Select(kind => kind.Resolved)]);
        foreach (IGrouping<StudyRule, Kind> rule in kinds.GroupBy(kind => kind.Rule))
        {
            foreach (string name in TrainLine.NamesIn(rule.Key.Options))
            {
                if (!rule.Any(kind => _line.HasEffect(name, kind.Parsed, kind.Resolved)))
                    throw new UsageException($"--rules '{rule.Key.Label}': {name} has no effect here: it needs {_line.UseOf(name).Needs}");
            }
        }

        if (_sweep is not null && !kinds.Any(kind => kind.Value is not null && _line.HasEffect(_sweep.Option, kind.Parsed, kind.Resolved)))
            throw new UsageException($"--sweep: {_sweep.Option} has no effect here: it needs {_line.UseOf(_sweep.Option).Needs}");
    }

    private StudyCell CellOf(Kind kind, ulong seed)
    {
        string value = kind.Value is null ? "" : $"{FolderName($"{_sweep!.Option.TrimStart('-')}-{kind.Value}")}/";
        return new StudyCell(
            kind.Rule.Label, kind.Rule.Settings, kind.Value, kind.Config with { Training = kind.Config.Training with { Seed = seed } }, kind.Backend!,
            FormattableString.Invariant($"{FolderName(kind.Rule.Label)}/{value}seed-{seed}"),
            FormattableString.Invariant($"feedback train {TrainLine.Text(kind.Words)} --seed {seed}"));
    }

    /// <summary>Words without some options and their arguments.</summary>
    private static IEnumerable<string> Without(IEnumerable<string> words, HashSet<string> options)
    {
        bool leaves = false;
        foreach (string word in words)
        {
            // A negative number is an argument.
            if (word.StartsWith("--", StringComparison.Ordinal)) leaves = options.Contains(word);
            if (!leaves) yield return word;
        }
    }

    private static void RequireDistinct(string option, IEnumerable<string> texts)
    {
        if (texts.GroupBy(FolderName, StringComparer.OrdinalIgnoreCase).FirstOrDefault(g => g.Count() > 1) is { } alike)
            throw new UsageException($"{option}: {string.Join(" and ", alike.Select(text => $"'{text}'"))} would have the same folder, {alike.Key}; other labels tell them apart");
    }

    /// <summary>A text as the name of a folder.</summary>
    private static string FolderName(string text)
    {
        var name = new StringBuilder();
        foreach (char c in text) name.Append(char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-' or '+' ? c : '-');
        string whole = name.ToString().Trim('.', '-');
        while (whole.Contains("---", StringComparison.Ordinal)) whole = whole.Replace("---", "--", StringComparison.Ordinal);
        if (whole.Length is > 0 and <= LongestName) return whole;
        return $"{whole[..Math.Min(whole.Length, LongestName - 9)]}-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..8]}";
    }

    /// <summary>The runs of one rule and one value.</summary>
    /// <param name="Rule">The rule.</param>
    /// <param name="Value">Value of the swept option; null for none.</param>
    /// <param name="Words">Line of train, without the seed.</param>
    /// <param name="Parsed">The line.</param>
    /// <param name="Config">What it says; after the check, complete and with the data.</param>
    /// <param name="Backend">Name of the backend; null before it has been chosen.</param>
    private sealed record Kind(StudyRule Rule, string? Value, IReadOnlyList<string> Words, ParseResult Parsed, RunConfig Config, string? Backend)
    {
        /// <summary>The run with the backend that was chosen.</summary>
        public RunConfig Resolved => Backend is null ? Config : Config with { Backend = Backend };
    }
}
