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

// Calls read(i) for each offset i of the forward layout, and visit(j, value) for the same weight's offset j of the feedback layout,
// with the value that was read.
template <class Read, class Visit>
__device__ __forceinline__ void walk_transposed(Square& square, const TransposedShape& shape, const Read& read, const Visit& visit)
{
    const int lane = threadIdx.x % SquareSide, row = threadIdx.x / SquareSide;
    const int firstK = blockIdx.x * SquareSide, firstC = blockIdx.y * SquareSide;
    const long long tap = static_cast<long long>(blockIdx.z) * shape.C * shape.K;
    for (int c = firstC + row; c < firstC + SquareSide && c < shape.C; c += SquareRows)
    {
        if (firstK + lane < shape.K) square.at[c - firstC][lane] = read(tap + static_cast<long long>(c) * shape.K + firstK + lane);
    }

    __syncthreads();
    for (int k = firstK + row; k < firstK + SquareSide && k < shape.K; k += SquareRows)
    {
        if (firstC + lane < shape.C) visit(tap + static_cast<long long>(k) * shape.C + firstC + lane, square.at[lane][k - firstK]);
    }
}

// Stores a feedback weight, and its bf16 copy where there is one.
__device__ __forceinline__ void store_with_copy(float* b, bf16* copy, long long j, float value)
{
    b[j] = value;
    if (copy) store_number(copy + j, value);
}
