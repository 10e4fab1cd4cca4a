using System.Globalization;
using FeedbackKernels.Models;
using FeedbackKernels.Training;

namespace FeedbackKernels.Reports;

/// <summary>The results of a run: the content of summary.json. Accuracies are fractions, 0 to 1.</summary>
/// <param name="Model">Name of the model.</param>
/// <param name="Rule">Name of the rule.</param>
/// <param name="Data">The data.</param>
/// <param name="Epochs">Epochs that ended.</param>
/// <param name="Seed">Seed.</param>
/// <param name="Backend">Backend and what it ran on.</param>
/// <param name="TestTop1">Top-1 accuracy after the last epoch.</param>
/// <param name="TestTop5">Top-5 accuracy after the last epoch.</param>
/// <param name="BestTestTop1">Best top-1 accuracy of all epochs.</param>
/// <param name="FinalLoss">Training loss of the last epoch.</param>
/// <param name="TestLoss">Test loss after the last epoch.</param>
/// <param name="WeightAngle">Mean over layers of the angle between W and Bᵀ at the end, degrees; null if no layer has a B.</param>
/// <param name="DeltaAngle">Mean over layers of the angle between the error signals at the end, degrees.</param>
/// <param name="Parameters">Parameters of the model, B excepted.</param>
/// <param name="ImagesPerSecond">Training speed, median over epochs.</param>
/// <param name="Seconds">Duration, evaluation included.</param>
/// <param name="Cancelled">Whether the run was stopped before its end.</param>
/// <param name="Diverged">Where a loss or a weight became NaN or infinite; null if none did. The other values, and the model, are
/// those of the last epoch before that.</param>
/// <param name="LargestWeightAngle">Largest angle between W and Bᵀ of any layer in any measurement after the first step, degrees: while the
/// learning rate is high, B is further behind W than at the end.</param>
/// <param name="LargestDeltaAngle">The same of the angle between the error signals.</param>
/// <param name="NotFinite">Values that are null because JSON has no NaN and no infinity: what they are.</param>
public sealed record RunSummary(
    string Model, string Rule, string Data, int Epochs, ulong Seed, string Backend, double? TestTop1, double? TestTop5,
    double? BestTestTop1, double? FinalLoss, double? TestLoss, double? WeightAngle, double? DeltaAngle, long Parameters,
    double ImagesPerSecond, double Seconds, bool Cancelled, string? Diverged = null, double? LargestWeightAngle = null, double? LargestDeltaAngle = null, IReadOnlyDictionary<string, string>? NotFinite = null)
{
    /// <summary>Summarises a run.</summary>
    /// <param name="rule">Name of the rule.</param>
    /// <param name="data">The data.</param>
    /// <param name="seed">The seed.</param>
    /// <param name="model">The trained model.</param>
    /// <param name="result">What was measured.</param>
    /// <param name="divergence">What ended the run early, if it diverged.</param>
    public static RunSummary Of(
        string rule, string data, ulong seed, Model model, TrainingResult result, NonFiniteLossException? divergence = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(result);
        EpochReport? last = result.Epochs is [.., var final] ? final : null;
        LayerAlignment[] lastAlignment = result.Alignment.Count == 0 ? [] : [.. result.Alignment.Where(a => a.Step == result.Alignment[^1].Step)];
        var notFinite = new Dictionary<string, string>();
        return new RunSummary(
            model.Spec.Name, rule, data, result.Epochs.Count, seed,
            $"{model.Backend.Name}: {model.Backend.Description}", last?.TestTop1, last?.TestTop5,
            result.Epochs.Count == 0 ? null : result.Epochs.Max(e => e.TestTop1),
            Finite("finalLoss", last?.TrainLoss), Finite("testLoss", last?.TestLoss),
            Mean(lastAlignment.Select(a => a.WeightAngle)), Mean(lastAlignment.Select(a => a.DeltaAngle)), model.ParameterCount,
            Finite("imagesPerSecond", result.ImagesPerSecond) ?? 0, result.Seconds, result.Cancelled,
            divergence is null ? null : $"step {divergence.Step} (epoch {divergence.Epoch}): {divergence.Place}",
            Largest(result, a => a.WeightAngle), Largest(result, a => a.DeltaAngle),
            notFinite.Count == 0 ? null : notFinite);

        double? Finite(string name, double? value)
        {
            if (value is not { } found || double.IsFinite(found)) return value;
            notFinite[name] = found.ToString(CultureInfo.InvariantCulture);
            return null;
        }
    }

    private static double? Largest(TrainingResult result, Func<LayerAlignment, double> angle) =>
        result.Alignment.Where(a => a.Step > 0 && double.IsFinite(angle(a))).Max(a => (double?)angle(a));

    private static double? Mean(IEnumerable<double> values)
    {
        double[] known = [.. values.Where(double.IsFinite)];
        return known.Length == 0 ? null : known.Average();
    }
}
