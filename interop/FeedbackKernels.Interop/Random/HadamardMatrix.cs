using System.Numerics;
using System.Runtime.CompilerServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// A Hadamard matrix: entries ±1, any two rows orthogonal, and any two columns. It is the Kronecker product of a matrix of Paley's, of 12,
/// 28 or 36 rows or of a single 1, and Sylvester's matrix of 2^m rows, so that its order is 2^m, or 12, 28 or 36 times 2^m. The
/// fan-in of a 3x3 layer is 9 times its channels: of 36 or more, if their number is a power of two.
/// </summary>
internal readonly struct HadamardMatrix
{
    // Below this bit, the code of a row or column is its index in Sylvester's matrix. The 36 bits from here on are for that of Paley.
    private const int PaleyBit = 28;

    // The signs of the rows of Paley's matrices, for each prime: 76 numbers in all, which take longer to compute than a row of noise.
    private static readonly ulong[][] s_paleyCodes = [.. Primes.ToArray().Select(PaleyCodes)];

    // The primes of Paley's second construction, q ≡ 1 (mod 4), which gives 2 (q + 1) rows. With 17 the code of a row fits in 64 bits.
    private static ReadOnlySpan<int> Primes => [5, 13, 17];

    /// <summary>The smallest of at least so many rows.</summary>
    /// <param name="length">Rows, 0 to 2^30.</param>
    public HadamardMatrix(int length)
    {
        SylvesterBits = BitsFor(length);
        foreach (int prime in Primes)
        {
            int rows = PaleyRowsOf(prime), bits = BitsFor(Rounding.DivideUp32(length, rows));
            if ((long)rows << bits < Order) (Prime, SylvesterBits) = (prime, bits);
        }

        static int BitsFor(int blocks) => BitOperations.Log2(BitOperations.RoundUpToPowerOf2((uint)Math.Max(blocks, 1)));
    }

    /// <summary>The prime q of Paley's matrix; 0 without one.</summary>
    public int Prime { get; }

    /// <summary>m: the binary logarithm of the order of Sylvester's matrix.</summary>
    public int SylvesterBits { get; }

    /// <summary>Rows of Paley's matrix; 1 without one.</summary>
    public int PaleyRows => PaleyRowsOf(Prime);

    /// <summary>Rows and columns.</summary>
    public int Order => PaleyRows << SylvesterBits;

    /// <summary>The code of a row: the entry at a row and a column is negative if their codes have an odd number of bits in common.</summary>
    public ulong RowCode(uint row) =>
        IndexInSylvester(row) | (Prime > 0 ? s_paleyCodes[Primes.IndexOf(Prime)][(int)(row >> SylvesterBits)] : 0);

    /// <summary>The code of a column; see <see cref="RowCode"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong ColumnCode(uint column) => IndexInSylvester(column) | (Prime > 0 ? 1UL << PaleyBit + (int)(column >> SylvesterBits) : 0);

    /// <summary>
    /// A keyed bijection of the indices, in place of a stored permutation: the index in Sylvester's matrix is permuted by a key that
    /// depends on that in Paley's, and then turns the latter.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public uint Permute(uint index, uint key0, uint key1)
    {
        uint paley = index >> SylvesterBits;
        uint sylvester = PermuteBits(IndexInSylvester(index), SylvesterBits, key0 + paley * 0x9E3779B9, key1);
        if (Prime == 0) return sylvester;
        uint turn = (sylvester ^ key0) * 0x9E3779B1;
        turn = (turn ^ turn >> 16) * 0x85EBCA6B;
        paley += (uint)((ulong)turn * (uint)PaleyRows >> 32);
        if (paley >= PaleyRows) paley -= (uint)PaleyRows;
        return paley << SylvesterBits | sylvester;
    }

    /// <summary>
    /// A keyed bijection of [0, 2^bits). Each of its steps is invertible modulo a power of two: an odd multiple plus a constant, and an
    /// exclusive or with the upper half of the bits.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint PermuteBits(uint x, int bits, uint key0, uint key1)
    {
        uint mask = (uint)((1UL << bits) - 1);
        int half = (bits + 1) / 2;
        x = (x * (key0 | 1) + key1) & mask;
        x ^= x >> half;
        x = (x * (BitOperations.RotateLeft(key1, 7) | 1) + BitOperations.RotateLeft(key0, 13)) & mask;
        x ^= x >> half;
        x = (x * 0x9E3779B1 + (key0 ^ key1)) & mask;
        x ^= x >> half;
        return x & mask;
    }

    private static ulong[] PaleyCodes(int prime)
    {
        var codes = new ulong[PaleyRowsOf(prime)];
        for (int row = 0; row < codes.Length; row++)
        {
            for (int column = 0; column < codes.Length; column++)
            {
                if (IsNegativeInPaley(prime, row, column)) codes[row] |= 1UL << PaleyBit + column;
            }
        }

        return codes;
    }

    /// <summary>
    /// Paley's second construction: a symmetric matrix S of q + 1 rows, 0 on the diagonal, 1 in the rest of the first row and column, and
    /// 1 or -1 elsewhere as the difference of row and column is a square modulo q or not. Each 0 is replaced by (1 -1; -1 -1), each ±1 by
    /// ±(1 1; 1 -1).
    /// </summary>
    private static bool IsNegativeInPaley(int prime, int row, int column)
    {
        int i = row / 2, j = column / 2;
        bool bothOdd = (row & column & 1) != 0, oneOdd = ((row | column) & 1) != 0;
        if (i == j) return oneOdd;
        return bothOdd ^ (i > 0 && j > 0 && (SquaresModulo(prime) >> Math.Abs(i - j) & 1) == 0);
    }

    /// <summary>A bit for each square other than 0: -1 is one as well, so that the sign of a difference does not matter.</summary>
    private static uint SquaresModulo(int prime) => prime switch
    {
        5 => 0x12,
        13 => 0x161A,
        _ => 0x1A316,
    };

    private static int PaleyRowsOf(int prime) => prime == 0 ? 1 : 2 * (prime + 1);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private uint IndexInSylvester(uint index) => index & (uint)((1UL << SylvesterBits) - 1);
}
