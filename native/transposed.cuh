// Walks a tap of the forward layout [C][K] and of the feedback layout [K][C] together. A block takes a square of 32 by 32:
// it reads the forward square along K, turns it in shared memory, and visits the feedback square along C, so that both sides
// are read and written in whole lines.
#pragma once

#include "numbers.cuh"

constexpr int SquareSide = 32, SquareRows = 8, SquareThreads = SquareSide * SquareRows;

struct Square
{
    // One float more than the side: the transposed reads then meet different banks.
    float at[SquareSide][SquareSide + 1];
};

struct TransposedShape
{
    int taps, C, K;
};

// Which square of the tap's forward layout a block takes.
struct SquarePlace
{
    int k, c, tap;
};

// Calls read(i), whose value is put into the square, for each place i of the forward layout, and then visit(j, value) for
// each place j of the feedback layout.
template <class Read, class Visit>
__device__ __forceinline__ void walk_transposed(Square& square, const SquarePlace& place, int C, int K, const Read& read, const Visit& visit)
{
    const int lane = threadIdx.x % SquareSide, row = threadIdx.x / SquareSide;
    const int firstK = place.k * SquareSide, firstC = place.c * SquareSide;
    const long long tap = static_cast<long long>(place.tap) * C * K;
    for (int c = firstC + row; c < firstC + SquareSide && c < C; c += SquareRows)
    {
        if (firstK + lane < K) square.at[c - firstC][lane] = read(tap + static_cast<long long>(c) * K + firstK + lane);
    }

    __syncthreads();
    for (int k = firstK + row; k < firstK + SquareSide && k < K; k += SquareRows)
    {
        if (firstC + lane < C) visit(tap + static_cast<long long>(k) * C + firstC + lane, square.at[lane][k - firstK]);
    }
}

// The same for the one tensor of a launch: a grid of squares along K, along C, and taps.
template <class Read, class Visit>
__device__ __forceinline__ void walk_transposed(Square& square, const TransposedShape& shape, const Read& read, const Visit& visit)
{
    const SquarePlace place = {static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z)};
    walk_transposed(square, place, shape.C, shape.K, read, visit);
}
