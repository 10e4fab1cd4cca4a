namespace FeedbackKernels.Interop;

/// <summary>The three convolutions of a layer.</summary>
public enum ConvPass
{
    /// <summary>y from x and W.</summary>
    Forward,

    /// <summary>dx from dy and B.</summary>
    Feedback,

    /// <summary>dW from x and dy.</summary>
    WeightGradient,
}

/// <summary>Which kernel serves a convolution, and why.</summary>
/// <param name="Algorithm">Name of the kernel: algorithm, tile, instruction set.</param>
/// <param name="Reason">Why this one, in a few words.</param>
public readonly record struct ConvExplanation(string Algorithm, string Reason);
