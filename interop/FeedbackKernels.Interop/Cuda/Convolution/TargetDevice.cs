namespace FeedbackKernels.Interop;

/// <summary>
/// The device that plans are made for: an H100. The device that runs is never asked, because a plan decides the order of sums, and
/// that order has to be the same on every card.
/// </summary>
internal static class TargetDevice
{
    /// <summary>Multiprocessors of an H100 SXM.</summary>
    public const int Multiprocessors = 132;

    /// <summary>Blocks that a launch should have at least, 264: two for each multiprocessor, so that one can wait for memory while the
    /// other multiplies.</summary>
    public const long Blocks = 2 * Multiprocessors;
}
