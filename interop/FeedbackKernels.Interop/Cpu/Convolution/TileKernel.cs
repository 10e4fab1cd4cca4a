using System.Runtime.CompilerServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// Arguments of a micro-kernel, for tiles of a product one below the other: C[row][column] = (or +=) the sum of A[row] * B[column] over a
/// nest of three loops. Strides are in floats. The nest lets one micro-kernel serve every convolution without im2col: its loops are
/// filter rows and the run of (column, channel) in a forward or feedback pass, and images, rows and columns of pixels in a weight
/// gradient.
/// </summary>
internal unsafe struct TileArguments
{
    /// <summary>Left operand, broadcast: tile row i of a step is A[i * ARow]. Of ARow and AInner at least one is 1.</summary>
    public float* A;
    public nint ARow, AInner, AMiddle, AOuter;

    /// <summary>Right operand, loaded as vectors. Its rows are as wide as the tile and follow one another in the inner loop.</summary>
    public float* B;
    public nint BMiddle, BOuter;

    /// <summary>Result, with contiguous columns.</summary>
    public float* C;
    public nint CRow;

    /// <summary>Trip counts of the nest, each at least 1.</summary>
    public nint Inner, Middle, Outer;

    /// <summary>Number of tiles, at least 1, and strides of A and C from one to the next. B is the same for all.</summary>
    public nint Tiles, ATile, CTile;

    /// <summary>Whether the sums are added to C.</summary>
    public bool Accumulate;

    /// <summary>Where the next call adds its sums, or null. Those cache lines are prefetched.</summary>
    public float* NextC;

    /// <summary>Other memory to prefetch.</summary>
    public TileFetch Fetch;

    /// <summary>Memory to prefetch, as a distance in bytes from the current row of B: the length of a row of B in each step.</summary>
    public nint Ahead;

    /// <summary>Whether stores to C bypass the caches: nothing is added to C, its rows are aligned to vectors, and it is much larger than
    /// a cache, so that its lines need not be read before they are overwritten.</summary>
    public bool NonTemporal;
}

/// <summary>
/// Memory that tiles prefetch piece by piece while they compute. Prefetched all at once, the misses would wait for each other, and the
/// tiles' loads for them. The addresses need not be mapped.
/// </summary>
internal unsafe struct TileFetch
{
    /// <summary>Start of the first tile's piece.</summary>
    public byte* Start;

    /// <summary>Bytes of a piece, and the distance from one piece to the next.</summary>
    public nint Bytes, Step;

    /// <summary>A run of memory, divided equally among the tiles.</summary>
    public static TileFetch Over(long tiles, float* start, long floats)
    {
        long lines = Rounding.DivideUp(floats, Caches.LineFloats);
        nint bytes = (nint)(Rounding.DivideUp(lines, tiles) * Caches.LineBytes);
        return new TileFetch { Start = (byte*)start, Bytes = bytes, Step = bytes };
    }

    /// <summary>Skips the pieces of some tiles.</summary>
    public void Skip(long tiles) => Start += (nint)tiles * Step;
}

/// <summary>A constant that the JIT knows. Branches on it are removed from the machine code.</summary>
internal interface IConstant
{
    static abstract int Value { get; }
}

/// <summary>
/// The micro-kernel: TRows rows by TColumns vectors of accumulators, in registers through the whole nest. Every accumulator is a local
/// variable: an array or a struct of them would be in memory, and so would all of them if the loops contained a call. The branches on the
/// constants leave only the rows and columns of the instantiation. At 14x2 on AVX-512 there are 28 accumulators, two vectors of B and one
/// broadcast: 31 of 32 registers. With 16 registers the tile is 4x3: 12 accumulators for 7 loads in each step, where 6x2 needs 8, and
/// loads are the first limit for two threads of a core.
/// <typeparamref name="TUnitSteps"/> is 1 if AInner is 1, and 0 if ARow is: distances of one float are part of an instruction.
/// </summary>
internal static unsafe class TileKernel<TVector, TOps, TRows, TColumns, TUnitSteps>
    where TVector : unmanaged
    where TOps : unmanaged, IVectorOps<TVector>
    where TRows : unmanaged, IConstant
    where TColumns : unmanaged, IConstant
    where TUnitSteps : unmanaged, IConstant
{
    // Optimised at its first call. Code of the lower tier would run twenty times slower until it is replaced.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(TileArguments* t)
    {
        float* aTile = t->A, cTile = t->C;
        nint tiles = t->Tiles;
    NextTile:
        TVector c0a = TOps.Zero, c0b = TOps.Zero, c0c = TOps.Zero, c1a = TOps.Zero, c1b = TOps.Zero, c1c = TOps.Zero;
        TVector c2a = TOps.Zero, c2b = TOps.Zero, c2c = TOps.Zero, c3a = TOps.Zero, c3b = TOps.Zero, c3c = TOps.Zero;
        TVector c4a = TOps.Zero, c4b = TOps.Zero, c5a = TOps.Zero, c5b = TOps.Zero, c6a = TOps.Zero, c6b = TOps.Zero;
        TVector c7a = TOps.Zero, c7b = TOps.Zero, c8a = TOps.Zero, c8b = TOps.Zero, c9a = TOps.Zero, c9b = TOps.Zero;
        TVector c10a = TOps.Zero, c10b = TOps.Zero, c11a = TOps.Zero, c11b = TOps.Zero, c12a = TOps.Zero, c12b = TOps.Zero, c13a = TOps.Zero, c13b = TOps.Zero;
        if (t->Accumulate)
        {
            float* row = cTile;
            nint next = t->CRow;
            if (TRows.Value > 0) { c0a = TOps.Load(row); if (TColumns.Value > 1) c0b = TOps.Load(row + TOps.Count); if (TColumns.Value > 2) c0c = TOps.Load(row + 2 * TOps.Count); }
            if (TRows.Value > 1) { row += next; c1a = TOps.Load(row); if (TColumns.Value > 1) c1b = TOps.Load(row + TOps.Count); if (TColumns.Value > 2) c1c = TOps.Load(row + 2 * TOps.Count); }
            if (TRows.Value > 2) { row += next; c2a = TOps.Load(row); if (TColumns.Value > 1) c2b = TOps.Load(row + TOps.Count); if (TColumns.Value > 2) c2c = TOps.Load(row + 2 * TOps.Count); }
            if (TRows.Value > 3) { row += next; c3a = TOps.Load(row); if (TColumns.Value > 1) c3b = TOps.Load(row + TOps.Count); if (TColumns.Value > 2) c3c = TOps.Load(row + 2 * TOps.Count); }
            if (TRows.Value > 4) { row += next; c4a = TOps.Load(row); if (TColumns.Value > 1) c4b = TOps.Load(row + TOps.Count); }
            if (TRows.Value > 5) { row += next; c5a = TOps.Load(row); if (TColumns.Value > 1) c5b = TOps.Load(row + TOps.Count); }
            if (TRows.Value > 6) { row += next; c6a = TOps.Load(row); if (TColumns.Value > 1) c6b = TOps.Load(row + TOps.Count); }
            if (TRows.Value > 7) { row += next; c7a = TOps.Load(row); if (TColumns.Value > 1) c7b = TOps.Load(row + TOps.Count); }
            if (TRows.Value > 8) { row += next; c8a = TOps.Load(row); if (TColumns.Value > 1) c8b = TOps.Load(row + TOps.Count); }
            if (TRows.Value > 9) { row += next; c9a = TOps.Load(row); if (TColumns.Value > 1) c9b = TOps.Load(row + TOps.Count); }
            if (TRows.Value > 10) { row += next; c10a = TOps.Load(row); if (TColumns.Value > 1) c10b = TOps.Load(row + TOps.Count); }
            if (TRows.Value > 11) { row += next; c11a = TOps.Load(row); if (TColumns.Value > 1) c11b = TOps.Load(row + TOps.Count); }
            if (TRows.Value > 12) { row += next; c12a = TOps.Load(row); if (TColumns.Value > 1) c12b = TOps.Load(row + TOps.Count); }
            if (TRows.Value > 13) { row += next; c13a = TOps.Load(row); if (TColumns.Value > 1) c13b = TOps.Load(row + TOps.Count); }
        }

        int rowBytes = TColumns.Value * TOps.Count * sizeof(float);
        if (t->NextC != null)
        {
            byte* row = (byte*)(t->NextC + (cTile - t->C));
            nint next = t->CRow * sizeof(float);
            for (int i = 0; i < TRows.Value; i++, row += next)
            {
                TOps.Prefetch(row);
                if (rowBytes > Caches.LineBytes) TOps.Prefetch(row + Caches.LineBytes);
            }
        }

        byte* fetch = t->Fetch.Start + (t->Tiles - tiles) * t->Fetch.Step;
        for (byte* end = fetch + t->Fetch.Bytes; fetch < end; fetch += Caches.LineBytes) TOps.Prefetch(fetch);

        // Byte strides. Rows 0 to 8 are one addressing mode each from a (base + {0, 1, 2, 4, 8} * s1, s3, s5, s3 * 2, s7). Rows 9 to 13
        // are the same from a second base nine rows on.
        nint s1 = TUnitSteps.Value == 1 ? t->ARow * sizeof(float) : sizeof(float), s3 = 3 * s1, s5 = 5 * s1, s7 = 7 * s1;
        nint aInner = TUnitSteps.Value == 1 ? sizeof(float) : t->AInner * sizeof(float), inner = t->Inner, ahead = t->Ahead;
        byte* aOuter = (byte*)aTile, bOuter = (byte*)t->B;
        nint outer = t->Outer;
        do
        {
            byte* aMiddle = aOuter, bMiddle = bOuter;
            nint middle = t->Middle;
            do
            {
                byte* a = aMiddle, b = bMiddle;
                nint step = inner;
                TVector b0, b1 = TOps.Zero, b2 = TOps.Zero, x;
                // Two threads of a core share its front end, which then decodes three instructions in a cycle for two products. With few
                // registers steps are short, so the loop is unrolled by four, and the third vector of B is a memory operand: a step of
                // 4x3 has 18 instructions, six cycles of either thread. With many registers a step has room for a prefetch.
                for (; TOps.Registers <= 16 && TColumns.Value > 1 && step >= 4; step -= 4)
                {
                    b0 = TOps.Load((float*)b);
                    b1 = TOps.Load((float*)b + TOps.Count);
                    if (TRows.Value > 0) { x = Left(a, s1, s3, s5, aInner, 0, 0); c0a = TOps.MultiplyAdd(x, b0, c0a); c0b = TOps.MultiplyAdd(x, b1, c0b); if (TColumns.Value > 2) c0c = TOps.MultiplyAdd(x, TOps.Load((float*)b + 2 * TOps.Count), c0c); }
                    if (TRows.Value > 1) { x = Left(a, s1, s3, s5, aInner, 1, 0); c1a = TOps.MultiplyAdd(x, b0, c1a); c1b = TOps.MultiplyAdd(x, b1, c1b); if (TColumns.Value > 2) c1c = TOps.MultiplyAdd(x, TOps.Load((float*)b + 2 * TOps.Count), c1c); }
                    if (TRows.Value > 2) { x = Left(a, s1, s3, s5, aInner, 2, 0); c2a = TOps.MultiplyAdd(x, b0, c2a); c2b = TOps.MultiplyAdd(x, b1, c2b); if (TColumns.Value > 2) c2c = TOps.MultiplyAdd(x, TOps.Load((float*)b + 2 * TOps.Count), c2c); }
                    if (TRows.Value > 3) { x = Left(a, s1, s3, s5, aInner, 3, 0); c3a = TOps.MultiplyAdd(x, b0, c3a); c3b = TOps.MultiplyAdd(x, b1, c3b); if (TColumns.Value > 2) c3c = TOps.MultiplyAdd(x, TOps.Load((float*)b + 2 * TOps.Count), c3c); }
                    if (TRows.Value > 4) { x = Left(a, s1, s3, s5, aInner, 4, 0); c4a = TOps.MultiplyAdd(x, b0, c4a); c4b = TOps.MultiplyAdd(x, b1, c4b); }
                    if (TRows.Value > 5) { x = Left(a, s1, s3, s5, aInner, 5, 0); c5a = TOps.MultiplyAdd(x, b0, c5a); c5b = TOps.MultiplyAdd(x, b1, c5b); }
                    b0 = TOps.Load((float*)(b + rowBytes));
                    b1 = TOps.Load((float*)(b + rowBytes) + TOps.Count);
                    if (TRows.Value > 0) { x = Left(a, s1, s3, s5, aInner, 0, 1); c0a = TOps.MultiplyAdd(x, b0, c0a); c0b = TOps.MultiplyAdd(x, b1, c0b); if (TColumns.Value > 2) c0c = TOps.MultiplyAdd(x, TOps.Load((float*)(b + rowBytes) + 2 * TOps.Count), c0c); }
                    if (TRows.Value > 1) { x = Left(a, s1, s3, s5, aInner, 1, 1); c1a = TOps.MultiplyAdd(x, b0, c1a); c1b = TOps.MultiplyAdd(x, b1, c1b); if (TColumns.Value > 2) c1c = TOps.MultiplyAdd(x, TOps.Load((float*)(b + rowBytes) + 2 * TOps.Count), c1c); }
                    if (TRows.Value > 2) { x = Left(a, s1, s3, s5, aInner, 2, 1); c2a = TOps.MultiplyAdd(x, b0, c2a); c2b = TOps.MultiplyAdd(x, b1, c2b); if (TColumns.Value > 2) c2c = TOps.MultiplyAdd(x, TOps.Load((float*)(b + rowBytes) + 2 * TOps.Count), c2c); }
                    if (TRows.Value > 3) { x = Left(a, s1, s3, s5, aInner, 3, 1); c3a = TOps.MultiplyAdd(x, b0, c3a); c3b = TOps.MultiplyAdd(x, b1, c3b); if (TColumns.Value > 2) c3c = TOps.MultiplyAdd(x, TOps.Load((float*)(b + rowBytes) + 2 * TOps.Count), c3c); }
                    if (TRows.Value > 4) { x = Left(a, s1, s3, s5, aInner, 4, 1); c4a = TOps.MultiplyAdd(x, b0, c4a); c4b = TOps.MultiplyAdd(x, b1, c4b); }
                    if (TRows.Value > 5) { x = Left(a, s1, s3, s5, aInner, 5, 1); c5a = TOps.MultiplyAdd(x, b0, c5a); c5b = TOps.MultiplyAdd(x, b1, c5b); }
                    b0 = TOps.Load((float*)(b + 2 * rowBytes));
                    b1 = TOps.Load((float*)(b + 2 * rowBytes) + TOps.Count);
                    if (TRows.Value > 0) { x = Left(a, s1, s3, s5, aInner, 0, 2); c0a = TOps.MultiplyAdd(x, b0, c0a); c0b = TOps.MultiplyAdd(x, b1, c0b); if (TColumns.Value > 2) c0c = TOps.MultiplyAdd(x, TOps.Load((float*)(b + 2 * rowBytes) + 2 * TOps.Count), c0c); }
                    if (TRows.Value > 1) { x = Left(a, s1, s3, s5, aInner, 1, 2); c1a = TOps.MultiplyAdd(x, b0, c1a); c1b = TOps.MultiplyAdd(x, b1, c1b); if (TColumns.Value > 2) c1c = TOps.MultiplyAdd(x, TOps.Load((float*)(b + 2 * rowBytes) + 2 * TOps.Count), c1c); }
                    if (TRows.Value > 2) { x = Left(a, s1, s3, s5, aInner, 2, 2); c2a = TOps.MultiplyAdd(x, b0, c2a); c2b = TOps.MultiplyAdd(x, b1, c2b); if (TColumns.Value > 2) c2c = TOps.MultiplyAdd(x, TOps.Load((float*)(b + 2 * rowBytes) + 2 * TOps.Count), c2c); }
                    if (TRows.Value > 3) { x = Left(a, s1, s3, s5, aInner, 3, 2); c3a = TOps.MultiplyAdd(x, b0, c3a); c3b = TOps.MultiplyAdd(x, b1, c3b); if (TColumns.Value > 2) c3c = TOps.MultiplyAdd(x, TOps.Load((float*)(b + 2 * rowBytes) + 2 * TOps.Count), c3c); }
                    if (TRows.Value > 4) { x = Left(a, s1, s3, s5, aInner, 4, 2); c4a = TOps.MultiplyAdd(x, b0, c4a); c4b = TOps.MultiplyAdd(x, b1, c4b); }
                    if (TRows.Value > 5) { x = Left(a, s1, s3, s5, aInner, 5, 2); c5a = TOps.MultiplyAdd(x, b0, c5a); c5b = TOps.MultiplyAdd(x, b1, c5b); }
                    b0 = TOps.Load((float*)(b + 3 * rowBytes));
                    b1 = TOps.Load((float*)(b + 3 * rowBytes) + TOps.Count);
                    if (TRows.Value > 0) { x = Left(a, s1, s3, s5, aInner, 0, 3); c0a = TOps.MultiplyAdd(x, b0, c0a); c0b = TOps.MultiplyAdd(x, b1, c0b); if (TColumns.Value > 2) c0c = TOps.MultiplyAdd(x, TOps.Load((float*)(b + 3 * rowBytes) + 2 * TOps.Count), c0c); }
                    if (TRows.Value > 1) { x = Left(a, s1, s3, s5, aInner, 1, 3); c1a = TOps.MultiplyAdd(x, b0, c1a); c1b = TOps.MultiplyAdd(x, b1, c1b); if (TColumns.Value > 2) c1c = TOps.MultiplyAdd(x, TOps.Load((float*)(b + 3 * rowBytes) + 2 * TOps.Count), c1c); }
                    if (TRows.Value > 2) { x = Left(a, s1, s3, s5, aInner, 2, 3); c2a = TOps.MultiplyAdd(x, b0, c2a); c2b = TOps.MultiplyAdd(x, b1, c2b); if (TColumns.Value > 2) c2c = TOps.MultiplyAdd(x, TOps.Load((float*)(b + 3 * rowBytes) + 2 * TOps.Count), c2c); }
                    if (TRows.Value > 3) { x = Left(a, s1, s3, s5, aInner, 3, 3); c3a = TOps.MultiplyAdd(x, b0, c3a); c3b = TOps.MultiplyAdd(x, b1, c3b); if (TColumns.Value > 2) c3c = TOps.MultiplyAdd(x, TOps.Load((float*)(b + 3 * rowBytes) + 2 * TOps.Count), c3c); }
                    if (TRows.Value > 4) { x = Left(a, s1, s3, s5, aInner, 4, 3); c4a = TOps.MultiplyAdd(x, b0, c4a); c4b = TOps.MultiplyAdd(x, b1, c4b); }
                    if (TRows.Value > 5) { x = Left(a, s1, s3, s5, aInner, 5, 3); c5a = TOps.MultiplyAdd(x, b0, c5a); c5b = TOps.MultiplyAdd(x, b1, c5b); }
                    a += 4 * aInner;
                    b += 4 * rowBytes;
                }

                if (step != 0) do
                {
                    b0 = TOps.Load((float*)b);
                    if (TColumns.Value > 1) b1 = TOps.Load((float*)b + TOps.Count);
                    if (TColumns.Value > 2) b2 = TOps.Load((float*)b + 2 * TOps.Count);
                    if (TOps.Registers > 16) TOps.Prefetch(b + ahead);
                    if (TOps.Registers > 16 && rowBytes > Caches.LineBytes) TOps.Prefetch(b + ahead + Caches.LineBytes);
                    byte* a9 = a + s1 * 8 + s1;
                    if (TRows.Value > 0) { x = TOps.Broadcast(*(float*)a); c0a = TOps.MultiplyAdd(x, b0, c0a); if (TColumns.Value > 1) c0b = TOps.MultiplyAdd(x, b1, c0b); if (TColumns.Value > 2) c0c = TOps.MultiplyAdd(x, b2, c0c); }
                    if (TRows.Value > 1) { x = TOps.Broadcast(*(float*)(a + s1)); c1a = TOps.MultiplyAdd(x, b0, c1a); if (TColumns.Value > 1) c1b = TOps.MultiplyAdd(x, b1, c1b); if (TColumns.Value > 2) c1c = TOps.MultiplyAdd(x, b2, c1c); }
                    if (TRows.Value > 2) { x = TOps.Broadcast(*(float*)(a + s1 * 2)); c2a = TOps.MultiplyAdd(x, b0, c2a); if (TColumns.Value > 1) c2b = TOps.MultiplyAdd(x, b1, c2b); if (TColumns.Value > 2) c2c = TOps.MultiplyAdd(x, b2, c2c); }
                    if (TRows.Value > 3) { x = TOps.Broadcast(*(float*)(a + s3)); c3a = TOps.MultiplyAdd(x, b0, c3a); if (TColumns.Value > 1) c3b = TOps.MultiplyAdd(x, b1, c3b); if (TColumns.Value > 2) c3c = TOps.MultiplyAdd(x, b2, c3c); }
                    if (TRows.Value > 4) { x = TOps.Broadcast(*(float*)(a + s1 * 4)); c4a = TOps.MultiplyAdd(x, b0, c4a); if (TColumns.Value > 1) c4b = TOps.MultiplyAdd(x, b1, c4b); }
                    if (TRows.Value > 5) { x = TOps.Broadcast(*(float*)(a + s5)); c5a = TOps.MultiplyAdd(x, b0, c5a); if (TColumns.Value > 1) c5b = TOps.MultiplyAdd(x, b1, c5b); }
                    if (TRows.Value > 6) { x = TOps.Broadcast(*(float*)(a + s3 * 2)); c6a = TOps.MultiplyAdd(x, b0, c6a); if (TColumns.Value > 1) c6b = TOps.MultiplyAdd(x, b1, c6b); }
                    if (TRows.Value > 7) { x = TOps.Broadcast(*(float*)(a + s7)); c7a = TOps.MultiplyAdd(x, b0, c7a); if (TColumns.Value > 1) c7b = TOps.MultiplyAdd(x, b1, c7b); }
                    if (TRows.Value > 8) { x = TOps.Broadcast(*(float*)(a + s1 * 8)); c8a = TOps.MultiplyAdd(x, b0, c8a); if (TColumns.Value > 1) c8b = TOps.MultiplyAdd(x, b1, c8b); }
                    if (TRows.Value > 9) { x = TOps.Broadcast(*(float*)a9); c9a = TOps.MultiplyAdd(x, b0, c9a); if (TColumns.Value > 1) c9b = TOps.MultiplyAdd(x, b1, c9b); }
                    if (TRows.Value > 10) { x = TOps.Broadcast(*(float*)(a9 + s1)); c10a = TOps.MultiplyAdd(x, b0, c10a); if (TColumns.Value > 1) c10b = TOps.MultiplyAdd(x, b1, c10b); }
                    if (TRows.Value > 11) { x = TOps.Broadcast(*(float*)(a9 + s1 * 2)); c11a = TOps.MultiplyAdd(x, b0, c11a); if (TColumns.Value > 1) c11b = TOps.MultiplyAdd(x, b1, c11b); }
                    if (TRows.Value > 12) { x = TOps.Broadcast(*(float*)(a9 + s3)); c12a = TOps.MultiplyAdd(x, b0, c12a); if (TColumns.Value > 1) c12b = TOps.MultiplyAdd(x, b1, c12b); }
                    if (TRows.Value > 13) { x = TOps.Broadcast(*(float*)(a9 + s1 * 4)); c13a = TOps.MultiplyAdd(x, b0, c13a); if (TColumns.Value > 1) c13b = TOps.MultiplyAdd(x, b1, c13b); }
                    a += aInner;
                    b += rowBytes;
                }
                while (--step != 0);

                aMiddle += t->AMiddle * sizeof(float);
                bMiddle += t->BMiddle * sizeof(float);
            }
            while (--middle != 0);
            aOuter += t->AOuter * sizeof(float);
            bOuter += t->BOuter * sizeof(float);
        }
        while (--outer != 0);

        // Two blocks, because a branch at each store cost 3 to 5 % in tiles of 64 steps.
        if (t->NonTemporal)
        {
            float* row = cTile;
            nint next = t->CRow;
            if (TRows.Value > 0) { TOps.StoreNonTemporal(c0a, row); if (TColumns.Value > 1) TOps.StoreNonTemporal(c0b, row + TOps.Count); if (TColumns.Value > 2) TOps.StoreNonTemporal(c0c, row + 2 * TOps.Count); }
            if (TRows.Value > 1) { row += next; TOps.StoreNonTemporal(c1a, row); if (TColumns.Value > 1) TOps.StoreNonTemporal(c1b, row + TOps.Count); if (TColumns.Value > 2) TOps.StoreNonTemporal(c1c, row + 2 * TOps.Count); }
            if (TRows.Value > 2) { row += next; TOps.StoreNonTemporal(c2a, row); if (TColumns.Value > 1) TOps.StoreNonTemporal(c2b, row + TOps.Count); if (TColumns.Value > 2) TOps.StoreNonTemporal(c2c, row + 2 * TOps.Count); }
            if (TRows.Value > 3) { row += next; TOps.StoreNonTemporal(c3a, row); if (TColumns.Value > 1) TOps.StoreNonTemporal(c3b, row + TOps.Count); if (TColumns.Value > 2) TOps.StoreNonTemporal(c3c, row + 2 * TOps.Count); }
            if (TRows.Value > 4) { row += next; TOps.StoreNonTemporal(c4a, row); if (TColumns.Value > 1) TOps.StoreNonTemporal(c4b, row + TOps.Count); }
            if (TRows.Value > 5) { row += next; TOps.StoreNonTemporal(c5a, row); if (TColumns.Value > 1) TOps.StoreNonTemporal(c5b, row + TOps.Count); }
            if (TRows.Value > 6) { row += next; TOps.StoreNonTemporal(c6a, row); if (TColumns.Value > 1) TOps.StoreNonTemporal(c6b, row + TOps.Count); }
            if (TRows.Value > 7) { row += next; TOps.StoreNonTemporal(c7a, row); if (TColumns.Value > 1) TOps.StoreNonTemporal(c7b, row + TOps.Count); }
            if (TRows.Value > 8) { row += next; TOps.StoreNonTemporal(c8a, row); if (TColumns.Value > 1) TOps.StoreNonTemporal(c8b, row + TOps.Count); }
            if (TRows.Value > 9) { row += next; TOps.StoreNonTemporal(c9a, row); if (TColumns.Value > 1) TOps.StoreNonTemporal(c9b, row + TOps.Count); }
            if (TRows.Value > 10) { row += next; TOps.StoreNonTemporal(c10a, row); if (TColumns.Value > 1) TOps.StoreNonTemporal(c10b, row + TOps.Count); }
            if (TRows.Value > 11) { row += next; TOps.StoreNonTemporal(c11a, row); if (TColumns.Value > 1) TOps.StoreNonTemporal(c11b, row + TOps.Count); }
            if (TRows.Value > 12) { row += next; TOps.StoreNonTemporal(c12a, row); if (TColumns.Value > 1) TOps.StoreNonTemporal(c12b, row + TOps.Count); }
            if (TRows.Value > 13) { row += next; TOps.StoreNonTemporal(c13a, row); if (TColumns.Value > 1) TOps.StoreNonTemporal(c13b, row + TOps.Count); }
        }
        else
        {
            float* row = cTile;
            nint next = t->CRow;
            if (TRows.Value > 0) { TOps.Store(c0a, row); if (TColumns.Value > 1) TOps.Store(c0b, row + TOps.Count); if (TColumns.Value > 2) TOps.Store(c0c, row + 2 * TOps.Count); }
            if (TRows.Value > 1) { row += next; TOps.Store(c1a, row); if (TColumns.Value > 1) TOps.Store(c1b, row + TOps.Count); if (TColumns.Value > 2) TOps.Store(c1c, row + 2 * TOps.Count); }
            if (TRows.Value > 2) { row += next; TOps.Store(c2a, row); if (TColumns.Value > 1) TOps.Store(c2b, row + TOps.Count); if (TColumns.Value > 2) TOps.Store(c2c, row + 2 * TOps.Count); }
            if (TRows.Value > 3) { row += next; TOps.Store(c3a, row); if (TColumns.Value > 1) TOps.Store(c3b, row + TOps.Count); if (TColumns.Value > 2) TOps.Store(c3c, row + 2 * TOps.Count); }
            if (TRows.Value > 4) { row += next; TOps.Store(c4a, row); if (TColumns.Value > 1) TOps.Store(c4b, row + TOps.Count); }
            if (TRows.Value > 5) { row += next; TOps.Store(c5a, row); if (TColumns.Value > 1) TOps.Store(c5b, row + TOps.Count); }
            if (TRows.Value > 6) { row += next; TOps.Store(c6a, row); if (TColumns.Value > 1) TOps.Store(c6b, row + TOps.Count); }
            if (TRows.Value > 7) { row += next; TOps.Store(c7a, row); if (TColumns.Value > 1) TOps.Store(c7b, row + TOps.Count); }
            if (TRows.Value > 8) { row += next; TOps.Store(c8a, row); if (TColumns.Value > 1) TOps.Store(c8b, row + TOps.Count); }
            if (TRows.Value > 9) { row += next; TOps.Store(c9a, row); if (TColumns.Value > 1) TOps.Store(c9b, row + TOps.Count); }
            if (TRows.Value > 10) { row += next; TOps.Store(c10a, row); if (TColumns.Value > 1) TOps.Store(c10b, row + TOps.Count); }
            if (TRows.Value > 11) { row += next; TOps.Store(c11a, row); if (TColumns.Value > 1) TOps.Store(c11b, row + TOps.Count); }
            if (TRows.Value > 12) { row += next; TOps.Store(c12a, row); if (TColumns.Value > 1) TOps.Store(c12b, row + TOps.Count); }
            if (TRows.Value > 13) { row += next; TOps.Store(c13a, row); if (TColumns.Value > 1) TOps.Store(c13b, row + TOps.Count); }
        }

        // A jump instead of one more level of loops, which would be indented too far.
        if (--tiles == 0) return;
        aTile += t->ATile;
        cTile += t->CTile;
        goto NextTile;
    }

    /// <summary>The left operand of a row, <paramref name="step"/> steps on.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Left(byte* a, nint s1, nint s3, nint s5, nint aInner, int row, int step)
    {
        byte* at = TUnitSteps.Value == 1
            ? a + row switch { 0 => 0, 1 => s1, 2 => s1 * 2, 3 => s3, 4 => s1 * 4, _ => s5 } + step * sizeof(float)
            : a + step * aInner + row * sizeof(float);
        return TOps.Broadcast(*(float*)at);
    }
}
