// A multistage tile product on tensor cores. cp.async copies the bf16 operands from global to shared memory, three steps of the
// reduction ahead of the step that is multiplied. A tile has Rows by Columns results; a step takes PipelineDepth depths of the
// reduction. Four warps, two by two, each compute a quarter of the tile by mma.sync m16n8k16, accumulated in fp32. The order of
// the reduction is fixed and the same for every tile size.
//
// The unit of all copies is a piece: 8 elements, 16 bytes, also one row of a matrix for ldmatrix. Therefore channel counts have to
// be multiples of 8 and addresses multiples of 16; the host gives other convolutions to the kernels of product_tile.cuh.
#pragma once

#include "product_tile.cuh"
#include "result_tile.cuh"

constexpr int PipelineThreads = ResultThreads, PipelineDepth = 32, PipelineStages = 4;

// One operand of one stage in shared memory: Lines rows or columns of the tile. A piece has 8 depths of a line, or 8 lines of a
// depth, whichever is contiguous in global memory; ldmatrix transposes the latter. Both layouts swizzle their pieces within 128
// bytes, so that the 8 lanes that write copies or read a matrix at the same time use all 32 banks.
template <int Lines, Runs Order>
struct PipelineOperand;

template <int Lines>
struct PipelineOperand<Lines, Runs::AlongDepth>
{
    static constexpr bool Transposed = false;
    static constexpr int Bytes = Lines * PipelineDepth * 2;

    // The byte offset of a piece: depths 8 * piece to 8 * piece + 7 of a line. Rows have 64 bytes, so that two make 128.
    __device__ static __forceinline__ int place(int line, int piece) { return line * 64 + (piece ^ line / 2 % 4) * 16; }

    // Each thread copies the same piece of Lines / 32 lines.
    __device__ static __forceinline__ int copied_line() { return static_cast<int>(threadIdx.x) / 4; }
    __device__ static __forceinline__ int copied_depth() { return static_cast<int>(threadIdx.x) % 4 * 8; }
    __device__ static __forceinline__ int copied_place(int i) { return place(copied_line() + 32 * i, static_cast<int>(threadIdx.x) % 4); }

    // The address that the calling lane passes to ldmatrix, for a matrix that starts at this line and depth; and the same for the
    // matrix 16 * i lines and 16 * k depths further on.
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

    // The byte offset of a piece: lines 8 * piece to 8 * piece + 7 of a depth.
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

    // Warps start at multiples of 32 lines or more, so the bits of 2 * i are zero in the index of the piece.
    __device__ static __forceinline__ unsigned further(unsigned row, int i, int k) { return (row ^ i * 32) + k * Lines * 32; }
};

// A loader has copy(operand): it starts the calling thread's copies of the next step, with zeros outside the tensors, and advances.
template <int Rows, int Columns, class Left, class Right>
struct Pipeline : ResultTile<Rows, Columns>
{
    using LeftOperand = PipelineOperand<Rows, Left::Order>;
    using RightOperand = PipelineOperand<Columns, Right::Order>;

    static constexpr int StageBytes = LeftOperand::Bytes + RightOperand::Bytes;
    using ResultTile<Rows, Columns>::RowMatrices, ResultTile<Rows, Columns>::ColumnMatrices;
    using ResultTile<Rows, Columns>::warp_row, ResultTile<Rows, Columns>::warp_column;
    using typename ResultTile<Rows, Columns>::Sums;

    union alignas(1024) Shared
    {
        unsigned char stages[PipelineStages * StageBytes];
        float results[Rows * Columns];
    };

    // sums = left * right over `steps` steps. Shared memory may be reused afterwards.
    __device__ static __forceinline__ void multiply(Shared& shared, Left& left, Right& right, int steps, Sums& sums)
    {
        sums.clear();
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
        // Fragments are double-buffered as well: the next 16 depths are loaded while these are multiplied.
        Fragments even, odd;
        even.load(stage + leftRow, stage + rightRow, 0);
#pragma unroll 1
        for (int step = 0; step < steps; step++)
        {
            odd.load(stage + leftRow, stage + rightRow, 1);
            // Copies go into the stage whose last fragments were read before the barrier.
            copy(left, right, filled, step + PipelineStages - 1 < steps);
            filled = filled + StageBytes == end ? first : filled + StageBytes;
            even.multiply(sums);
            wait_for_stage();
            stage = stage + StageBytes == end ? first : stage + StageBytes;
            if (step + 1 < steps) even.load(stage + leftRow, stage + rightRow, 0);
            odd.multiply(sums);
        }
    }

private:
    struct Fragments : ResultTile<Rows, Columns>::Fragments
    {
        __device__ __forceinline__ void load(unsigned leftRow, unsigned rightRow, int k)
        {
#pragma unroll
            for (int j = 0; j < ColumnMatrices / 2; j++) ldmatrix<RightOperand::Transposed>(this->right[j], RightOperand::further(rightRow, j, k));
#pragma unroll
            for (int i = 0; i < RowMatrices; i++) ldmatrix<LeftOperand::Transposed>(this->left[i], LeftOperand::further(leftRow, i, k));
        }
    };

    // Every step commits a group, possibly an empty one, so that the number of groups tells which step has arrived.
    __device__ static __forceinline__ void copy(Left& left, Right& right, unsigned stage, bool real)
    {
        if (real)
        {
            left.copy(stage);
            right.copy(stage + LeftOperand::Bytes);
        }

        cp_async_commit_group();
    }

    // Afterwards the next step is in shared memory, and all threads have finished with the one before it.
    __device__ static __forceinline__ void wait_for_stage()
    {
        cp_async_wait_group<PipelineStages - 2>();
        __syncthreads();
    }
};
