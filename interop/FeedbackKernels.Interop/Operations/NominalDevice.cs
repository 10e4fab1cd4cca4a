namespace FeedbackKernels.Interop;

/// <summary>
/// The GPU that convolutions are cut for, an H100. The device at hand is never asked for its size: a weight gradient that is split
/// over blocks adds their sums in an order that follows from the split, so the split depends on the shape alone and every card
/// computes the same bits.
/// </summary>
internal static class NominalDevice
{
    /// <summary>Multiprocessors of an H100.</summary>
    public const int Multiprocessors = 132;

    /// <summary>Blocks that keep it busy: two for each multiprocessor, 264.</summary>
    public const long ManyBlocks = 2 * Multiprocessors;
}
