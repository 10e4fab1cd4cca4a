// The product of a tile on tensor cores whose operands lie in global memory as bf16: copies that run by themselves (cp.async)
// bring them into shared memory, three steps of the reduction ahead of the one that is computed. A tile has Rows by Columns
// results and takes PipelineDepth indices of the reduction a step; four warps, two by two, each compute a quarter of it by
// mma.sync m16n8k16, accumulated in fp32. The reduction runs in one fixed order, the same for every tile.
//
// Everything moves in pieces of 8 numbers, 16 bytes: what a copy brings, and a row of a matrix as ldmatrix reads it. Channel
// counts are therefore multiples of 8 and tensors start on multiples of 16 bytes; the host sends the rest to product_tile.cuh.
#pragma once

#include "instructions.cuh"
#include "product_tile.cuh"

constexpr int PipelineThreads = 128, PipelineDepth = 32, PipelineStages = 4;

// One operand of a step in shared memory: `Lines` rows or columns of the tile. A piece runs along the depth or along the lines,
// as it does in global memory; ldmatrix turns the latter. In both, pieces change places within 128 bytes, so that the 8 lanes
// which a copy writes or a matrix is read by at one time meet all 32 banks.
template <int Lines, Runs Order>
struct PipelineOperand;

template <int Lines>
struct PipelineOperand<Lines, Runs::AlongDepth>
{
    static constexpr bool Transposed = false;
    static constexpr int Bytes = Lines * PipelineDepth * 2;

    // Depths 8 * piece and the next seven of a line; rows of 64 bytes, two to 128.
    __device__ static __forceinline__ int place(int line, int piece) { return line * 64 + (piece ^ line / 2 % 4) * 16; }

    // Each thread copies one piece of Lines / 32 lines.
    __device__ static __forceinline__ int copied_line() { return static_cast<int>(threadIdx.x) / 4; }
    __device__ static __forceinline__ int copied_depth() { return static_cast<int>(threadIdx.x) % 4 * 8; }
    __device__ static __forceinline__ int copied_place(int i) { return place(copied_line() + 32 * i, static_cast<int>(threadIdx.x) % 4); }

    // The row of an 8x8 matrix that the calling lane gives the address of, from the matrix's first line and depth; and the same
    // row of a matrix 16 lines i times and 16 depths k times further on.
    __device__ static __forceinline__ unsigned matrix_row(unsigned operand, int line, int depth)
    {
        return operand + place(line + threadIdx.x % 8, depth / 8);
    }

    __device__ static __forceinline__ unsigned further(unsigned row, int i, int k) { return (row ^ k * 32) + i * 1024; }
};

template <int Lines>
struct PipelineOperand<Lines, Runs::AlongLines>
{
    static constexpr bool Transposed = true;
    static constexpr int Bytes = Lines * PipelineDepth * 2;

    // Lines 8 * piece and the next seven of a depth.
    __device__ static __forceinline__ int place(int depth, int piece)
    {
        return depth * Lines * 2 + (piece ^ (depth % 2 * 4 + depth / 2 % 4)) * 16;
    }

    // Each thread copies Lines / 32 pieces of one depth, 32 lines apart.
    __device__ static __forceinline__ int copied_line() { return static_cast<int>(threadIdx.x) % 4 * 8; }
    __device__ static __forceinline__ int copied_depth() { return static_cast<int>(threadIdx.x) / 4; }
    __device__ static __forceinline__ int copied_place(int i) { return place(copied_depth(), static_cast<int>(threadIdx.x) % 4 + 4 * i); }

    __device__ static __forceinline__ unsigned matrix_row(unsigned operand, int line, int depth)
    {
        return operand + place(depth + threadIdx.x % 8, line / 8);
    }

    // Warps start at multiples of 32 or 64 lines, so that the bits of 2 * i are free in the piece's number.
    __device__ static __forceinline__ unsigned further(unsigned row, int i, int k) { return (row ^ i * 32) + k * Lines * 32; }
};

// A loader has copy(operand), which starts the calling thread's copies of the next step and moves on; zeros beyond the ends.
template <int Rows, int Columns, class Left, class Right>
struct Pipeline
{
    using LeftOperand = PipelineOperand<Rows, Left::Order>;
    using RightOperand = PipelineOperand<Columns, Right::Order>;

    static constexpr int StageBytes = LeftOperand::Bytes + RightOperand::Bytes;
    static constexpr int WarpRows = Rows / 2, WarpColumns = Columns / 2;
    static constexpr int RowMatrices = WarpRows / 16, ColumnMatrices = WarpColumns / 8;

    union alignas(1024) Shared
    {
        unsigned char stages[PipelineStages * StageBytes];
        float results[Rows * Columns];
    };

    // Results of one thread: of the matrix i, j of its warp, rows l / 4 and l / 4 + 8 and of each two columns.
    struct Sums
    {
        float at[RowMatrices][ColumnMatrices][4];
    };

    __device__ static __forceinline__ int warp_row() { return static_cast<int>(threadIdx.x) / 64 * WarpRows; }
    __device__ static __forceinline__ int warp_column() { return static_cast<int>(threadIdx.x) / 32 % 2 * WarpColumns; }

    // sums = left * right over `steps` steps. Shared memory is free afterwards.
    __device__ static __forceinline__ void multiply(Shared& shared, Left& left, Right& right, int steps, Sums& sums)
    {
#pragma unroll
        for (int i = 0; i < RowMatrices; i++)
        {
#pragma unroll
            for (int j = 0; j < ColumnMatrices; j++)
            {
#pragma unroll
                for (int l = 0; l < 4; l++) sums.at[i][j][l] = 0;
            }
        }

        if (steps == 0) return;
        const unsigned first = shared_address(&shared), end = first + PipelineStages * StageBytes;
        unsigned filled = first, stage = first;
#pragma unroll
        for (int step = 0; step < PipelineStages - 1; step++)
        {
            copy(left, right, filled, step < steps);
            filled += StageBytes;
        }

        wait_for_stage();
        const int matrix = static_cast<int>(threadIdx.x) % 32 / 8;
        const unsigned leftRow = LeftOperand::matrix_row(0, warp_row() + matrix % 2 * 8, matrix / 2 * 8);
        const unsigned rightRow = RightOperand::matrix_row(LeftOperand::Bytes, warp_column() + matrix / 2 * 8, matrix % 2 * 8);
        // Fragments are double, too: those of the next 16 depths travel while these are multiplied.
        Fragments even, odd;
        even.load(stage + leftRow, stage + rightRow, 0);
#pragma unroll 1
        for (int step = 0; step < steps; step++)
        {
            odd.load(stage + leftRow, stage + rightRow, 1);
            // Into the stage whose last fragments were read before the barrier.
            copy(left, right, filled, step + PipelineStages - 1 < steps);
            filled = filled + StageBytes == end ? first : filled + StageBytes;
            even.multiply(sums);
            wait_for_stage();
            stage = stage + StageBytes == end ? first : stage + StageBytes;
            if (step + 1 < steps) even.load(stage + leftRow, stage + rightRow, 0);
            odd.multiply(sums);
        }
    }

    // Hands the tile's results to `results` (see product_tile.cuh), Width columns at a time, by way of shared memory: neighbouring
    // threads have neighbouring columns there, and 16 bytes each to store. A thread's columns are first_column() and the next,
    // its rows every Groups-th from group() on.
    template <int Width>
    struct Results
    {
        static constexpr int Groups = PipelineThreads * Width / Columns;

        __device__ static __forceinline__ int group() { return static_cast<int>(threadIdx.x) / (Columns / Width); }
        __device__ static __forceinline__ int first_column() { return static_cast<int>(threadIdx.x) % (Columns / Width) * Width; }

        template <class Use>
        __device__ static __forceinline__ void store(
            Shared& shared, const Sums& sums, Use& results, int firstRow, int rows, int firstColumn, int columns)
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
                    const Vector<float, 4> four = load_vector<4>(&shared.results[result_place(row, first_column() + i)]);
#pragma unroll
                    for (int j = 0; j < 4; j++) lanes.at[i + j] = four.at[j];
                }

                results.store(results.place(firstRow + row), column, lanes);
            }
        }
    };

private:
    struct Fragments
    {
        unsigned left[RowMatrices][4], right[ColumnMatrices / 2][4];

        __device__ __forceinline__ void load(unsigned leftRow, unsigned rightRow, int k)
        {
#pragma unroll
            for (int j = 0; j < ColumnMatrices / 2; j++) ldmatrix<RightOperand::Transposed>(right[j], RightOperand::further(rightRow, j, k));
#pragma unroll
            for (int i = 0; i < RowMatrices; i++) ldmatrix<LeftOperand::Transposed>(left[i], LeftOperand::further(leftRow, i, k));
        }

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

    // A group a step, if only an empty one, so that the count of groups says which step has arrived.
    __device__ static __forceinline__ void copy(Left& left, Right& right, unsigned stage, bool real)
    {
        if (real)
        {
            left.copy(stage);
            right.copy(stage + LeftOperand::Bytes);
        }

        cp_async_commit_group();
    }

    // The oldest step that has not been waited for is in shared memory, and all threads are done with the one before it.
    __device__ static __forceinline__ void wait_for_stage()
    {
        cp_async_wait_group<PipelineStages - 2>();
        __syncthreads();
    }

    __device__ static __forceinline__ void share(Shared& shared, const Sums& sums)
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
                        &shared.results[result_place(row, column)],
                        Vector<float, 2>{{sums.at[i][j][2 * half], sums.at[i][j][2 * half + 1]}});
                }
            }
        }

        __syncthreads();
    }

    // Four floats at a time change places, so that neither the pairs of 4 rows that half a warp stores nor the fours of 8 lanes,
    // each 4 or 8 columns further on, share a bank.
    __device__ static __forceinline__ int result_place(int row, int column)
    {
        const int four = column / 4;
        return row * Columns + (four ^ four / 8 % 2 ^ row % 4 * 2) * 4 + column % 4;
    }
};
