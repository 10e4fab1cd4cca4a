namespace FeedbackKernels.Interop;

/// <summary>
/// The GPU that plans are made for, an H100. The device at hand is never asked for its size: a plan decides how a reduction is split and
/// with it the order of its sums, so it depends on the shape alone, and every card computes the same bits.
/// </summary>
internal static class NominalDevice
{
    /// <summary>Multiprocessors of an H100.</summary>
    public const int Multiprocessors = 132;

    /// <summary>Blocks that keep it busy, 264: two for each multiprocessor, so that one can wait for memory while the other
    /// multiplies.</summary>
    public const long ManyBlocks = 2 * Multiprocessors;
}
