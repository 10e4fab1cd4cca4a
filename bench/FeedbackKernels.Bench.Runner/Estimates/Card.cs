using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench.Estimates;

/// <summary>A GPU, and what is assumed of it.</summary>
internal sealed class Card
{
    // Every assumption, for each card. Nothing here was measured with these kernels: no card has run them. "Review" is the reading of the
    // kernels beside CUTLASS and published figures, which gives ranges; the value is inside its range. A measurement replaces a line, or a
    // file for --assume does.
    private static readonly (Figure Figure, double H200, double H100, double A100)[] Table =
    [
        // Data sheets of NVIDIA: H200 SXM, H100 SXM5, A100 SXM 80 GB.
        (Figure.Multiprocessors, 132, 132, 108),
        (Figure.HbmBytes, 4.8e12, 3.35e12, 2.04e12),
        (Figure.TensorFlops, 989e12, 989e12, 312e12),
        (Figure.VectorFlops, 67e12, 67e12, 19.5e12),

        // CUDA C++ Programming Guide, compute capabilities 9.0 and 8.0.
        (Figure.SharedBytes, 228 << 10, 228 << 10, 164 << 10),

        // 5,120 bytes a clock (A100 white paper; the same is assumed of Hopper) at 1.755 and 1.41 GHz, of which 62 % is reached: so the
        // review's 23 to 28 % of the tensor peak of 3x3 layers of 64 channels, at 43 FLOP a byte, are 5.3 to 6.4 TB/s.
        (Figure.L2Bytes, 5.6e12, 5.6e12, 4.5e12),

        // 64 bytes a clock and multiprocessor, at the same share.
        (Figure.SmBytes, 70e9, 70e9, 56e9),

        // Review: 2 ms for the gaps and the small kernels of 700 launches.
        (Figure.LaunchGap, 1.3e-6, 1.3e-6, 1.5e-6),

        // Review: 60 to 80 us for a finish whose threads load 98 times, one after the other.
        (Figure.LoadLatency, 0.65e-6, 0.65e-6, 0.6e-6),

        // Microbenchmarks of Hopper find about 260 clocks, 0.15 us, for a hit in the level-2 cache; as much again is assumed for the
        // barriers and for shared memory.
        (Figure.StepLatency, 0.3e-6, 0.3e-6, 0.3e-6),

        // Review: batch norm 75 to 88 % of the data sheet; 1x1 convolutions at 56 and 28 rows 55 to 85 %; max pool 40 to 60 % forward and
        // 25 to 35 % backward. Transposing kernels write half lines: assumed.
        (Figure.StreamHbm, 0.82, 0.82, 0.82),
        (Figure.ProductHbm, 0.70, 0.70, 0.70),
        (Figure.PoolForwardHbm, 0.50, 0.50, 0.50),
        (Figure.PoolBackwardHbm, 0.30, 0.30, 0.30),
        (Figure.TransposeHbm, 0.60, 0.60, 0.60),

        // CUTLASS reaches 60 to 80 % of the peak on Hopper with persistent kernels of 128x128 to 128x256. These are not persistent and do
        // not overlap their epilogue. The loads, not these figures, limit most layers.
        (Figure.Wgmma64, 0.45, 0.45, 0),
        (Figure.Wgmma128, 0.60, 0.60, 0),
        (Figure.Wgmma256, 0.65, 0.65, 0),

        // Review: weight gradients 16 % (64 channels), 25 to 30 % typically, 39 % at best.
        (Figure.WgmmaGradient64, 0.26, 0.26, 0),
        (Figure.WgmmaGradient128, 0.39, 0.39, 0),

        // CUTLASS's mma.sync kernels reach 75 to 85 % of an A100 with large tiles, and about 62 % of Hopper's wgmma (PTX of sm_80 on an
        // H100). Tiles of 64 load twice as much for each product.
        (Figure.Mma64x64, 0.25, 0.25, 0.40),
        (Figure.Mma128x64, 0.32, 0.32, 0.50),
        (Figure.Mma128x128, 0.40, 0.40, 0.60),

        // Review: 0.25 to 0.45 ms for either pass of a stem of 60 GFLOP.
        (Figure.FewChannels, 0.18, 0.18, 0.30),

        // One stage through registers, mma.sync, scalar loads where channels are odd: assumed. Mirror by the review: 5 to 8 % of the peak.
        (Figure.PortableTensor, 0.12, 0.12, 0.25),
        (Figure.PortableVector, 0.50, 0.50, 0.60),
        (Figure.MirrorTensor, 0.065, 0.065, 0.13),
        (Figure.MirrorVector, 0.40, 0.40, 0.50),
    ];

    private readonly double[] _values;

    private Card(string name, int major, double[] values)
    {
        (Name, Major, _values) = (name, major, values);
    }

    /// <summary>All cards, by what they are assumed to reach.</summary>
    public static IReadOnlyList<Card> All { get; } =
        [Of("h200", 9, line => line.H200), Of("h100", 9, line => line.H100), Of("a100", 8, line => line.A100)];

    /// <summary>Name on the command line.</summary>
    public string Name { get; }

    /// <summary>Compute capability: 9.0 or 8.0.</summary>
    public int Major { get; }

    /// <summary>What the kernels are chosen for.</summary>
    public PaperDevice Device => new(Name, Major, 0, (int)this[Figure.Multiprocessors]);

    /// <summary>The value of an assumption, in the unit of its name.</summary>
    public double this[Figure figure] => _values[(int)figure];

    /// <summary>The card with a name.</summary>
    public static Card Named(string name) => All.First(c => c.Name == name);

    /// <summary>The card with other values for some assumptions.</summary>
    public Card With(IEnumerable<KeyValuePair<Figure, double>> replaced)
    {
        double[] values = [.. _values];
        foreach ((Figure figure, double value) in replaced) values[(int)figure] = value;
        return new Card(Name, Major, values);
    }

    private static Card Of(string name, int major, Func<(Figure Figure, double H200, double H100, double A100), double> column)
    {
        var values = new double[Table.Length];
        foreach (var line in Table) values[(int)line.Figure] = column(line);
        return new Card(name, major, values);
    }
}
