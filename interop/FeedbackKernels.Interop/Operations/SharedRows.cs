namespace FeedbackKernels.Interop;

/// <summary>The rows of a batch norm's batch that several processes hold together, in the shares of <see cref="Communicator.ShareOf"/>.</summary>
/// <param name="Images">Images of all processes, at least one for each.</param>
/// <param name="Parts">Number of processes.</param>
/// <param name="RowsPerImage">P*Q.</param>
public readonly record struct SharedRows(int Images, int Parts, int RowsPerImage)
{
    /// <summary>Rows of all processes.</summary>
    public long All => (long)Images * RowsPerImage;

    /// <summary>Rows of one process.</summary>
    /// <param name="part">Its number, from 0.</param>
    public long RowsOf(int part) => (long)Communicator.ShareOf(Images, part, Parts).Count * RowsPerImage;

    /// <summary>Checks the sizes.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive, or there are more processes than images.</exception>
    public void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(Parts);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(RowsPerImage);
        ArgumentOutOfRangeException.ThrowIfLessThan(Images, Parts);
    }
}
