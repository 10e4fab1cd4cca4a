// The product of a tile of bf16 operands on tensor cores: exact products, accumulated in fp32 (mma.sync m16n8k16).
#pragma once

#include "instructions.cuh"
#include "product_tile.cuh"

// Four warps, two by two, each with 64 rows by 32 columns of the tile: 4 by 4 results of mma.
struct TensorProduct
{
    using Number = bf16;

    static constexpr int Neighbours = 2;

    template <int Lines, Runs Order>
    struct Operand;

    // With these pitches (48 bytes, and 16 more than a multiple of 128) the 8 rows of a matrix lie in 8 different groups of banks.
    template <int Lines>
    struct Operand<Lines, Runs::AlongDepth>
    {
        alignas(16) bf16 at[Lines][TileDepth + 8];

        __device__ __forceinline__ void put_depths(int line, int depth, const Staged<bf16>& values) { values.store(&at[line][depth]); }

        // Lanes 8m to 8m + 7 load matrix m, which starts `lines` lines and `depths` depths from the given line.
        __device__ __forceinline__ void load(unsigned (&fragments)[4], int line, int lines, int depths) const
        {
            ldmatrix<false>(fragments, shared_address(&at[line + lines + threadIdx.x % 8][depths]));
        }
    };

    template <int Lines>
    struct Operand<Lines, Runs::AlongLines>
    {
        alignas(16) bf16 at[TileDepth][Lines + 8];

        __device__ __forceinline__ void put_lines(int line, int depth, const Staged<bf16>& values) { values.store(&at[depth][line]); }

        __device__ __forceinline__ void load(unsigned (&fragments)[4], int line, int lines, int depths) const
        {
            ldmatrix<true>(fragments, shared_address(&at[depths + threadIdx.x % 8][line + lines]));
        }
    };

    __device__ static __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % 32; }
    __device__ static __forceinline__ int warp_row() { return static_cast<int>(threadIdx.x) / 64 * 64; }
    __device__ static __forceinline__ int warp_column() { return static_cast<int>(threadIdx.x) / 32 % 2 * 32; }

    __device__ static __forceinline__ int row(int i) { return warp_row() + i / 2 * 16 + i % 2 * 8 + lane() / 4; }
    __device__ static __forceinline__ int column(int j) { return warp_column() + j / 2 * 8 + lane() % 4 * 2 + j % 2; }
    __device__ static __forceinline__ int group() { return warp_row() / 8 + lane() / 4; }

    __device__ static __forceinline__ int rows_of_group(int group, int bound)
    {
        // A group has the rows group / 8 * 64 + group % 8 + 8 * i.
        const int left = bound - group / 8 * 64 - group % 8;
        return left <= 0 ? 0 : left > 64 ? 8 : divide_up(left, 8);
    }

    template <class Left, class Right>
    __device__ static __forceinline__ void multiply(const Left& left, const Right& right, float (&sums)[8][8])
    {
        const int matrix = lane() / 8;
        unsigned b[2][4];
#pragma unroll
        for (int j = 0; j < 2; j++) right.load(b[j], warp_column() + 16 * j, matrix / 2 * 8, matrix % 2 * 8);
#pragma unroll
        for (int i = 0; i < 4; i++)
        {
            unsigned a[4];
            left.load(a, warp_row() + 16 * i, matrix % 2 * 8, matrix / 2 * 8);
#pragma unroll
            for (int j = 0; j < 4; j++)
            {
                mma_bf16(
                    sums[2 * i][2 * j], sums[2 * i][2 * j + 1], sums[2 * i + 1][2 * j], sums[2 * i + 1][2 * j + 1], a, b[j / 2][j % 2 * 2],
                    b[j / 2][j % 2 * 2 + 1]);
            }
        }
    }
};
