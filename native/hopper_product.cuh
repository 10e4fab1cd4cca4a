// The warp-specialised tile product on Hopper. A producer warp, of which one thread works, has the TMA copy bf16 tiles into a ring
// of stages in shared memory. Two consumer warpgroups multiply them by wgmma and accumulate in registers. Two barriers guard each
// stage: `full` completes when its bytes have arrived, `empty` when all consumer warps have finished reading it.
//
// The TMA writes a tile with the 128-byte swizzle: rows of 128 bytes (64 bf16), in which the index of each 16-byte part is XORed
// with the row modulo 8, so that neither 8 rows nor 8 parts of a row conflict in their banks.
#pragma once

#include "gather.cuh"
#include "hopper.cuh"

constexpr int BoxWidth = 64;                    // bf16 elements in a row of a tile: the 128 bytes of the swizzle
constexpr int StepDepth = 16;                   // depths of the reduction in one wgmma
constexpr int GroupThreads = 128, GroupRows = 64;  // threads of a warpgroup, and rows of its results
constexpr int Groups = 2, ProductThreads = Groups * GroupThreads, HopperThreads = ProductThreads + 32;
constexpr int ProductWarps = ProductThreads / 32;
constexpr int HopperRows = Groups * GroupRows;  // rows of the tile of a block

// With 128 columns and 3 stages a block takes 100 KB of shared memory, so that two blocks fit on a multiprocessor: one can store
// while the other multiplies.
template <int Columns>
constexpr int StagesOf = Columns == 128 ? 3 : 4;

// Tensor maps of the input pixels. A convolution of stride 2 reads every second pixel of every second row under a tap. Each of the four
// classes of such pixels is a tensor of its own, whose rows and pixels are two apart in memory, and in it the pixels of a box are
// neighbours, as at stride 1. Padding lies outside of it on all sides.
constexpr int InputPlanes = 4;

struct PlanePlace
{
    int map, row, column;
};

// Where a pixel of the input is, which may lie in the padding: row -1 is the odd row before the first.
__device__ __forceinline__ PlanePlace plane_of(int planes, int row, int column)
{
    if (planes == 1) return {0, row, column};
    return {(row & 1) * 2 + (column & 1), row >> 1, column >> 1};
}

// Has to start on a multiple of 1024 bytes, the period of the swizzle.
template <int Rows>
struct SwizzledTile
{
    bf16 at[Rows][BoxWidth];
};

// An MN-major operand of more than 64 columns consists of tiles of 64 rows of the reduction by 64 columns, one after the other.
constexpr int BoxBytes = sizeof(SwizzledTile<BoxWidth>);

// The matrix descriptor of a tile: start address, leading and stride byte offset, all in units of 16 bytes, and the swizzle. The
// stride offset is the distance from eight rows to the next eight, 1024 bytes. In an MN-major tile the leading offset is the
// distance from 64 columns to the next 64, `nextTile`; in a K-major tile it is not used.
__device__ __forceinline__ unsigned long long tile_descriptor(const void* tile, int nextTile)
{
    constexpr unsigned long long eightRows = 1024, swizzle128 = 1;
    return (shared_address(tile) >> 4 & 0x3FFF) | static_cast<unsigned long long>(nextTile >> 4 & 0x3FFF) << 16
           | (eightRows >> 4) << 32 | swizzle128 << 62;
}

// The descriptor of the 16 depths of a step: in a K-major tile 32 bytes further along the rows, in an MN-major one 16 rows down.
template <bool MnMajor>
__device__ __forceinline__ unsigned long long step_of(unsigned long long descriptor, int step)
{
    constexpr int bytes = MnMajor ? StepDepth * BoxWidth * static_cast<int>(sizeof(bf16)) : StepDepth * static_cast<int>(sizeof(bf16));
    return descriptor + static_cast<unsigned long long>(step * (bytes >> 4));
}

template <int Columns>
struct ProductRing
{
    static constexpr int Stages = StagesOf<Columns>;

    SwizzledTile<HopperRows> left[Stages];
    SwizzledTile<Columns> right[Stages];
};

template <int Stages>
struct RingBarriers
{
    SharedBarrier full[Stages], empty[Stages];

    // Called by one thread, before a barrier of the block.
    __device__ __forceinline__ void start()
    {
#pragma unroll
        for (int i = 0; i < Stages; i++)
        {
            barrier_init(&full[i], 1);
            barrier_init(&empty[i], ProductWarps);
        }

        fence_barrier_init();
    }
};

// A stage of the ring, and the parity of the current round.
template <int Stages>
struct RingCursor
{
    int stage = 0;
    unsigned round = 0;

    __device__ __forceinline__ void advance()
    {
        if (++stage < Stages) return;
        stage = 0;
        round ^= 1;
    }
};

// Called by the producer: waits until the next stage is empty, and has its barrier expect `bytes` bytes.
template <int Stages>
__device__ __forceinline__ int claim_stage(RingBarriers<Stages>& barriers, RingCursor<Stages>& cursor, int bytes)
{
    const int stage = cursor.stage;
    barrier_wait(&barriers.empty[stage], cursor.round ^ 1);
    barrier_arrive_expect_tx(&barriers.full[stage], bytes);
    cursor.advance();
    return stage;
}

// Called by the consumers: sums = the products of `stages` stages of Steps times 16 depths each, in order. Steps is a constant
// because the compiler serialises wgmma instructions with a branch between them.
template <int Columns, bool LeftMnMajor, bool RightMnMajor, int Steps>
__device__ __forceinline__ void multiply_stages(
    ProductRing<Columns>& ring, RingBarriers<StagesOf<Columns>>& barriers, int stages, float (&sums)[Columns / 2])
{
    constexpr int leftStage = sizeof(ring.left[0]) >> 4, rightStage = sizeof(ring.right[0]) >> 4;
    // A warpgroup has 64 rows of the left tile: rows of the product, or depths of 64 columns where the operand is MN-major.
    // A wgmma takes descriptors from uniform registers.
    const int group = warp_uniform(static_cast<int>(threadIdx.x) / GroupThreads);
    const unsigned long long left = tile_descriptor(&ring.left[0].at[group * GroupRows], LeftMnMajor ? BoxBytes : 16);
    const unsigned long long right = tile_descriptor(&ring.right[0], RightMnMajor ? BoxBytes : 16);
    const bool elected = threadIdx.x % 32 == 0;
    RingCursor<StagesOf<Columns>> cursor;
    int before = -1;
#pragma unroll
    for (int i = 0; i < Columns / 2; i++) sums[i] = 0;
    for (int i = 0; i < stages; i++)
    {
        const int stage = cursor.stage;
        barrier_wait(&barriers.full[stage], cursor.round);
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < Steps; step++)
        {
            wgmma_bf16<Columns, LeftMnMajor, RightMnMajor>(
                sums, step_of<LeftMnMajor>(left + stage * leftStage, step), step_of<RightMnMajor>(right + stage * rightStage, step));
        }

        wgmma_commit_group();
        // The products of one stage stay in flight while the next is waited for; the stage before has been read and is released.
        wgmma_wait_group<1>(sums);
        if (before >= 0 && elected) barrier_arrive(&barriers.empty[before]);
        before = stage;
        cursor.advance();
    }

    wgmma_wait_group<0>(sums);
}

// Row and column, in the tile of the block, of the calling thread's sums.
__device__ __forceinline__ int hopper_row(int half) { return static_cast<int>(threadIdx.x) / 32 * 16 + static_cast<int>(threadIdx.x) % 32 / 4 + 8 * half; }
__device__ __forceinline__ int hopper_column(int j) { return 8 * j + static_cast<int>(threadIdx.x) % 4 * 2; }
