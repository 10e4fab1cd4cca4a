using System.Globalization;

namespace FeedbackKernels.Bench.Peers;

/// <summary>A line of the output of one of the programs.</summary>
/// <param name="Source">The program, with its version if it prints one.</param>
/// <param name="Mode">Algorithm, layout or rule.</param>
internal abstract record Figure(string Source, string Mode)
{
    /// <summary>The name of our program in its output.</summary>
    public const string OurSource = "feedback-kernels";

    /// <summary>Whether the line is from our program.</summary>
    public bool IsOurs => Source == OurSource;

    /// <summary>Parses a line; null for an empty line or a comment (<c>#</c>).</summary>
    /// <exception cref="InvalidDataException">The line has none of the formats that the programs print.</exception>
    public static Figure? Parse(string line)
    {
        ArgumentNullException.ThrowIfNull(line);
        if (line.Length == 0 || line[0] == '#') return null;
        string[] f = line.Split(',');
        try
        {
            return f switch
            {
                ["conv", var source, var mode, var shape, var pass, var median, var best, ..] =>
                    new ConvFigure(source, mode, shape, pass, Number(median), Number(best)),
                ["model", var source, var mode, var model, var batch, var median, var best] =>
                    new StepFigure(source, mode, model, Whole(batch), Number(median), Number(best)),
                ["memory", var source, var mode, var model, var batch, var mib] =>
                    new MemoryFigure(source, mode, model, Whole(batch), Number(mib)),
                ["peak" or "bandwidth", var kind, var threads, var median, var best] =>
                    new CeilingFigure(f[0], kind, Whole(threads), Number(median), Number(best)),
                _ => throw new FormatException($"{f.Length} fields that begin with '{f[0]}'"),
            };
        }
        catch (Exception e) when (e is FormatException or OverflowException)
        {
            throw new InvalidDataException(
                $"line '{line}': {e.Message}; wanted conv, model, memory, peak or bandwidth with its fields, as bench/README.md lists them", e);
        }
    }

    private static double Number(string text)
    {
        double value = double.Parse(text, NumberStyles.Float, CultureInfo.InvariantCulture);
        return value > 0 && double.IsFinite(value) ? value : throw new FormatException($"'{text}' is not a positive number");
    }

    private static int Whole(string text) => int.Parse(text, NumberStyles.None, CultureInfo.InvariantCulture);
}

/// <summary>GFLOP/s of one pass of one convolution.</summary>
internal sealed record ConvFigure(string Source, string Mode, string Shape, string Pass, double Median, double Best) : Figure(Source, Mode);

/// <summary>Images per second of training steps.</summary>
internal sealed record StepFigure(string Source, string Mode, string Model, int Batch, double Median, double Best) : Figure(Source, Mode);

/// <summary>Peak resident set of a process that ran training steps.</summary>
internal sealed record MemoryFigure(string Source, string Mode, string Model, int Batch, double Mebibytes) : Figure(Source, Mode);

/// <summary>A ceiling of the machine: GFLOP/s (<c>peak</c>) or GB/s (<c>bandwidth</c>).</summary>
internal sealed record CeilingFigure(string What, string Kind, int Threads, double Median, double Best) : Figure("machine", Kind);
