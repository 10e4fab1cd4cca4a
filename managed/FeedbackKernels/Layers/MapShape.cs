namespace FeedbackKernels.Layers;

/// <summary>The size of one image or feature map: rows, columns, channels.</summary>
public readonly record struct MapShape(int H, int W, int C)
{
    /// <summary>H*W*C.</summary>
    public int Length => checked(H * W * C);

    /// <summary>The same numbers as one row of features.</summary>
    public MapShape Flat => new(1, 1, Length);

    /// <inheritdoc/>
    public override string ToString() => $"{H}x{W}x{C}";
}
