namespace FeedbackKernels.Data;

/// <summary>What takes the rows of an image while they are decoded.</summary>
internal unsafe interface IRowSink
{
    /// <summary>Takes the next row.</summary>
    /// <param name="pixels">The first pixel of the region that was asked for.</param>
    /// <param name="layout">What the pixels are like.</param>
    void Add(byte* pixels, PixelLayout layout);
}

/// <summary>The part of a stored image that is decoded.</summary>
/// <param name="FirstRow">First row.</param>
/// <param name="EndRow">The row after the last.</param>
/// <param name="FirstColumn">First column.</param>
/// <param name="EndColumn">The column after the last.</param>
/// <param name="Reach">Pixels of a row that must be readable from the first column on, and <see cref="Resampler.Slack"/> bytes.</param>
internal readonly record struct DecodedRegion(int FirstRow, int EndRow, int FirstColumn, int EndColumn, int Reach)
{
    public int Rows => EndRow - FirstRow;

    public int Columns => EndColumn - FirstColumn;
}
