using System.Globalization;

namespace FeedbackKernels.Training;

/// <summary>How the learning rate moves over a run.</summary>
public enum ScheduleKind
{
    /// <summary>The peak rate throughout, after the warm-up.</summary>
    Constant,

    /// <summary>Half a cosine from the peak to 0 (Loshchilov and Hutter 2017).</summary>
    Cosine,

    /// <summary>Half a cosine from peak/25 up to the peak over 30 % of the run, another from there to 0 (Smith 2018).</summary>
    OneCycle,

    /// <summary>Times gamma at each milestone.</summary>
    MultiStep,
}

/// <summary>The learning rate at each step of a run.</summary>
/// <param name="Kind">Its shape.</param>
/// <param name="Peak">Largest rate.</param>
/// <param name="WarmUpEpochs">Epochs over which the rate rises from 0 in equal steps; not used by one-cycle.</param>
/// <param name="Milestones">Where multi-step lowers the rate, in rising order: shares of the run, all below 1, or epochs, all 1 or
/// more; null for <see cref="DefaultMilestones"/>.</param>
/// <param name="Gamma">Factor at a milestone, positive.</param>
public sealed record LearningRateSchedule(
    ScheduleKind Kind, float Peak, double WarmUpEpochs = 0, IReadOnlyList<double>? Milestones = null, float Gamma = 0.1f)
{
    private const double RisingShare = 0.3, StartDivisor = 25;

    /// <summary>Shares of the run at which multi-step lowers the rate where no milestones are given.</summary>
    public static IReadOnlyList<double> DefaultMilestones { get; } = [0.5, 0.75];

    /// <summary>Checks the settings for a run of so many epochs.</summary>
    /// <exception cref="ArgumentOutOfRangeException">One of them is out of range; the message says what was wanted.</exception>
    public void Validate(int epochs)
    {
        if (!Enum.IsDefined(Kind)) throw OutOfRange("schedule", Kind, $"wanted one of {string.Join(", ", Enum.GetNames<ScheduleKind>())}");
        if (!(Peak >= 0) || !float.IsFinite(Peak)) throw OutOfRange("learning rate", Peak, "wanted a finite number, 0 or more");
        if (!(WarmUpEpochs >= 0 && WarmUpEpochs <= epochs)) throw OutOfRange("warm-up", WarmUpEpochs, $"wanted 0 to {epochs} epochs");
        if (!(Gamma > 0) || !float.IsFinite(Gamma)) throw OutOfRange("gamma", Gamma, "wanted a positive, finite number");
        if (Milestones is not null) ValidateMilestones(Milestones, epochs);
    }

    /// <summary>The rate of step <paramref name="step"/>.</summary>
    /// <param name="step">From 0.</param>
    /// <param name="stepsPerEpoch">Steps in an epoch.</param>
    /// <param name="epochs">Epochs in the run.</param>
    public float At(int step, int stepsPerEpoch, int epochs)
    {
        double total = (double)stepsPerEpoch * epochs, warmUp = WarmUpEpochs * stepsPerEpoch;
        if (Kind == ScheduleKind.OneCycle) return (float)OneCycle(step / total);
        if (step < warmUp) return (float)(Peak * (step + 1) / warmUp);
        double progress = total > warmUp ? (step - warmUp) / (total - warmUp) : 1;
        return (float)(Kind switch
        {
            ScheduleKind.Cosine => Peak * HalfCosine(progress),
            ScheduleKind.MultiStep => Peak * Math.Pow(Gamma, (Milestones ?? DefaultMilestones).Count(m => step >= (m < 1 ? m * total : m * stepsPerEpoch))),
            _ => Peak,
        });
    }

    private void ValidateMilestones(IReadOnlyList<double> milestones, int epochs)
    {
        string all = string.Join(' ', milestones.Select(m => m.ToString(CultureInfo.InvariantCulture)));
        if (milestones.Count == 0) throw OutOfRange(nameof(milestones), all, "wanted one or more");
        if (milestones.Any(m => !(m > 0) || !double.IsFinite(m)))
            throw OutOfRange(nameof(milestones), all, "wanted positive, finite numbers: shares of the run below 1, or epochs");
        if (milestones.Any(m => m < 1) && milestones.Any(m => m >= 1))
            throw OutOfRange(nameof(milestones), all, "wanted either shares of the run, all below 1, or epochs, all 1 or more");
        if (milestones.Zip(milestones.Skip(1), (a, b) => a < b).Any(rises => !rises))
            throw OutOfRange(nameof(milestones), all, "wanted each one above the one before");
        // One that the run does not reach would leave the rate as it is without a word. Where other schedules are used, nobody reads them.
        if (Kind == ScheduleKind.MultiStep && milestones[^1] >= 1 && milestones[^1] >= epochs)
            throw OutOfRange(nameof(milestones), all, $"the run has {epochs} epochs, wanted epochs below that");
    }

    private static ArgumentOutOfRangeException OutOfRange(string setting, object value, string wanted) => new(setting, value, wanted);

    private double OneCycle(double progress)
    {
        double start = Peak / StartDivisor;
        return progress < RisingShare
            ? start + (Peak - start) * (1 - HalfCosine(progress / RisingShare))
            : Peak * HalfCosine((progress - RisingShare) / (1 - RisingShare));
    }

    /// <summary>1 at 0, 0 at 1.</summary>
    private static double HalfCosine(double progress) => 0.5 * (1 + Math.Cos(Math.PI * progress));
}
