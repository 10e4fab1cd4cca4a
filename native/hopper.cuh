// Instructions of Hopper (sm_90a): mbarrier, which counts arrivals and bytes in shared memory; the TMA, which copies boxes of a
// tensor to shared memory; and wgmma, by which 128 threads multiply tiles in shared memory. The emulated driver has its own
// versions (tests/emulated-driver/hopper.h).
#pragma once

#include "instructions.cuh"
#include "shapes.cuh"

// A CUtensorMap, which the host encodes: it describes a tensor in global memory and the box that one copy takes.
struct alignas(64) TensorMap
{
    unsigned long long opaque[16];
};

// An mbarrier. Its phase ends when all expected arrivals, and all bytes that arrivals have announced, have come.
using SharedBarrier = unsigned long long;

#if !defined(FEEDBACK_EMULATED_DEVICE)

// A kernel with `threads` threads in a block, of which at least `blocks` blocks fit on a multiprocessor. The arguments begin with
// the tensor maps. `maps` is their address in the parameter space: the TMA must not read them from a copy on the stack.
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

// Makes barriers that this thread has initialised visible to the TMA. The other threads of the block need a __syncthreads.
__device__ __forceinline__ void fence_barrier_init()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ __forceinline__ void barrier_arrive(SharedBarrier* barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(shared_address(barrier)) : "memory");
}

// Arrives, and adds to the bytes of the TMA that the phase waits for.
__device__ __forceinline__ void barrier_arrive_expect_tx(SharedBarrier* barrier, int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(shared_address(barrier)), "r"(bytes) : "memory");
}

// Waits until the phase of this parity has ended. The first phase has parity 0; the one before it counts as ended.
__device__ __forceinline__ void barrier_wait(SharedBarrier* barrier, unsigned parity)
{
    unsigned ended;
    do
    {
        asm volatile("{ .reg .pred ended; mbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2; selp.u32 %0, 1, 0, ended; }"
                     : "=r"(ended) : "r"(shared_address(barrier)), "r"(parity) : "memory");
    } while (!ended);
}

// A barrier for `Threads` threads of a block; the other threads take no part.
template <int Threads>
__device__ __forceinline__ void named_barrier_sync()
{
    asm volatile("bar.sync 1, %0;" :: "n"(Threads) : "memory");
}

__device__ __forceinline__ void tensor_map_prefetch(const TensorMap* map)
{
    asm volatile("prefetch.tensormap [%0];" :: "l"(map) : "memory");
}

// Starts a copy of the box that begins at these indices, innermost first. Its bytes count at the barrier. Elements outside the
// tensor are filled with zeros, and count as well.
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

// A value that is the same in all lanes of a warp, as the compiler can see: what follows from it is kept in uniform registers. All
// lanes call it.
__device__ __forceinline__ int warp_uniform(int value)
{
    int first;
    asm volatile("shfl.sync.idx.b32 %0, %1, 0, 31, 0xFFFFFFFF;" : "=r"(first) : "r"(value));
    return first;
}

// Needed before the first wgmma on registers that the threads have written.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ __forceinline__ void wgmma_commit_group() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits until at most `Left` committed groups have not ended. The sums may be read after a wait with Left = 0.
template <int Left, int Count>
__device__ __forceinline__ void wgmma_wait_group(float (&sums)[Count])
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(Left) : "memory");
    // The compiler does not know that the wait concerns the sums: this keeps it from moving their uses before the wait.
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

// sums += left * right, for 64 rows, Columns columns and 16 depths of the reduction, by the 128 threads of a warpgroup. Thread t has
// row t / 32 * 16 + t % 32 / 4 + 8 h and column 8 j + 2 (t % 4) + c in sums[4 j + 2 h + c]. Operands are given by descriptors (see
// hopper_product.cuh). In a K-major tile the depths of one row (or column) are contiguous, in an MN-major tile the rows (or
// columns) of one depth.
template <int Columns, bool LeftMnMajor, bool RightMnMajor>
__device__ __forceinline__ void wgmma_bf16(float (&sums)[Columns / 2], unsigned long long left, unsigned long long right)
{
    static_assert(Columns == 64 || Columns == 128 || Columns == 256, "wgmma is written out for these widths");
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
