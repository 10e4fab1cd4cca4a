using System.Globalization;
using FeedbackKernels.Training;

namespace FeedbackKernels.Reports;

/// <summary>What a study compares.</summary>
/// <param name="Title">Model and data.</param>
/// <param name="Labels">Labels of the rules, in the order of the page.</param>
/// <param name="Baseline">Label of the rule that the others are compared with: the first that is backprop; null if there is none.</param>
/// <param name="Option">The swept option, as <c>--lr</c>; null if nothing is swept.</param>
/// <param name="Values">Its values; empty if nothing is swept.</param>
/// <param name="Seeds">The seeds.</param>
/// <param name="Runs">Number of all runs.</param>
/// <param name="Command">The command that repeats the study.</param>
/// <param name="Configuration">Configuration of the first run, as text.</param>
internal sealed record StudyOutline(
    string Title, IReadOnlyList<string> Labels, string? Baseline, string? Option, IReadOnlyList<string> Values, IReadOnlyList<ulong> Seeds,
    int Runs, string Command, string Configuration)
{
    /// <summary>Attacks on the trained models.</summary>
    public IReadOnlyList<Attack> Attacks { get; init; } = [];

    /// <summary>The values as the charts order them: numbers by size, models by their depth, others as given.</summary>
    public IReadOnlyList<string> OrderedValues { get; } =
        Values.All(value => NumberOf(value) is not null) ? [.. Values.OrderBy(value => NumberOf(value))]
        : Option == "--model" ? [.. Values.OrderBy(DepthOf)]
        : Values;

    /// <summary>A value as a number; null if it is none.</summary>
    public static double? NumberOf(string value) =>
        double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && double.IsFinite(number) ? number : null;

    // The number at the end of a model's name.
    private static int DepthOf(string model)
    {
        string digits = string.Concat(model.Reverse().TakeWhile(char.IsAsciiDigit).Reverse());
        return int.TryParse(digits, CultureInfo.InvariantCulture, out int depth) ? depth : 0;
    }
}

/// <summary>The runs of one rule and one value, one for each seed.</summary>
/// <param name="Label">Label of the rule.</param>
/// <param name="Value">Value of the swept option; null if nothing is swept, or if the option has no effect on the rule.</param>
/// <param name="Runs">The runs that have ended, in the order of their seeds.</param>
/// <param name="Baseline">The runs of the baseline that they are compared with, by seed; null for the baseline itself and where there is none.</param>
internal sealed record StudyGroup(string Label, string? Value, IReadOnlyList<StudiedRun> Runs, IReadOnlyDictionary<ulong, StudiedRun>? Baseline)
{
    /// <summary>The runs that means are taken over: those that have finished.</summary>
    public IEnumerable<StudiedRun> Finished => Runs.Where(run => run.Status == RunStatus.Finished);

    /// <summary>Mean over seeds.</summary>
    public Interval Of(StudyMeasure measure) => Interval.Of([.. Finished.Select(measure.Of).OfType<double>()]);

    /// <summary>How many runs a mean is of, in words, where it is not all that have finished; otherwise empty.</summary>
    public string PartOf(StudyMeasure measure) =>
        Of(measure) is { Count: > 0 } mean && mean.Count < Finished.Count() ? string.Create(CultureInfo.InvariantCulture, $" ({mean.Count} of {Finished.Count()})") : "";

    /// <summary>Mean over seeds of the difference from the baseline's run of the same seed.</summary>
    public Interval DifferenceOf(StudyMeasure measure)
    {
        var differences = new List<double>();
        foreach (StudiedRun run in Finished)
        {
            if (Baseline?.GetValueOrDefault(run.Seed) is { Status: RunStatus.Finished } other && measure.Of(run) is { } mine && measure.Of(other) is { } theirs)
                differences.Add(mine - theirs);
        }

        return Interval.Of(differences);
    }

    /// <summary>Mean over seeds of a curve, at each of its coordinates.</summary>
    public IReadOnlyList<(double X, Interval Mean)> Curve(Func<StudiedRun, IEnumerable<(double X, double Y)>> points) =>
    [
        .. Finished.SelectMany(points).Where(p => double.IsFinite(p.Y)).GroupBy(p => p.X).OrderBy(g => g.Key)
            .Select(g => (g.Key, Interval.Of([.. g.Select(p => p.Y)]))),
    ];
}

/// <summary>The results of a study so far.</summary>
/// <param name="outline">What it compares.</param>
/// <param name="runs">The runs that have ended, in any order.</param>
internal sealed class StudyResults(StudyOutline outline, IReadOnlyCollection<StudiedRun> runs)
{
    /// <summary>What the study compares.</summary>
    public StudyOutline Outline => outline;

    /// <summary>The runs that have ended, by rule, value and seed in the order of the outline.</summary>
    public IReadOnlyList<StudiedRun> Runs { get; } =
    [
        .. runs.OrderBy(run => outline.Labels.IndexOf(run.Label)).ThenBy(run => run.Value is { } value ? outline.Values.IndexOf(value) : -1)
            .ThenBy(run => outline.Seeds.IndexOf(run.Seed)),
    ];

    /// <summary>The runs in groups of one rule and one value.</summary>
    public IReadOnlyList<StudyGroup> Groups => field ??= [.. Runs.GroupBy(run => (run.Label, run.Value)).Select(g => GroupOf(g.Key.Label, g.Key.Value, [.. g]))];

    /// <summary>The group of a rule at a value; null if none of its runs has ended.</summary>
    public StudyGroup? Find(string label, string? value) => Groups.FirstOrDefault(g => g.Label == label && (g.Value == value || g.Value is null));

    /// <summary>
    /// The values around the best one of a rule whose mean accuracy is less than a point below the best. Only for numbers.
    /// </summary>
    /// <returns>The lowest and the highest of them in a row, and the best; null if there are fewer than two values with results, or values that are no numbers.</returns>
    public (double Low, double High, double Best)? PeakOf(string label)
    {
        (double Value, double Mean)[] means =
        [
            .. Groups.Where(g => g.Label == label && g.Value is not null && StudyOutline.NumberOf(g.Value) is not null)
                .Select(g => (Value: StudyOutline.NumberOf(g.Value!)!.Value, g.Of(StudyMeasure.TestTop1).Mean)).Where(p => double.IsFinite(p.Mean)).OrderBy(p => p.Value),
        ];
        if (means.Length < 2) return null;
        int best = Enumerable.Range(0, means.Length).MaxBy(i => means[i].Mean), low = best, high = best;
        bool IsNear(int i) => means[best].Mean - means[i].Mean <= 0.01;
        while (low > 0 && IsNear(low - 1)) low--;
        while (high < means.Length - 1 && IsNear(high + 1)) high++;
        return (means[low].Value, means[high].Value, means[best].Value);
    }

    private StudyGroup GroupOf(string label, string? value, IReadOnlyList<StudiedRun> own)
    {
        if (outline.Baseline is not { } baseline || label == baseline) return new StudyGroup(label, value, own, null);
        // A baseline that the swept option has no effect on is the same at each value.
        return new StudyGroup(label, value, own, Runs.Where(run => run.Label == baseline && (run.Value == value || run.Value is null)).ToDictionary(run => run.Seed));
    }
}

/// <summary>What lists of the outline lack.</summary>
file static class Lists
{
    public static int IndexOf<T>(this IReadOnlyList<T> list, T item)
    {
        for (int i = 0; i < list.Count; i++)
        {
            if (EqualityComparer<T>.Default.Equals(list[i], item)) return i;
        }

        return list.Count;
    }
}
