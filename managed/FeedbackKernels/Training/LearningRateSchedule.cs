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
/// <param name="Milestones">Fractions of the run at which multi-step falls.</param>
/// <param name="Gamma">Factor at a milestone.</param>
public sealed record LearningRateSchedule(
    ScheduleKind Kind, float Peak, double WarmUpEpochs = 0, IReadOnlyList<double>? Milestones = null, float Gamma = 0.1f)
{
    private const double RisingShare = 0.3, StartDivisor = 25;

    /// <summary>Fractions of the run at which multi-step falls where none are given.</summary>
    public static IReadOnlyList<double> DefaultMilestones { get; } = [0.5, 0.75];

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
            ScheduleKind.MultiStep => Peak * Math.Pow(Gamma, (Milestones ?? DefaultMilestones).Count(m => step >= m * total)),
            _ => Peak,
        });
    }

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
