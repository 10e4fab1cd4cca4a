namespace FeedbackKernels.Models;

/// <summary>
/// A convolution or linear layer with what belongs to it, by names and sizes alone: what files of weights need to know of a model,
/// without its memory.
/// </summary>
/// <param name="Name">Name of the layer.</param>
/// <param name="K">Output channels.</param>
/// <param name="C">Input channels; for a linear layer those of the map that it takes as a whole.</param>
/// <param name="R">Filter rows; for a linear layer the rows of that map.</param>
/// <param name="S">Filter columns; for a linear layer the columns of that map.</param>
/// <param name="IsLinear">Whether the layer is linear.</param>
/// <param name="Norm">Name of its batch norm; null where it has a bias instead.</param>
public sealed record WeightedLayer(string Name, int K, int C, int R, int S, bool IsLinear, string? Norm)
{
    /// <summary>Name of W.</summary>
    public string Weight => $"{Name}.weight";

    /// <summary>Name of the bias of a layer without batch norm.</summary>
    public string Bias => $"{Name}.bias";

    /// <summary>Name of B, where the rule of the layer keeps one.</summary>
    public string Feedback => $"{Name}.feedback";

    /// <summary>Elements of W, and of B.</summary>
    public long Length => (long)K * C * R * S;

    /// <summary>Sizes of W: [R][S][C][K]; [1][1][R*S*C][K] for a linear layer.</summary>
    public IReadOnlyList<int> WeightSizes => IsLinear ? [1, 1, R * S * C, K] : [R, S, C, K];

    /// <summary>Sizes of B: [R][S][K][C]; [1][1][K][R*S*C] for a linear layer.</summary>
    public IReadOnlyList<int> FeedbackSizes => IsLinear ? [1, 1, K, R * S * C] : [R, S, K, C];

    /// <summary>The tensors of K elements: the bias, or those of the batch norm with its running statistics.</summary>
    public IReadOnlyList<string> Channels => Norm is null ? [Bias] : [$"{Norm}.weight", $"{Norm}.bias", $"{Norm}.running_mean", $"{Norm}.running_var"];
}
