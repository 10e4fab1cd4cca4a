namespace FeedbackKernels.Interop;

/// <summary>The number of items of a job, which threads count in 32 bits.</summary>
internal static class WorkItems
{
    /// <exception cref="NotSupportedException">There are more than 2^31 - 1.</exception>
    public static int Checked(long items) => items <= int.MaxValue
        ? (int)items
        : throw new NotSupportedException($"the CPU kernels cut this operation into {items} items and count to {int.MaxValue}");
}
