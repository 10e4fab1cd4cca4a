// Instructions of sm_80 that CUDA C has no words for: matrices between shared memory, registers and tensor cores, and copies
// into shared memory that run by themselves. The emulated driver has its own (tests/emulated-driver/device.h).
#pragma once

#include "device.cuh"

#if !defined(FEEDBACK_EMULATED_DEVICE)

// Where in the block's shared memory something lies: what the instructions below address it by.
__device__ __forceinline__ unsigned shared_address(const void* shared)
{
    unsigned address;
    asm("{ .reg .u64 shared; cvta.to.shared.u64 shared, %1; cvt.u32.u64 %0, shared; }" : "=r"(address) : "l"(shared));
    return address;
}

// Four 8x8 matrices of bf16 from shared memory, transposed or not: lane l gives the address of row l % 8 of matrix l / 8, and
// gets the elements of row l / 4 (column, where they are transposed) and columns 2 (l % 4) and the next of each.
template <bool Transposed>
__device__ __forceinline__ void ldmatrix(unsigned (&fragments)[4], unsigned row)
{
    // The stores before it and those after it are this thread's own business, which the compiler does not see.
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

// c += a * b: 16x16 by 16x8. Lane l holds of c rows l / 4 and l / 4 + 8, columns 2 (l % 4) and the next.
__device__ __forceinline__ void mma_bf16(
    float& c0, float& c1, float& c2, float& c3, const unsigned (&a)[4], unsigned b0, unsigned b1)
{
    // All lanes take part, so the compiler must not move it under a condition that some of them fail.
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Starts a copy of 16 bytes of global memory to shared memory; without `inside` nothing is read and 16 zeros are written.
// Both addresses are multiples of 16, the source's even then. Between now and the end of the copy nobody may touch either.
__device__ __forceinline__ void cp_async(unsigned shared, const void* global, bool inside)
{
    asm volatile("{ .reg .u64 global; cvta.to.global.u64 global, %1; cp.async.cg.shared.global [%0], [global], 16, %2; }"
                 :: "r"(shared), "l"(global), "r"(inside ? 16 : 0) : "memory");
}

// The copies that this thread has started since the last call are a group, which may have none.
__device__ __forceinline__ void cp_async_commit_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until all but the youngest so many of this thread's groups have ended. What they wrote is there for the others of the
// block after a barrier.
template <int Groups>
__device__ __forceinline__ void cp_async_wait_group()
{
    asm volatile("cp.async.wait_group %0;" :: "n"(Groups) : "memory");
}

#endif
