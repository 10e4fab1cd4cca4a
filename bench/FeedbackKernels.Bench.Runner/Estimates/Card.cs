namespace FeedbackKernels.Bench.Estimates;

/// <summary>The rates of a GPU that an estimate uses: what a kernel can reach, which is less than the data sheet says.</summary>
/// <param name="Name">Name on the command line.</param>
/// <param name="BytesPerSecond">Memory bandwidth.</param>
/// <param name="TensorFlops">FLOP/s of bf16 products on tensor cores, dense.</param>
/// <param name="VectorFlops">FLOP/s of fp32 products.</param>
internal sealed record Card(string Name, double BytesPerSecond, double TensorFlops, double VectorFlops)
{
    /// <summary>
    /// All cards. H200: 4.2 of 4.8 TB/s and 790 of 989 TFLOP/s, which long copies and large products reach there. The other
    /// cards, and fp32, have the same fractions of their data sheets (H100 SXM: 3.35 TB/s; A100 SXM 80 GB: 2.04 TB/s,
    /// 312 TFLOP/s; fp32 67 and 19.5 TFLOP/s).
    /// </summary>
    public static IReadOnlyList<Card> All { get; } =
    [
        new("h200", 4.2e12, 790e12, 53.5e12),
        new("h100", 2.93e12, 790e12, 53.5e12),
        new("a100", 1.78e12, 249e12, 15.6e12),
    ];

    /// <summary>The card with a name.</summary>
    public static Card Named(string name) => All.First(c => c.Name == name);
}
