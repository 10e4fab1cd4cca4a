namespace FeedbackKernels.Data;

/// <summary>Mean and standard deviation of each channel, of pixels from 0 to 1.</summary>
/// <param name="Means">One for each channel.</param>
/// <param name="Deviations">One for each channel, above 0.</param>
public sealed record PixelStatistics(IReadOnlyList<double> Means, IReadOnlyList<double> Deviations);
