// What runs beside the threads of a block on Hopper: copies by the TMA and products by wgmma, and the barriers in shared memory
// that count them. Everything that may happen late does: a copy's bytes are in shared memory when the phase of its barrier has
// ended and no sooner, sums are NaN from their first product until all their products have been waited for, and a product's
// operands may not change from when it is asked for until it has been waited for. So a missing wait gives NaN or a fault.
#pragma once

#include <cstddef>
#include <string>

namespace emulated {

void barrier_init(unsigned barrier, int arrivals);
void fence_barrier_init();

// One arrival, which lets the phase wait for so many bytes more.
void barrier_arrive(unsigned barrier, int bytes);

void barrier_wait(unsigned barrier, unsigned parity);

// A copy of a box of a tensor, whose map lies among the kernel's arguments.
void tma_load_box(unsigned shared, const void* map, unsigned barrier, const int* place, std::size_t rank);

// Fails where there is no map.
void require_tensor_map(const void* map);

// One operand of a product: where the tile is, as the hardware is told, and whether the reduction runs down its rows.
struct TileOperand
{
    unsigned long long descriptor;
    bool mnMajor;
};

void wgmma_fence();
void wgmma_bf16(float* sums, int columns, TileOperand left, TileOperand right);
void wgmma_commit_group();
void wgmma_wait_group(unsigned left);

// For the scheduler: at the start of a block; copies under way, of which it lets one go on at a time; and what has not ended
// when all threads have, or nothing.
void start_hopper_unit();
std::size_t copies_under_way();
void advance_copy(std::size_t which);
std::string unfinished_work();

}  // namespace emulated
