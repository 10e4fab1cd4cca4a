using System.Runtime.CompilerServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a bijection of a 128-bit counter
/// under a 64-bit key. Number i of a stream is a function of i alone, so every backend, thread and rank generates the same numbers
/// without a shared state.
/// </summary>
public static class Philox
{
    private const uint Multiplier0 = 0xD2511F53, Multiplier1 = 0xCD9E8D57;
    private const uint Weyl0 = 0x9E3779B9, Weyl1 = 0xBB67AE85;
    private const int Rounds = 10;

    /// <summary>The four words for one counter.</summary>
    /// <param name="counter0">Lowest word of the counter.</param>
    /// <param name="counter1">Second word.</param>
    /// <param name="counter2">Third word.</param>
    /// <param name="counter3">Highest word.</param>
    /// <param name="key">The key: both words of it.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static PhiloxBlock Block(uint counter0, uint counter1, uint counter2, uint counter3, ulong key)
    {
        uint k0 = (uint)key, k1 = (uint)(key >> 32);
        for (int round = 0; round < Rounds; round++)
        {
            ulong product0 = (ulong)Multiplier0 * counter0, product1 = (ulong)Multiplier1 * counter2;
            (counter0, counter1, counter2, counter3) =
                ((uint)(product1 >> 32) ^ counter1 ^ k0, (uint)product1, (uint)(product0 >> 32) ^ counter3 ^ k1, (uint)product0);
            k0 += Weyl0;
            k1 += Weyl1;
        }

        return new PhiloxBlock(counter0, counter1, counter2, counter3);
    }
}

/// <summary>128 random bits.</summary>
/// <param name="X">First word.</param>
/// <param name="Y">Second word.</param>
/// <param name="Z">Third word.</param>
/// <param name="W">Fourth word.</param>
public readonly record struct PhiloxBlock(uint X, uint Y, uint Z, uint W)
{
    /// <summary>Words 0 to 3.</summary>
    public uint this[int word] => word switch { 0 => X, 1 => Y, 2 => Z, _ => W };
}
