using System.Globalization;

namespace FeedbackKernels.Training;

/// <summary>Where a run stands, after a step.</summary>
/// <param name="Epoch">From 1.</param>
/// <param name="Step">Steps done in the epoch.</param>
/// <param name="StepsInEpoch">Steps of an epoch.</param>
/// <param name="Loss">Mean loss of the epoch so far.</param>
/// <param name="Top1">Share of its images classified right, 0 to 1.</param>
/// <param name="ImagesPerSecond">Training speed in this epoch.</param>
public readonly record struct StepReport(int Epoch, int Step, int StepsInEpoch, double Loss, double Top1, double ImagesPerSecond);

/// <summary>Result of an epoch, as in metrics.csv.</summary>
/// <param name="Epoch">From 1.</param>
/// <param name="Step">Steps done in the run.</param>
/// <param name="LearningRate">Rate of the epoch's last step.</param>
/// <param name="TrainLoss">Mean loss over the epoch's batches, label smoothing included.</param>
/// <param name="TrainTop1">Share of the epoch's images classified right while training.</param>
/// <param name="TestLoss">Mean loss of the test images, without smoothing.</param>
/// <param name="TestTop1">Share of test images whose class had the largest logit.</param>
/// <param name="TestTop5">Share of test images whose class was among the five largest.</param>
/// <param name="ImagesPerSecond">Training speed: whole steps, data included, evaluation excluded.</param>
/// <param name="Seconds">Since the start of the run.</param>
public sealed record EpochReport(
    int Epoch, int Step, double LearningRate, double TrainLoss, double TrainTop1, double TestLoss, double TestTop1, double TestTop5,
    double ImagesPerSecond, double Seconds);

/// <summary>How well one layer's feedback agrees with its weights, as in alignment.csv. Angles are in degrees; NaN where
/// there is nothing to compare.</summary>
/// <param name="Epoch">Epochs done.</param>
/// <param name="Step">Steps done.</param>
/// <param name="Layer">The layer.</param>
/// <param name="Rule">Its rule; empty for the first layer, which needs none.</param>
/// <param name="WeightAngle">Angle between W and Bᵀ.</param>
/// <param name="NormRatio">Norm of B over norm of W.</param>
/// <param name="DeltaAngle">Angle between the error signal that the layer learns from and the one that backprop would
/// give.</param>
public sealed record LayerAlignment(
    int Epoch, int Step, string Layer, string Rule, double WeightAngle, double NormRatio, double DeltaAngle);

/// <summary>Loss and accuracy over a set of images.</summary>
/// <param name="Loss">Mean loss.</param>
/// <param name="Top1">Share whose class had the largest logit.</param>
/// <param name="Top5">Share whose class was among the five largest.</param>
/// <param name="Images">Number of images.</param>
public readonly record struct Evaluation(double Loss, double Top1, double Top5, int Images);

/// <summary>What a run came to.</summary>
/// <param name="Epochs">Results of the epochs that ended.</param>
/// <param name="Alignment">All measurements of the alignment.</param>
/// <param name="ImagesPerSecond">Median over the epochs.</param>
/// <param name="Seconds">Duration, evaluation included.</param>
/// <param name="Cancelled">Whether the run was stopped before its end.</param>
public sealed record TrainingResult(
    IReadOnlyList<EpochReport> Epochs, IReadOnlyList<LayerAlignment> Alignment, double ImagesPerSecond, double Seconds, bool Cancelled);

/// <summary>Is told how a run goes on.</summary>
public interface ITrainingObserver
{
    /// <summary>After each step; where a step is launched as a whole, when the next one has been queued.</summary>
    void OnStep(in StepReport report);

    /// <summary>After each epoch.</summary>
    void OnEpoch(EpochReport report);

    /// <summary>After each measurement of the alignment: one for each layer.</summary>
    void OnAlignment(IReadOnlyList<LayerAlignment> layers);
}

/// <summary>Training diverged: the loss, or a weight, became NaN or infinite.</summary>
public sealed class NonFiniteLossException : Exception
{
    /// <summary>Says where.</summary>
    public NonFiniteLossException(int epoch, int step, double loss, string place)
        : base($"diverged in epoch {epoch}, step {step}: the loss was {loss.ToString(CultureInfo.InvariantCulture)}; first values that are not finite: {place}. A lower learning rate usually helps") =>
        (Epoch, Step, Loss, Place) = (epoch, step, loss, place);

    /// <summary>From 1.</summary>
    public int Epoch { get; }

    /// <summary>Step of the run, from 0.</summary>
    public int Step { get; }

    /// <summary>Loss of that step.</summary>
    public double Loss { get; }

    /// <summary>The first layer, in forward order, that holds a value which is not finite, and what of it.</summary>
    public string Place { get; }

    /// <summary>What the epochs before came to; null until the trainer has thrown.</summary>
    public TrainingResult? Result { get; internal set; }
}
