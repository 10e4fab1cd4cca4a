// The product of two streams of bf16 tiles on Hopper, warp-specialised: one thread of an extra warp keeps the TMA copying tiles
// into a ring in shared memory, two warpgroups multiply them by wgmma into sums that stay in registers. Barriers carry the
// ring: a stage is `full` when its bytes have arrived and `empty` when all warps have done with it.
//
// A tile in shared memory is what a TMA box of 64 bf16 by so many lines becomes with the 128-byte swizzle: rows of 128 bytes,
// whose eight 16-byte parts change places by the row's number modulo 8, so that neither 8 rows nor 8 columns share banks.
#pragma once

#include "gather.cuh"
#include "hopper.cuh"

constexpr int BoxWidth = 64;                    // bf16 in a row of a tile: the 128 bytes of the swizzle
constexpr int StepDepth = 16;                   // of the reduction, that one wgmma takes
constexpr int GroupThreads = 128, GroupRows = 64;  // a warpgroup, and the rows of its sums
constexpr int Groups = 2, ProductThreads = Groups * GroupThreads, HopperThreads = ProductThreads + 32;
constexpr int ProductWarps = ProductThreads / 32;
constexpr int HopperRows = Groups * GroupRows;  // of a block's tile

// With 128 columns a block takes 100 KB of shared memory, and two blocks share a multiprocessor: one stores while the other
// multiplies.
template <int Columns>
constexpr int StagesOf = Columns == 128 ? 3 : 4;

// Rows of 64 bf16, from a multiple of 1024 bytes on.
template <int Rows>
struct SwizzledTile
{
    bf16 at[Rows][BoxWidth];
};

// A tile of 64 rows, of which wider ones consist where the reduction runs down the rows.
constexpr int BoxBytes = sizeof(SwizzledTile<BoxWidth>);

// How a wgmma finds a tile: address, two distances and the swizzle, addresses in units of 16 bytes. Eight rows of a tile are
// 1024 bytes from the next eight, the stride offset; where the reduction runs down the rows (MN-major), lines beyond 64 are in
// the next tile, the leading offset ahead.
__device__ __forceinline__ unsigned long long tile_descriptor(const void* tile, int nextTile)
{
    constexpr unsigned long long eightRows = 1024, swizzle128 = 1;
    return (shared_address(tile) >> 4 & 0x3FFF) | static_cast<unsigned long long>(nextTile >> 4 & 0x3FFF) << 16
           | (eightRows >> 4) << 32 | swizzle128 << 62;
}

// Where a step of 16 of the reduction begins in a tile: along the rows of its lines, or 16 rows down.
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

    // By one thread, before a barrier of the block.
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

// A place in the ring, and the parity of the round that it is in.
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

// The producing thread's next stage, empty: the copies into it count at its barrier, which waits for so many bytes.
template <int Stages>
__device__ __forceinline__ int claim_stage(RingBarriers<Stages>& barriers, RingCursor<Stages>& cursor, int bytes)
{
    const int stage = cursor.stage;
    barrier_wait(&barriers.empty[stage], cursor.round ^ 1);
    barrier_arrive_expect_tx(&barriers.full[stage], bytes);
    cursor.advance();
    return stage;
}

// The multiplying threads' part: sums = the products of so many stages, each of so many steps of 16, in order. Steps are a
// constant: with a branch between two products the compiler has each waited for before the next.
template <int Columns, bool LeftMnMajor, bool RightMnMajor, int Steps>
__device__ __forceinline__ void multiply_stages(
    ProductRing<Columns>& ring, RingBarriers<StagesOf<Columns>>& barriers, int stages, float (&sums)[Columns / 2])
{
    constexpr int leftStage = sizeof(ring.left[0]) >> 4, rightStage = sizeof(ring.right[0]) >> 4;
    // A warpgroup's 64 lines are 64 rows of the left tile, be they its rows or the reduction's of 64 columns.
    const unsigned long long left = tile_descriptor(&ring.left[0].at[threadIdx.x / GroupThreads * GroupRows], LeftMnMajor ? BoxBytes : 16);
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
        // One stage's products are on their way while the next is waited for; only what is computed may be overwritten.
        wgmma_wait_group<1>(sums);
        if (before >= 0 && elected) barrier_arrive(&barriers.empty[before]);
        before = stage;
        cursor.advance();
    }

    wgmma_wait_group<0>(sums);
}

// Where a multiplying thread's sums lie in the block's tile.
__device__ __forceinline__ int hopper_row(int half) { return static_cast<int>(threadIdx.x) / 32 * 16 + static_cast<int>(threadIdx.x) % 32 / 4 + 8 * half; }
__device__ __forceinline__ int hopper_column(int j) { return 8 * j + static_cast<int>(threadIdx.x) % 4 * 2; }
