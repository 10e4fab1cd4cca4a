using System.Globalization;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Training;

/// <summary>Progress of a run after a step.</summary>
/// <param name="Epoch">From 1.</param>
/// <param name="Step">Steps done in the epoch.</param>
/// <param name="StepsInEpoch">Steps of an epoch.</param>
/// <param name="Loss">Mean loss of the epoch so far.</param>
/// <param name="Top1">Fraction of its images classified correctly.</param>
/// <param name="ImagesPerSecond">Training speed in this epoch.</param>
/// <param name="BatchLoss">Mean loss of the step's own images.</param>
public readonly record struct StepReport(int Epoch, int Step, int StepsInEpoch, double Loss, double Top1, double ImagesPerSecond, double BatchLoss);

/// <summary>Result of an epoch, as in metrics.csv.</summary>
/// <param name="Epoch">From 1.</param>
/// <param name="Step">Steps done in the run.</param>
/// <param name="LearningRate">Rate of the epoch's last step.</param>
/// <param name="TrainLoss">Mean loss over the epoch's batches, with label smoothing.</param>
/// <param name="TrainTop1">Fraction of the epoch's images classified correctly during training.</param>
/// <param name="TestLoss">Mean loss of the test images, without smoothing.</param>
/// <param name="TestTop1">Fraction of the test images whose class had the largest logit.</param>
/// <param name="TestTop5">Fraction of the test images whose class was among the five largest logits.</param>
/// <param name="ImagesPerSecond">Training speed of whole steps, with loading, without evaluation.</param>
/// <param name="Seconds">Time since the start of the run, interruptions excepted.</param>
/// <param name="WaitingRead">Fraction of the time of the epoch's steps in which training waited while images were read.</param>
/// <param name="WaitingDecode">The same while they were decoded.</param>
/// <param name="WaitingResize">The same while they were resized.</param>
/// <param name="WaitingUpload">The same for copying batches to the device.</param>
/// <param name="CheckpointSeconds">Time for which steps have waited for checkpoints since the report of the epoch before.</param>
public sealed record EpochReport(
    int Epoch, int Step, double LearningRate, double TrainLoss, double TrainTop1, double TestLoss, double TestTop1, double TestTop5,
    double ImagesPerSecond, double Seconds, double WaitingRead = 0, double WaitingDecode = 0, double WaitingResize = 0, double WaitingUpload = 0,
    double CheckpointSeconds = 0);

/// <summary>How well one layer's feedback agrees with its weights, as in alignment.csv. Angles are in degrees; NaN where
/// there is nothing to compare.</summary>
/// <param name="Epoch">Epochs done, with a fraction within an epoch.</param>
/// <param name="Step">Steps done.</param>
/// <param name="Layer">The layer.</param>
/// <param name="Rule">Its rule; empty for the first layer, which needs none.</param>
/// <param name="WeightAngle">Angle between W and Bᵀ: the matrix angle of Akrout et al. 2019.</param>
/// <param name="NormRatio">Norm of B over norm of W.</param>
/// <param name="DeltaAngle">Angle between the error signal that the layer learns from and the one that backprop would
/// give: the delta angle of Akrout et al. 2019, which Lillicrap et al. 2016 measure too.</param>
public sealed record LayerAlignment(
    double Epoch, int Step, string Layer, string Rule, double WeightAngle, double NormRatio, double DeltaAngle);

/// <summary>Loss and accuracy over a set of images.</summary>
/// <param name="Loss">Mean loss.</param>
/// <param name="Top1">Fraction of the images whose class had the largest logit.</param>
/// <param name="Top5">Fraction of the images whose class was among the five largest logits.</param>
/// <param name="Images">Number of images.</param>
public readonly record struct Evaluation(double Loss, double Top1, double Top5, int Images);

/// <summary>The measurements of a run.</summary>
/// <param name="Epochs">Results of the finished epochs.</param>
/// <param name="Alignment">All measurements of the alignment.</param>
/// <param name="ImagesPerSecond">Median over the epochs.</param>
/// <param name="Seconds">Duration, with evaluation.</param>
/// <param name="Cancelled">Whether the run was stopped before its end.</param>
public sealed record TrainingResult(
    IReadOnlyList<EpochReport> Epochs, IReadOnlyList<LayerAlignment> Alignment, double ImagesPerSecond, double Seconds, bool Cancelled)
{
    /// <summary>The measurements of a run, with the median of the speeds of its epochs; 0 if there is none.</summary>
    /// <param name="epochs">Results of the finished epochs.</param>
    /// <param name="alignment">All measurements of the alignment.</param>
    /// <param name="seconds">Duration, with evaluation.</param>
    /// <param name="cancelled">Whether the run was stopped.</param>
    public static TrainingResult Of(IReadOnlyList<EpochReport> epochs, IReadOnlyList<LayerAlignment> alignment, double seconds, bool cancelled)
    {
        double speed = epochs.Count == 0 ? 0 : epochs.Select(e => e.ImagesPerSecond).Order().ElementAt(epochs.Count / 2);
        return new TrainingResult(epochs, alignment, speed, seconds, cancelled);
    }
}

/// <summary>Follows a run. An observer implements what it is interested in.</summary>
public interface ITrainingObserver
{
    /// <summary>Called after each step; if the backend launches a step as a whole, after the next one has been queued.</summary>
    /// <param name="report">Its results.</param>
    void OnStep(in StepReport report)
    {
    }

    /// <summary>Called after each epoch, while all weights are finite.</summary>
    /// <param name="report">Its results.</param>
    void OnEpoch(EpochReport report)
    {
    }

    /// <summary>Called when there is something that the user should know, once for each kind of note.</summary>
    /// <param name="note">One sentence, or several, without a line break.</param>
    void OnNote(string note)
    {
    }

    /// <summary>Called after each measurement of the alignment.</summary>
    /// <param name="layers">One entry for each layer.</param>
    void OnAlignment(IReadOnlyList<LayerAlignment> layers)
    {
    }

    /// <summary>Called between two steps for what went wrong and does not stop the run.</summary>
    /// <param name="text">A sentence, without a full stop.</param>
    void OnWarning(string text)
    {
    }

    /// <summary>Called for each layer during a measurement of the alignment, before <see cref="OnAlignment"/>.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="error">The error that it learns from, dy, NPQK; valid during the call.</param>
    /// <param name="length">Its number of elements.</param>
    void OnLayerError(ConvLayer layer, BufferView error, long length)
    {
    }
}

/// <summary>Several observers as one. They are called in order and do not know of each other.</summary>
/// <param name="observers">The observers, in the order in which they are called.</param>
public sealed class ObserverList(params IReadOnlyList<ITrainingObserver> observers) : ITrainingObserver
{
    /// <inheritdoc/>
    public void OnStep(in StepReport report)
    {
        // By index: an enumerator over the interface would allocate in every step.
        for (int i = 0; i < observers.Count; i++) observers[i].OnStep(report);
    }

    /// <inheritdoc/>
    public void OnEpoch(EpochReport report)
    {
        foreach (ITrainingObserver observer in observers) observer.OnEpoch(report);
    }

    /// <inheritdoc/>
    public void OnNote(string note)
    {
        foreach (ITrainingObserver observer in observers) observer.OnNote(note);
    }

    /// <inheritdoc/>
    public void OnAlignment(IReadOnlyList<LayerAlignment> layers)
    {
        foreach (ITrainingObserver observer in observers) observer.OnAlignment(layers);
    }

    /// <inheritdoc/>
    public void OnWarning(string text)
    {
        foreach (ITrainingObserver observer in observers) observer.OnWarning(text);
    }

    /// <inheritdoc/>
    public void OnLayerError(ConvLayer layer, BufferView error, long length)
    {
        foreach (ITrainingObserver observer in observers) observer.OnLayerError(layer, error, length);
    }
}

/// <summary>Training diverged: the loss, or a weight, became NaN or infinite.</summary>
public sealed class NonFiniteLossException : Exception
{
    /// <summary>Describes where training diverged.</summary>
    /// <param name="epoch">The epoch, from 1.</param>
    /// <param name="step">The step, from 0.</param>
    /// <param name="loss">The loss.</param>
    /// <param name="place">Where the first value that is not finite was found.</param>
    public NonFiniteLossException(int epoch, int step, double loss, string place)
        : base($"diverged in epoch {epoch}, step {step}: the loss was {loss.ToString(CultureInfo.InvariantCulture)}; first values that are not finite: {place}. A lower learning rate usually helps") =>
        (Epoch, Step, Loss, Place) = (epoch, step, loss, place);

    /// <summary>From 1.</summary>
    public int Epoch { get; }

    /// <summary>Step of the run, from 0.</summary>
    public int Step { get; }

    /// <summary>Loss of that step.</summary>
    public double Loss { get; }

    /// <summary>The first layer, in forward order, with a value that is not finite, and which of its tensors.</summary>
    public string Place { get; }

    /// <summary>The measurements of the epochs before; null until the trainer has thrown.</summary>
    public TrainingResult? Result { get; internal set; }
}
