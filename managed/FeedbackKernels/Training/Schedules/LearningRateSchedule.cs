using System.Globalization;

namespace FeedbackKernels.Training;

/// <summary>The learning rate at each step of a run.</summary>
/// <param name="Kind">Its shape; the sources are at the properties of <see cref="ScheduleKind"/>.</param>
/// <param name="Peak">Largest rate.</param>
/// <param name="WarmUpEpochs">Epochs over which the rate rises from 0 in equal steps (Goyal et al. 2017, section 2.2, "gradual warmup");
/// one-cycle ignores it.</param>
/// <param name="Milestones">Where multi-step lowers the rate, in rising order: fractions of the run, all below 1, or epochs, all 1
/// or more; null for <see cref="DefaultMilestones"/>.</param>
/// <param name="Gamma">Factor at a milestone, positive.</param>
public sealed record LearningRateSchedule(
    ScheduleKind Kind, float Peak, double WarmUpEpochs = 0, IReadOnlyList<double>? Milestones = null, float Gamma = 0.1f)
{
    /// <summary>The milestones of multi-step if none are given, as fractions of the run (He et al. 2016, section 4.2: steps 32,000 and 48,000
    /// of 64,000).</summary>
    public static IReadOnlyList<double> DefaultMilestones { get; } = [0.5, 0.75];

    /// <summary>Checks the settings for a run of some number of epochs.</summary>
    /// <param name="epochs">Epochs of the run.</param>
    /// <exception cref="ArgumentOutOfRangeException">A setting is out of range; the message says what was wanted.</exception>
    public void Validate(int epochs)
    {
        if (!ScheduleCatalog.All.Contains(Kind)) throw OutOfRange("schedule", Kind?.Name ?? "null", $"wanted one of {ScheduleCatalog.Names}");
        if (!(Peak >= 0) || !float.IsFinite(Peak)) throw OutOfRange("learning rate", Peak, "wanted a finite number, 0 or more");
        if (!(WarmUpEpochs >= 0 && WarmUpEpochs <= epochs)) throw OutOfRange("warm-up", WarmUpEpochs, $"wanted 0 to {epochs} epochs");
        if (!(Gamma > 0) || !float.IsFinite(Gamma)) throw OutOfRange("gamma", Gamma, "wanted a positive, finite number");
        if (Milestones is not null) ValidateMilestones(Milestones, epochs);
    }

    /// <summary>The rate of a step. No argument is checked.</summary>
    /// <param name="step">The step, from 0.</param>
    /// <param name="stepsPerEpoch">Steps in an epoch.</param>
    /// <param name="epochs">Epochs in the run.</param>
    public float At(int step, int stepsPerEpoch, int epochs)
    {
        double total = (double)stepsPerEpoch * epochs, warmUp = Kind.HasWarmUp ? WarmUpEpochs * stepsPerEpoch : 0;
        // A warm-up may end within a step, which then has the peak.
        if (step < warmUp) return (float)(Peak * Math.Min(1, (step + 1) / warmUp));
        double progress = total > warmUp ? (step - warmUp) / (total - warmUp) : 1;
        return (float)Kind.Rate(this, new SchedulePosition(step, stepsPerEpoch, total, progress));
    }

    /// <summary>Why a run cannot get another number of epochs once it has done some steps: a step would have had another rate. Null if it
    /// can. Names the last such step, where the difference is the largest as a rule.</summary>
    /// <param name="steps">Steps done.</param>
    /// <param name="stepsPerEpoch">Steps in an epoch.</param>
    /// <param name="epochs">Epochs in the run so far.</param>
    /// <param name="wanted">Epochs in the run from now on.</param>
    public string? RefusalOfEpochs(int steps, int stepsPerEpoch, int epochs, int wanted)
    {
        for (int step = steps - 1; step >= 0; step--)
        {
            float was = At(step, stepsPerEpoch, epochs), would = At(step, stepsPerEpoch, wanted);
            if (was == would) continue;
            return string.Create(
                CultureInfo.InvariantCulture,
                $"the schedule {Kind} depends on the number of epochs: step {step + 1} of the {steps} steps done had learning rate {was} for {epochs} epochs, for {wanted} it would have been {would}");
        }

        return null;
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
        // A milestone beyond the end would silently have no effect. Schedules without milestones ignore them anyway.
        if (Kind.HasMilestones && milestones[^1] >= 1 && milestones[^1] >= epochs)
            throw OutOfRange(nameof(milestones), all, $"the run has {epochs} epochs, wanted epochs below that");
    }

    private static ArgumentOutOfRangeException OutOfRange(string setting, object value, string wanted) => new(setting, value, wanted);
}
