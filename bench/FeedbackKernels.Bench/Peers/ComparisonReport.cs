using System.Globalization;
using System.Text;

namespace FeedbackKernels.Bench.Peers;

/// <summary>The result of a comparison as text: tables in Markdown, and CSV.</summary>
internal static class ComparisonReport
{
    /// <summary>The names of the passes in the output of the programs, in the order of a training step.</summary>
    public static readonly string[] Passes = ["fwd", "bwd_data", "bwd_weights"];

    /// <summary>Tables, geometric means, the smallest ratio, the ceilings of the machine, and failed runs.</summary>
    public static string Markdown(Comparison comparison, string title, IReadOnlyList<string> failures)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"# {title}\n\n");
        if (comparison.Ceiling("peak") is { } peak && comparison.Ceiling("bandwidth") is { } bandwidth)
            text.Append(CultureInfo.InvariantCulture, $"FMA peak {peak:F0} GFLOP/s, memory {bandwidth:F1} GB/s, all threads.\n\n");
        IReadOnlyList<Contest> layers = comparison.Layers();
        Table(text, "layer", "pass", "GFLOP/s", layers, "F0");
        Means(text, layers);
        Table(text, "training step", "", "images/s", comparison.Steps(), "F1");
        Table(text, "memory of a training step", "", "MiB", comparison.Memory(), "F0");
        if (failures.Count > 0) text.Append("Runs that failed:\n\n").AppendJoin("", failures.Select(f => $"- {f}\n"));
        return text.ToString();
    }

    /// <summary>One line for each comparison: kind, subject, detail, ours, peer, theirs, ratio.</summary>
    public static string Csv(Comparison comparison)
    {
        var text = new StringBuilder("kind,subject,detail,ours,peer,theirs,ratio\n");
        foreach ((string kind, IReadOnlyList<Contest> contests) in
            ((string, IReadOnlyList<Contest>)[])[("conv", comparison.Layers()), ("model", comparison.Steps()), ("memory", comparison.Memory())])
        {
            foreach (Contest c in contests)
                text.Append(CultureInfo.InvariantCulture, $"{kind},{c.Subject},{c.Detail},{c.Ours:F2},{c.Peer},{c.Theirs:F2},{c.Ratio:F3}\n");
        }

        return text.ToString();
    }

    private static void Table(StringBuilder text, string subject, string detail, string unit, IReadOnlyList<Contest> contests, string format)
    {
        if (contests.Count == 0) return;
        text.Append(CultureInfo.InvariantCulture, $"| {subject} | {detail} | ours, {unit} | best peer, {unit} | which | ratio |\n|---|---|---|---|---|---|\n");
        foreach (Contest c in contests)
        {
            string ours = c.Ours.ToString(format, CultureInfo.InvariantCulture);
            text.Append(c.Peer is null
                ? $"| {c.Subject} | {c.Detail} | {ours} | - | - | - |\n"
                : string.Create(
                    CultureInfo.InvariantCulture,
                    $"| {c.Subject} | {c.Detail} | {ours} | {c.Theirs.ToString(format, CultureInfo.InvariantCulture)} | {c.Peer} | {c.Ratio:F2} |\n"));
        }

        text.Append('\n');
    }

    private static void Means(StringBuilder text, IReadOnlyList<Contest> layers)
    {
        Contest[] contested = [.. layers.Where(c => c.Peer is not null)];
        if (contested.Length == 0) return;
        text.Append("| pass | geometric mean of the ratios | smallest ratio | where |\n|---|---|---|---|\n");
        foreach (string pass in Passes)
        {
            Contest[] ofPass = [.. contested.Where(c => c.Detail == pass)];
            if (ofPass.Length > 0) Mean(text, pass, ofPass);
        }

        Mean(text, "all", contested);
        text.Append('\n');
    }

    private static void Mean(StringBuilder text, string name, Contest[] contests)
    {
        Contest smallest = contests.MinBy(c => c.Ratio)!;
        text.Append(
            CultureInfo.InvariantCulture,
            $"| {name} | {Comparison.GeometricMean(contests.Select(c => c.Ratio)):F2} | {smallest.Ratio:F2} | {smallest.Subject} {smallest.Detail} |\n");
    }
}
