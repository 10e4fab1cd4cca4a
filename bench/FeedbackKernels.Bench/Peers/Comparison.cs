namespace FeedbackKernels.Bench.Peers;

/// <summary>Our figure and that of the best peer.</summary>
/// <param name="Subject">Layer or model.</param>
/// <param name="Detail">Pass or batch.</param>
/// <param name="Ours">Our median over the rounds.</param>
/// <param name="Peer">Name of the best peer; null if no peer has a figure.</param>
/// <param name="Theirs">Its median over the rounds.</param>
internal sealed record Contest(string Subject, string Detail, double Ours, string? Peer, double Theirs)
{
    /// <summary>Ours divided by theirs; NaN without a peer.</summary>
    public double Ratio => Peer is null ? double.NaN : Ours / Theirs;
}

/// <summary>The figures of all rounds and their evaluation: for each program the median over the rounds, then our figure next to
/// that of the best peer for the same layer or model.</summary>
internal sealed class Comparison
{
    private readonly List<(int Round, string Line, Figure Figure)> _figures = [];

    /// <summary>Every line with its round, in the order of the runs.</summary>
    public IEnumerable<(int Round, string Line)> Lines => _figures.Select(f => (f.Round, f.Line));

    /// <summary>Adds a line; returns false for a comment or an empty line, which are skipped.</summary>
    /// <exception cref="InvalidDataException">The line does not contain a figure.</exception>
    public bool Add(int round, string line)
    {
        if (Figure.Parse(line) is not { } figure) return false;
        _figures.Add((round, line, figure));
        return true;
    }

    /// <summary>GFLOP/s of each layer and pass.</summary>
    public IReadOnlyList<Contest> Layers() =>
        Contests<ConvFigure>(f => (f.Shape, f.Pass), f => f.Median, larger: true);

    /// <summary>Images per second of each model.</summary>
    public IReadOnlyList<Contest> Steps() =>
        Contests<StepFigure>(f => (f.Model, $"batch {f.Batch}"), f => f.Median, larger: true);

    /// <summary>Memory of each model in MiB; the best peer is the one that needs the least.</summary>
    public IReadOnlyList<Contest> Memory() =>
        Contests<MemoryFigure>(f => (f.Model, $"batch {f.Batch}"), f => f.Mebibytes, larger: false);

    /// <summary>The highest ceiling of a kind, at the largest number of threads it was measured with. It is the best of all calls,
    /// because it stands for what the machine can do. Null if it was not measured.</summary>
    public double? Ceiling(string what)
    {
        CeilingFigure[] figures = [.. Figures<CeilingFigure>().Where(f => f.What == what)];
        return figures.Length == 0 ? null : figures.Where(f => f.Threads == figures.Max(g => g.Threads)).Max(f => f.Best);
    }

    /// <summary>Median; the mean of the two middle values if the number of values is even.</summary>
    public static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        if (sorted.Length == 0) throw new ArgumentException("no values", nameof(values));
        int middle = sorted.Length / 2;
        return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    /// <summary>Geometric mean, the right mean for ratios: 2 and 1/2 cancel.</summary>
    public static double GeometricMean(IEnumerable<double> values) => Math.Exp(values.Average(Math.Log));

    private IEnumerable<T> Figures<T>() => _figures.Select(f => f.Figure).OfType<T>();

    private List<Contest> Contests<T>(Func<T, (string Subject, string Detail)> place, Func<T, double> value, bool larger) where T : Figure
    {
        var result = new List<Contest>();
        foreach (var group in Figures<T>().GroupBy(place))
        {
            T[] ours = [.. group.Where(f => f.IsOurs)];
            if (ours.Length == 0) continue;
            var peers = group.Where(f => !f.IsOurs).GroupBy(f => $"{f.Source} {f.Mode}")
                .Select(g => (Name: g.Key, Value: Median(g.Select(value)))).ToArray();
            (string? name, double best) = peers.Length == 0 ? (null, double.NaN)
                : larger ? peers.MaxBy(p => p.Value) : peers.MinBy(p => p.Value);
            result.Add(new Contest(group.Key.Subject, group.Key.Detail, Median(ours.Select(value)), name, best));
        }

        return result;
    }
}
