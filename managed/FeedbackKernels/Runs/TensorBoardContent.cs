namespace FeedbackKernels.Runs;

/// <summary>What a run writes for TensorBoard.</summary>
public enum TensorBoardContent
{
    /// <summary>Nothing.</summary>
    Off,

    /// <summary>Losses, accuracies, the learning rate, the speed, and the alignment of each layer.</summary>
    Scalars,

    /// <summary>The scalars, and histograms of W, B and the error of each layer.</summary>
    Histograms,
}
