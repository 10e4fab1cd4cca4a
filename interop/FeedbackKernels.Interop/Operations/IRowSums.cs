namespace FeedbackKernels.Interop;

/// <summary>Rows of a batch norm's batch that other processes hold.</summary>
public interface IRowSums
{
    /// <summary>Rows in all processes together.</summary>
    long Rows { get; }

    /// <summary>Replaces sums over the rows of this process by those over the rows of all.</summary>
    /// <param name="sums">The sums; the calls in all processes have as many.</param>
    void Add(Span<double> sums);
}
