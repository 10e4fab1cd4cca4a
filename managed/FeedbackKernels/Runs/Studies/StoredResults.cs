using System.Globalization;
using System.Text.Json;
using FeedbackKernels.Reports;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>Reads the results of a run from the files in its folder.</summary>
internal static class StoredResults
{
    /// <summary>The results of a run of a study; null if nothing of it is in the folder.</summary>
    /// <param name="cell">The run.</param>
    /// <param name="folder">Its folder.</param>
    /// <param name="attacks">The attacks whose results are wanted.</param>
    /// <param name="failure">What ended it, if an error did.</param>
    /// <exception cref="InvalidDataException">A file is damaged; the message names it.</exception>
    public static StudiedRun? Read(StudyCell cell, string folder, IReadOnlyList<Attack> attacks, string? failure = null)
    {
        if (!StoppedRun.IsIn(folder)) return failure is null ? null : cell.Told(RunStatus.Failed, failure, null, [], []);
        RunSummary? summary = ReadSummary(Path.Combine(folder, RunFiles.Summary));
        RunStatus status = failure is not null ? RunStatus.Failed
            : summary is { Diverged: not null } ? RunStatus.Diverged
            : summary is { Cancelled: false } && summary.Epochs >= cell.Config.Training.Epochs ? RunStatus.Finished
            : RunStatus.Stopped;
        return cell.Told(status, failure ?? (summary?.Diverged is { } place ? $"at {place}" : null), summary, ReadEpochs(folder), ReadAngles(folder)) with
        {
            Attacked = attacks.Count == 0 ? new Dictionary<AttackKind, double>() : StoredAttack.ReadAll(folder, summary?.Epochs ?? 0).Where(entry => attacks.Contains(entry.Attack)).ToDictionary(entry => entry.Attack.Kind, entry => entry.Top1),
        };
    }

    private static RunSummary? ReadSummary(string path)
    {
        if (!File.Exists(path)) return null;
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllText(path), RunJson.Default.RunSummary);
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"{path}: not the summary of a run: {e.Message}", e);
        }
    }

    private static StudiedEpoch[] ReadEpochs(string folder) =>
        [.. ReadTable(Path.Combine(folder, RunFiles.Metrics), "epoch", "trainLoss", "testTop1").Select(row => new StudiedEpoch(row[0], row[1], row[2]))];

    private static StudiedAngles[] ReadAngles(string folder) =>
    [
        .. ReadTable(Path.Combine(folder, RunFiles.Alignment), "epoch", "step", "weightAngle", "deltaAngle", "normRatio").GroupBy(row => row[1])
            .Select(layers => new StudiedAngles(layers.First()[0], layers.Key, Largest(layers.Select(row => row[2])), Largest(layers.Select(row => row[3])), Mean(layers.Select(row => row[4])))),
    ];

    /// <summary>Some columns of a table of numbers; NaN for an empty cell.</summary>
    private static IEnumerable<double[]> ReadTable(string path, params string[] columns)
    {
        if (!File.Exists(path)) return [];
        string[] lines = File.ReadAllLines(path);
        if (lines.Length == 0) throw new InvalidDataException($"{path}: empty, wanted a header");
        string[] header = lines[0].Split(',');
        int[] places = [.. columns.Select(name => Array.IndexOf(header, name) is >= 0 and var place ? place : throw new InvalidDataException($"{path}: no column '{name}' among {lines[0]}"))];
        return lines.Skip(1).Select((line, i) => (Cells: line.Split(','), Number: i + 2)).Select(row => row.Cells.Length == header.Length
            ? places.Select(place => Parse(row.Cells[place], path, row.Number)).ToArray()
            : throw new InvalidDataException($"{path}, line {row.Number}: {row.Cells.Length} columns, wanted {header.Length}"));
    }

    private static double Parse(string cell, string path, int line)
    {
        if (cell.Length == 0) return double.NaN;
        return double.TryParse(cell, NumberStyles.Float, CultureInfo.InvariantCulture, out double number)
            ? number
            : throw new InvalidDataException($"{path}, line {line}: '{cell}', wanted a number");
    }

    private static double Largest(IEnumerable<double> values) => values.Where(double.IsFinite).DefaultIfEmpty(double.NaN).Max();

    private static double Mean(IEnumerable<double> values) => values.Where(double.IsFinite).DefaultIfEmpty(double.NaN).Average();
}
