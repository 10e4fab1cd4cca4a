// One block of 128 threads computes a tile of 128 rows by 64 columns of a matrix product in binary32, 16 steps of the
// reduction at a time. Operands come from loaders, which gather (convolutions) or make (mirror noise) them: an implicit
// GEMM, nothing is laid out in global memory first.
//
// The tile in shared memory is double: a step's numbers travel from global memory to registers while the step before is
// computed, and one barrier a step is enough. A thread owns rows {4i..4i+3, 64+4i..} and columns {4j..4j+3, 32+4j..}, so
// that the lanes of a warp read 4 and 8 distinct neighbouring 16-byte words: no bank conflicts. The reduction runs in one
// fixed order.
#pragma once

#include "shapes.cuh"

constexpr int TileRows = 128, TileColumns = 64, TileDepth = 16, TileThreads = 128;

// Four floats more than a tile has rows: the stores of a transposing loader then meet 2 to a bank instead of 4.
constexpr int LeftPitch = TileRows + 4, RightPitch = TileColumns + 4;

struct ProductTile
{
    float left[2][TileDepth][LeftPitch];
    float right[2][TileDepth][RightPitch];
};

// Where the calling thread's 8x8 results lie in the tile.
__device__ __forceinline__ int tile_row(int i) { return static_cast<int>(threadIdx.x) / 8 * 4 + i % 4 + i / 4 * (TileRows / 2); }
__device__ __forceinline__ int tile_column(int j) { return static_cast<int>(threadIdx.x) % 8 * 4 + j % 4 + j / 4 * (TileColumns / 2); }

// sums = left * right over the reduction indices first to end. A loader has fetch(), which reads its share of the next 16
// indices into registers and moves on, and store(stage), which puts them into shared memory, zeros beyond the end.
template <class Left, class Right>
__device__ __forceinline__ void multiply_tile(ProductTile& tile, Left& left, Right& right, int first, int end, float (&sums)[8][8])
{
#pragma unroll
    for (int i = 0; i < 8; i++)
    {
#pragma unroll
        for (int j = 0; j < 8; j++) sums[i][j] = 0;
    }

    if (first >= end) return;
    left.fetch();
    right.fetch();
    left.store(tile.left[0]);
    right.store(tile.right[0]);
    __syncthreads();
    int stage = 0;
    for (int depth = first; depth < end; depth += TileDepth)
    {
        const bool more = depth + TileDepth < end;
        if (more)
        {
            left.fetch();
            right.fetch();
        }

#pragma unroll
        for (int kk = 0; kk < TileDepth; kk++)
        {
            const Float4 a0 = load4(&tile.left[stage][kk][tile_row(0)]), a1 = load4(&tile.left[stage][kk][tile_row(4)]);
            const Float4 b0 = load4(&tile.right[stage][kk][tile_column(0)]), b1 = load4(&tile.right[stage][kk][tile_column(4)]);
#pragma unroll
            for (int i = 0; i < 8; i++)
            {
                const float a = i < 4 ? a0.at[i] : a1.at[i - 4];
#pragma unroll
                for (int j = 0; j < 8; j++) sums[i][j] = fmaf(a, j < 4 ? b0.at[j] : b1.at[j - 4], sums[i][j]);
            }
        }

        if (!more) break;
        stage ^= 1;
        left.store(tile.left[stage]);
        right.store(tile.right[stage]);
        __syncthreads();
    }
}
