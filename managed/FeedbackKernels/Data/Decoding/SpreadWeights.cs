using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FeedbackKernels.Data;

/// <summary>
/// The weights of the horizontal pass as its vectors take them. A group of four weights (a b c d) is eight pairs, (a b) for each of four channels and
/// (c d) for each of four channels. For each pair of outputs and each group: the upper parts of both, then the lower parts of both.
/// </summary>
internal sealed unsafe class SpreadWeights
{
    /// <summary>The number of outputs is filled up to a multiple of this.</summary>
    public const int Block = 4;

    /// <summary>Numbers of a pair of outputs and a group.</summary>
    public const int PairLength = 64;

    private const int OutputLength = 16;

    /// <summary>The numbers.</summary>
    public short[] Table { get; private set; } = [];

    /// <summary>First source pixel of each output.</summary>
    public int[] Starts { get; private set; } = [];

    /// <summary>Number of outputs, filled up.</summary>
    public int Count { get; private set; }

    /// <summary>Groups of weights of an output.</summary>
    public int Groups { get; private set; }

    /// <summary>Spreads the weights of an axis.</summary>
    public void Build(ResampleAxis axis)
    {
        Groups = axis.Taps / ResampleAxis.TapGroup;
        Count = (axis.Count + Block - 1) / Block * Block;
        int length = Count / 2 * Groups * PairLength;
        if (Table.Length < length) Table = GC.AllocateUninitializedArray<short>(length, pinned: true);
        if (Starts.Length < Count) Starts = new int[Count];
        Vector256<int> spread = Vector256.Create(0, 0, 0, 0, 1, 1, 1, 1);
        fixed (short* highs = axis.High, lows = axis.Low, table = Table)
        {
            for (int i = 0; i < Count; i++)
            {
                int output = Math.Min(i, axis.Count - 1);
                Starts[i] = axis.Starts[output];
                short* target = table + i / 2 * Groups * PairLength + i % 2 * OutputLength;
                for (int g = 0; g < Groups; g++, target += PairLength)
                {
                    int source = output * axis.Taps + g * ResampleAxis.TapGroup;
                    Avx2.PermuteVar8x32(Vector256.CreateScalarUnsafe(*(long*)(highs + source)).AsInt32(), spread).AsInt16().Store(target);
                    Avx2.PermuteVar8x32(Vector256.CreateScalarUnsafe(*(long*)(lows + source)).AsInt32(), spread).AsInt16().Store(target + 2 * OutputLength);
                }
            }
        }
    }
}
