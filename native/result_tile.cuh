// A tile of results that four warps, two by two, accumulate in fp32 in the layout of mma.sync m16n8k16, and how it is stored.
#pragma once

#include "instructions.cuh"

constexpr int ResultThreads = 128;

template <int Rows, int Columns>
struct ResultTile
{
    static constexpr int WarpRows = Rows / 2, WarpColumns = Columns / 2;
    static constexpr int RowMatrices = WarpRows / 16, ColumnMatrices = WarpColumns / 8;

    // The results of one thread: of matrix i, j of its warp two columns of each of the rows lane / 4 and lane / 4 + 8.
    struct Sums
    {
        float at[RowMatrices][ColumnMatrices][4];

        __device__ __forceinline__ void clear()
        {
#pragma unroll
            for (int i = 0; i < RowMatrices; i++)
            {
#pragma unroll
                for (int j = 0; j < ColumnMatrices; j++)
                {
#pragma unroll
                    for (int l = 0; l < 4; l++) at[i][j][l] = 0;
                }
            }
        }
    };

    // 16 depths of the operands: one fragment for each matrix of rows, and one for each two matrices of columns.
    struct Fragments
    {
        unsigned left[RowMatrices][4], right[ColumnMatrices / 2][4];

        __device__ __forceinline__ void multiply(Sums& sums) const
        {
#pragma unroll
            for (int i = 0; i < RowMatrices; i++)
            {
#pragma unroll
                for (int j = 0; j < ColumnMatrices; j++)
                {
                    float (&c)[4] = sums.at[i][j];
                    mma_bf16(c[0], c[1], c[2], c[3], left[i], right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1]);
                }
            }
        }
    };

    __device__ static __forceinline__ int warp_row() { return static_cast<int>(threadIdx.x) / 64 * WarpRows; }
    __device__ static __forceinline__ int warp_column() { return static_cast<int>(threadIdx.x) / 32 % 2 * WarpColumns; }

    // Passes the results of the tile to `results` (see store_results in product_tile.cuh), Width columns at a time. They are
    // exchanged through Rows * Columns floats of shared memory first, so that each thread stores 16 bytes and neighbouring threads
    // store neighbouring columns: Width columns from first_column() on, of the rows group(), group() + Groups, ...
    template <int Width>
    struct Results
    {
        static constexpr int Groups = ResultThreads * Width / Columns;

        __device__ static __forceinline__ int group() { return static_cast<int>(threadIdx.x) / (Columns / Width); }
        __device__ static __forceinline__ int first_column() { return static_cast<int>(threadIdx.x) % (Columns / Width) * Width; }

        template <class Use>
        __device__ static __forceinline__ void store(
            float* shared, const Sums& sums, Use& results, int firstRow, int rows, int firstColumn, int columns)
        {
            share(shared, sums);
            const int column = firstColumn + first_column();
            if (column >= columns) return;
            const int count = rows - firstRow < Rows ? rows - firstRow : Rows;
            for (int row = group(); row < count; row += Groups)
            {
                Lanes<Width> lanes;
#pragma unroll
                for (int i = 0; i < Width; i += 4)
                {
                    const Vector<float, 4> four = load_vector<4>(&shared[result_place(row, first_column() + i)]);
#pragma unroll
                    for (int j = 0; j < 4; j++) lanes.at[i + j] = four.at[j];
                }

                results.store(results.place(firstRow + row), column, lanes);
            }
        }
    };

private:
    __device__ static __forceinline__ void share(float* shared, const Sums& sums)
    {
        const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
        for (int i = 0; i < RowMatrices; i++)
        {
#pragma unroll
            for (int j = 0; j < ColumnMatrices; j++)
            {
#pragma unroll
                for (int half = 0; half < 2; half++)
                {
                    const int row = warp_row() + 16 * i + 8 * half + lane / 4, column = warp_column() + 8 * j + lane % 4 * 2;
                    store_vector(
                        &shared[result_place(row, column)],
                        Vector<float, 2>{{sums.at[i][j][2 * half], sums.at[i][j][2 * half + 1]}});
                }
            }
        }

        __syncthreads();
    }

    // A swizzle of 16-byte words without bank conflicts: half a warp stores pairs of floats in 4 rows, and 8 lanes load words that
    // are 4 or 8 columns apart.
    __device__ static __forceinline__ int result_place(int row, int column)
    {
        const int four = column / 4;
        return row * Columns + (four ^ four / 8 % 2 ^ row % 4 * 2) * 4 + column % 4;
    }
};
