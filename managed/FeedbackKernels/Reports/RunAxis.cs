namespace FeedbackKernels.Reports;

/// <summary>A value at a moment of a run.</summary>
/// <param name="Epoch">Epochs done.</param>
/// <param name="Step">Steps done.</param>
/// <param name="Seconds">Time since the start of the run.</param>
/// <param name="Value">The value.</param>
internal readonly record struct RunPoint(double Epoch, double Step, double Seconds, double Value);

/// <summary>What the charts of a run have as their horizontal axis. A page draws each chart over all of them and shows one.</summary>
/// <param name="Name">Name on the page, and of its CSS class.</param>
/// <param name="Title">Title of the axis, with its unit.</param>
/// <param name="Of">The coordinate of a point.</param>
internal sealed record RunAxis(string Name, string Title, Func<RunPoint, double> Of)
{
    /// <summary>Names of all axes; the page shows the first until another one is chosen.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. For(0).Select(axis => axis.Name)];

    /// <summary>All axes.</summary>
    /// <param name="seconds">Duration of the run, from which the unit of time follows.</param>
    public static IReadOnlyList<RunAxis> For(double seconds)
    {
        (string unit, double length) = seconds switch { > 5 * 3600 => ("hours", 3600), > 300 => ("minutes", 60), _ => ("seconds", 1.0) };
        return [new("epochs", "epoch", p => p.Epoch), new("steps", "step", p => p.Step), new("time", $"time, {unit}", p => p.Seconds / length)];
    }
}
