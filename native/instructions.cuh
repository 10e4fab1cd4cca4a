// Instructions of sm_80 that have no function in CUDA C: ldmatrix, mma.sync and cp.async. The emulated driver has its own versions
// (tests/emulated-driver/device.h).
#pragma once

#include "device.cuh"

#if !defined(FEEDBACK_EMULATED_DEVICE)

// The address of something in shared memory, as the instructions below take it.
__device__ __forceinline__ unsigned shared_address(const void* shared)
{
    unsigned address;
    asm("{ .reg .u64 shared; cvta.to.shared.u64 shared, %1; cvt.u32.u64 %0, shared; }" : "=r"(address) : "l"(shared));
    return address;
}

// Loads four 8x8 matrices of bf16 from shared memory. Lane l passes the address of row l % 8 of matrix l / 8, and gets of each
// matrix the two elements in row l / 4 and columns 2 (l % 4), 2 (l % 4) + 1, of its transpose if Transposed.
template <bool Transposed>
__device__ __forceinline__ void ldmatrix(unsigned (&fragments)[4], unsigned row)
{
    // "memory": the compiler must not move stores to shared memory across the load.
    if (Transposed)
    {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(fragments[0]), "=r"(fragments[1]), "=r"(fragments[2]), "=r"(fragments[3]) : "r"(row) : "memory");
    }
    else
    {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(fragments[0]), "=r"(fragments[1]), "=r"(fragments[2]), "=r"(fragments[3]) : "r"(row) : "memory");
    }
}

// c += a * b, 16x16 by 16x8. Lane l has the rows l / 4 and l / 4 + 8 of c, in the columns 2 (l % 4) and 2 (l % 4) + 1.
__device__ __forceinline__ void mma_bf16(
    float& c0, float& c1, float& c2, float& c3, const unsigned (&a)[4], unsigned b0, unsigned b1)
{
    // volatile: all lanes take part, so the compiler must not move it under a condition that differs between lanes.
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Starts a copy of 16 bytes from global to shared memory; without `inside` nothing is read and 16 zeros are written. Both addresses
// have to be multiples of 16, the source's also where nothing is read. Neither may be accessed before the copy has ended.
__device__ __forceinline__ void cp_async(unsigned shared, const void* global, bool inside)
{
    asm volatile("{ .reg .u64 global; cvta.to.global.u64 global, %1; cp.async.cg.shared.global [%0], [global], 16, %2; }"
                 :: "r"(shared), "l"(global), "r"(inside ? 16 : 0) : "memory");
}

// Makes one group of the copies that this thread has started since the last call; the group may be empty.
__device__ __forceinline__ void cp_async_commit_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most `Groups` of this thread's groups have not ended. Other threads of the block see what was copied after a
// barrier.
template <int Groups>
__device__ __forceinline__ void cp_async_wait_group()
{
    asm volatile("cp.async.wait_group %0;" :: "n"(Groups) : "memory");
}

#endif
