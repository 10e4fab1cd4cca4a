// Reads forward weights [R][S][C][K] and visits feedback weights [R][S][K][C] at the same elements. A block transposes a square of 32
// by 32 weights of one tap in shared memory, so that accesses to either layout are coalesced.
#pragma once

#include "numbers.cuh"

constexpr int SquareSide = 32, SquareRows = 8, SquareThreads = SquareSide * SquareRows;

struct Square
{
    // Rows are padded by one float, so that reads of a column have no bank conflicts.
    float at[SquareSide][SquareSide + 1];
};

struct TransposedShape
{
    int taps, C, K;
};

// The square of a tap's forward layout that a block takes.
struct SquarePlace
{
    int k, c, tap;
};

// Calls read(i) for each offset i of the forward layout, and visit(j, value) for the same weight's offset j of the feedback layout,
// with the value that was read.
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

// Stores a feedback weight, and its bf16 copy where there is one.
__device__ __forceinline__ void store_with_copy(float* b, bf16* copy, long long j, float value)
{
    b[j] = value;
    if (copy) store_number(copy + j, value);
}
