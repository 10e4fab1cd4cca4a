// The asynchronous units of Hopper: copies by the TMA, products by wgmma, and mbarriers. Everything happens as late as possible, so that
// a missing wait gives NaN or a fault: the bytes of a copy are in shared memory only when the phase of its barrier has ended; sums are
// NaN from their first product until all their products have been waited for; and the operands of a product must not change until it
// has been waited for.
#pragma once

#include <cstddef>
#include <string>

namespace emulated {

void barrier_init(unsigned barrier, int arrivals);
void fence_barrier_init();

// One arrival, which adds to the bytes that the phase waits for.
void barrier_arrive(unsigned barrier, int bytes);

void barrier_wait(unsigned barrier, unsigned parity);

// Starts a copy of a box of a tensor, whose map is among the kernel's arguments.
void tma_load_box(unsigned shared, const void* map, unsigned barrier, const int* place, std::size_t rank);

// Fails unless this is an encoded tensor map among the kernel's arguments.
void require_tensor_map(const void* map);

// One operand of a product: its matrix descriptor, and whether it is MN-major.
struct TileOperand
{
    unsigned long long descriptor;
    bool mnMajor;
};

void wgmma_fence();
void wgmma_bf16(float* sums, int columns, TileOperand left, TileOperand right);
void wgmma_commit_group();
void wgmma_wait_group(unsigned left);

// For the scheduler: the start of a block; the number of copies in flight, and the next step of one of them; and a description of work
// that has not ended when all threads have, or an empty text.
void start_hopper_unit();
std::size_t copies_under_way();
void advance_copy(std::size_t which);
std::string unfinished_work();

}  // namespace emulated
