// Runs a grid of CUDA threads on one thread of the host. The threads of a block are fibers that take turns in a random
// order: each runs until it meets a barrier or a shuffle, and who runs next is drawn. A kernel that lacks a barrier then
// reads what is not there yet, or gives other bits under another order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace emulated {

struct Index3
{
    unsigned x, y, z;
};

struct Block
{
    Index3 index, grid;
};

struct Thread
{
    Index3 index;
    const Block* block;
};

// The CUDA thread that runs now on this thread of the host.
extern thread_local const Thread* current;

void block_barrier();
unsigned shuffle_xor(unsigned mask, unsigned value, int lanes);

// What the lanes of a warp put into an operation that they do together, and what each gets out of it.
struct WarpExchange
{
    static constexpr std::size_t Lanes = 32, Bytes = 32;

    unsigned char in[Lanes][Bytes], out[Lanes][Bytes];
};

// Waits for the whole warp; the last lane to come runs `combine` once for all. Returns the calling lane's result, which stays
// until its next operation with the warp.
const unsigned char* with_warp(const void* mine, std::size_t bytes, void (*combine)(WarpExchange&));

// The block's shared memory: full of NaN at the start of each block, and followed by memory that cannot be touched.
void* shared_memory(std::size_t bytes);

[[noreturn]] void fail_misaligned(const void* address, std::size_t alignment);

using KernelBody = void (*)(const void* arguments);

struct Kernel
{
    const char* name;
    unsigned threads;
    std::size_t argumentBytes;
    KernelBody body;
};

struct Registration
{
    Registration(const char* name, unsigned threads, std::size_t argumentBytes, KernelBody body);
};

// The kernel of that name, or null.
const Kernel* find_kernel(const std::string& name);

// Runs the whole grid and returns a CUresult; on failure `message` says what happened and where.
int run_grid(const Kernel& kernel, Index3 grid, Index3 block, const void* arguments, std::uint64_t seed, std::string& message);

// Routes faults of running kernels to run_grid; faults of others go where they went before.
void install_fault_handler();

}  // namespace emulated
