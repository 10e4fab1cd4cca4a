namespace FeedbackKernels.Data;

/// <summary>A rectangle of pixels of an upright image.</summary>
/// <param name="Row">First row.</param>
/// <param name="Column">First column.</param>
/// <param name="Rows">Number of rows, at least 1.</param>
/// <param name="Columns">Number of columns, at least 1.</param>
public readonly record struct PixelBox(int Row, int Column, int Rows, int Columns);

/// <summary>
/// How an image becomes the input of a model: a box of it is resized to <paramref name="Rows"/> x <paramref name="Columns"/>, a window
/// of the result is kept, and that is flipped if asked. The filter does not look outside the box.
/// </summary>
/// <param name="Box">The part of the upright image that is resized.</param>
/// <param name="Rows">Rows of the whole resized box.</param>
/// <param name="Columns">Columns of the whole resized box.</param>
/// <param name="Window">The part of the resized box that is kept.</param>
/// <param name="Flip">Whether left and right are exchanged, after the window has been taken.</param>
public readonly record struct CropResize(PixelBox Box, int Rows, int Columns, PixelBox Window, bool Flip);
