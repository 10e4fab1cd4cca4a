namespace FeedbackKernels.Training;

/// <summary>Shape of a learning-rate schedule, as an entry of <see cref="ScheduleCatalog"/>.</summary>
/// <param name="name">Name on the command line and in config.json.</param>
/// <param name="help">How the rate changes, for help texts: a phrase without a full stop.</param>
public abstract class ScheduleKind(string name, string help)
{
    /// <summary>The peak rate throughout.</summary>
    public static ScheduleKind Constant { get; } = new ConstantSchedule();

    /// <summary>Half a cosine from the peak to 0 (Loshchilov and Hutter 2017, eq. 5, with a least rate of 0 and no restart).</summary>
    public static ScheduleKind Cosine { get; } = new CosineSchedule();

    /// <summary>Half a cosine from peak/25 up to the peak, over 30 % of the run, and another down to 0 (Smith and Topin 2019, with cosines for
    /// their straight lines, and momentum left alone).</summary>
    public static ScheduleKind OneCycle { get; } = new OneCycleSchedule();

    /// <summary>A factor at each milestone (He et al. 2016, section 4.2).</summary>
    public static ScheduleKind MultiStep { get; } = new MultiStepSchedule();

    /// <summary>Name on the command line and in config.json.</summary>
    public string Name => name;

    /// <summary>How the rate changes, for help texts.</summary>
    public string Help => help;

    /// <summary>Whether a linear warm-up (Goyal et al. 2017, section 2.2) can come before the schedule.</summary>
    public virtual bool HasWarmUp => true;

    /// <summary>Whether the schedule uses milestones and their factor.</summary>
    public virtual bool HasMilestones => false;

    /// <inheritdoc/>
    public override string ToString() => name;

    /// <summary>The rate after the warm-up.</summary>
    internal abstract double Rate(LearningRateSchedule schedule, in SchedulePosition position);

    /// <summary>Half a cosine: 1 at 0, 0 at 1.</summary>
    private protected static double HalfCosine(double progress) => 0.5 * (1 + Math.Cos(Math.PI * progress));
}

/// <summary>A step of a run.</summary>
/// <param name="Step">The step, from 0.</param>
/// <param name="StepsPerEpoch">Steps in an epoch.</param>
/// <param name="Total">Steps in the run.</param>
/// <param name="Progress">The part of the run after the warm-up that has passed, 0 to 1.</param>
internal readonly record struct SchedulePosition(int Step, int StepsPerEpoch, double Total, double Progress);
