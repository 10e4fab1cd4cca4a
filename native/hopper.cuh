// What Hopper (sm_90a) has beyond Ampere: barriers in shared memory that count bytes, the TMA, which copies boxes of a tensor
// there by itself, and wgmma, by which 128 threads multiply tiles that lie there. Here as functions; the emulated driver
// (tests/emulated-driver/hopper.h) has the same ones for the host.
#pragma once

#include "instructions.cuh"
#include "shapes.cuh"

// A CUtensorMap: a tensor in global memory and the box that one copy takes of it. The host fills it in.
struct alignas(64) TensorMap
{
    unsigned long long opaque[16];
};

// Counts arrivals and, where they announce some, bytes; when both are complete its phase ends and the next begins.
using SharedBarrier = unsigned long long;

#if !defined(FEEDBACK_EMULATED_DEVICE)

// A kernel of at most so many threads a block, of which so many blocks share a multiprocessor. The TMA reads its maps from
// where the arguments lie, never from a copy on the stack: `maps` is the address of the arguments themselves, which begin
// with the maps.
#define HOPPER_KERNEL(threads, blocks, name, Arguments)                                                                    \
    __device__ __forceinline__ void name##_body(const Arguments& arguments, const TensorMap* maps);                        \
    extern "C" __global__ void HOPPER_BOUNDS(threads, blocks) name(const Arguments arguments)                              \
    {                                                                                                                      \
        const TensorMap* maps;                                                                                             \
        asm("{ .reg .u64 place; mov.u64 place, " #name "_param_0; cvta.param.u64 %0, place; }" : "=l"(maps));             \
        name##_body(arguments, maps);                                                                                      \
    }                                                                                                                      \
    __device__ __forceinline__ void name##_body(const Arguments& arguments, const TensorMap* maps)

#if defined(__clang__) && !defined(__NVCC__)
#define HOPPER_BOUNDS(threads, blocks) __attribute__((launch_bounds(threads, blocks)))
#else
#define HOPPER_BOUNDS(threads, blocks) __launch_bounds__(threads, blocks)
#endif

__device__ __forceinline__ void barrier_init(SharedBarrier* barrier, int arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(shared_address(barrier)), "r"(arrivals) : "memory");
}

// Makes the barriers that this thread has set up known to the TMA; the block's other threads take a __syncthreads.
__device__ __forceinline__ void fence_barrier_init()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ __forceinline__ void barrier_arrive(SharedBarrier* barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(shared_address(barrier)) : "memory");
}

// Arrives, and lets the phase wait for so many bytes of the TMA.
__device__ __forceinline__ void barrier_arrive_expect_tx(SharedBarrier* barrier, int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(shared_address(barrier)), "r"(bytes) : "memory");
}

// Waits until the phase of that parity has ended: the first phase has parity 0, and the one before it counts as ended.
__device__ __forceinline__ void barrier_wait(SharedBarrier* barrier, unsigned parity)
{
    unsigned ended;
    do
    {
        asm volatile("{ .reg .pred ended; mbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2; selp.u32 %0, 1, 0, ended; }"
                     : "=r"(ended) : "r"(shared_address(barrier)), "r"(parity) : "memory");
    } while (!ended);
}

// A barrier of the first `Threads` threads of a block, whatever the others do.
template <int Threads>
__device__ __forceinline__ void named_barrier_sync()
{
    asm volatile("bar.sync 1, %0;" :: "n"(Threads) : "memory");
}

__device__ __forceinline__ void tensor_map_prefetch(const TensorMap* map)
{
    asm volatile("prefetch.tensormap [%0];" :: "l"(map) : "memory");
}

// Copies a box that begins at these indices, innermost first, and counts its bytes at the barrier. Elements outside the
// tensor come as zeros, and count.
__device__ __forceinline__ void tma_load_box(void* shared, const TensorMap* map, SharedBarrier* barrier, int i0, int i1, int i2)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];"
                 :: "r"(shared_address(shared)), "l"(map), "r"(shared_address(barrier)), "r"(i0), "r"(i1), "r"(i2) : "memory");
}

__device__ __forceinline__ void tma_load_box(void* shared, const TensorMap* map, SharedBarrier* barrier, int i0, int i1, int i2, int i3)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];"
                 :: "r"(shared_address(shared)), "l"(map), "r"(shared_address(barrier)), "r"(i0), "r"(i1), "r"(i2), "r"(i3) : "memory");
}

// Before the first product: what the threads have done to their sums is done.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ __forceinline__ void wgmma_commit_group() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits until all but the last so many commits are computed. The sums may be used when none is left.
template <int Left, int Count>
__device__ __forceinline__ void wgmma_wait_group(float (&sums)[Count])
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(Left) : "memory");
    // Neither read nor written before the wait, which the compiler does not know to have anything to do with them.
#pragma unroll
    for (int i = 0; i < Count; i++) asm volatile("" : "+f"(sums[i]) :: "memory");
}

#define OPERANDS_10(tens) "%" #tens "0, %" #tens "1, %" #tens "2, %" #tens "3, %" #tens "4, %" #tens "5, %" #tens "6, %" #tens "7, %" #tens "8, %" #tens "9"
#define OPERANDS_32 OPERANDS_10() ", " OPERANDS_10(1) ", " OPERANDS_10(2) ", %30, %31"
#define OPERANDS_64                                                                                              \
    OPERANDS_10() ", " OPERANDS_10(1) ", " OPERANDS_10(2) ", " OPERANDS_10(3) ", " OPERANDS_10(4) ", " OPERANDS_10(5) \
    ", %60, %61, %62, %63"
#define OPERANDS_128                                                                                             \
    OPERANDS_10() ", " OPERANDS_10(1) ", " OPERANDS_10(2) ", " OPERANDS_10(3) ", " OPERANDS_10(4) ", " OPERANDS_10(5) \
    ", " OPERANDS_10(6) ", " OPERANDS_10(7) ", " OPERANDS_10(8) ", " OPERANDS_10(9) ", " OPERANDS_10(10) ", " OPERANDS_10(11) \
    ", %120, %121, %122, %123, %124, %125, %126, %127"
#define SUMS_8(i)                                                                                               \
    "+f"(sums[i]), "+f"(sums[i + 1]), "+f"(sums[i + 2]), "+f"(sums[i + 3]), "+f"(sums[i + 4]), "+f"(sums[i + 5]), \
    "+f"(sums[i + 6]), "+f"(sums[i + 7])
#define SUMS_32(i) SUMS_8(i), SUMS_8(i + 8), SUMS_8(i + 16), SUMS_8(i + 24)

// sums += left * right for 64 lines of the left tile, `Columns` of the right one and 16 steps of the reduction, by the 128
// threads of a warpgroup: thread t holds of row t / 32 * 16 + t % 32 / 4 + 8 h the columns 8 j + 2 (t % 4) + c in
// sums[4 j + 2 h + c]. A tile is told by its descriptor (see hopper_product.cuh); its neighbours in memory are steps of one
// line (K-major), or lines of one step (MN-major).
template <int Columns, bool LeftMnMajor, bool RightMnMajor>
__device__ __forceinline__ void wgmma_bf16(float (&sums)[Columns / 2], unsigned long long left, unsigned long long right)
{
    static_assert(Columns == 64 || Columns == 128 || Columns == 256, "the widths that are written out");
    if constexpr (Columns == 64)
        asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" OPERANDS_32 "}, %32, %33, 1, 1, 1, %34, %35;"
                     : SUMS_32(0) : "l"(left), "l"(right), "n"(LeftMnMajor ? 1 : 0), "n"(RightMnMajor ? 1 : 0));
    else if constexpr (Columns == 128)
        asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" OPERANDS_64 "}, %64, %65, 1, 1, 1, %66, %67;"
                     : SUMS_32(0), SUMS_32(32) : "l"(left), "l"(right), "n"(LeftMnMajor ? 1 : 0), "n"(RightMnMajor ? 1 : 0));
    else
        asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" OPERANDS_128 "}, %128, %129, 1, 1, 1, %130, %131;"
                     : SUMS_32(0), SUMS_32(32), SUMS_32(64), SUMS_32(96)
                     : "l"(left), "l"(right), "n"(LeftMnMajor ? 1 : 0), "n"(RightMnMajor ? 1 : 0));
}

#undef OPERANDS_10
#undef OPERANDS_32
#undef OPERANDS_64
#undef OPERANDS_128
#undef SUMS_8
#undef SUMS_32

#endif
