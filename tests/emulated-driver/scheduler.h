// Runs a grid of CUDA threads on one thread of the host. The threads of a block are fibers: each runs until it reaches a barrier or a
// shuffle, and the next one is chosen at random. A kernel that lacks a barrier then reads values that have not been written yet, or
// gives different bits with another seed.
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

// The CUDA thread that is running on this thread of the host.
extern thread_local const Thread* current;

void block_barrier();
unsigned shuffle_xor(unsigned mask, unsigned value, int lanes);

// Inputs and results of the lanes in an operation of a whole warp.
struct WarpExchange
{
    static constexpr std::size_t Lanes = 32, Bytes = 40;

    unsigned char in[Lanes][Bytes], out[Lanes][Bytes];
};

// Waits for the whole warp; the last lane to arrive runs `combine` for all. Returns the calling lane's result, which is valid until its
// next operation with the warp.
const unsigned char* with_warp(const void* mine, std::size_t bytes, void (*combine)(WarpExchange&));

// The most static shared memory of a kernel on any device. More has to be dynamic shared memory.
constexpr std::size_t DeclaredSharedBytes = 48 * 1024;

// The static shared memory of the block. It is filled with NaN at the start of each block and followed by memory that cannot be
// accessed. In every other block its address is a multiple of no larger power of two than its alignment, which leaves a gap of as many
// bytes after it.
void* shared_memory(std::size_t bytes, std::size_t alignment);

// The dynamic shared memory of the block, aligned as DYNAMIC_SHARED declares it.
void* dynamic_shared_memory(std::size_t bytes);

// The address of something in shared memory, as instructions take it, and the pointer for such an address, which has to be a multiple
// of the number of bytes. Both fail outside shared memory.
unsigned shared_address(const void* shared);
unsigned char* shared_pointer(unsigned address, std::size_t bytes);

// A copy of 16 bytes to shared memory, or of zeros without `inside`. It takes place when its thread waits for its group. Until then its
// destination is NaN, because a device may copy at any time.
void cp_async(unsigned shared, const void* global, bool inside);
void cp_async_commit_group();
void cp_async_wait_group(unsigned youngest);

[[noreturn]] void fail_misaligned(const void* address, std::size_t alignment);

// For hopper_unit.cpp: the number of the calling thread; waiting until another thread wakes it, or letting others run first; and a
// random number below a bound.
unsigned thread_number();
unsigned threads_of_block();
void suspend();
void wake(unsigned thread);
void give_way();
unsigned draw_number(unsigned below);
[[noreturn]] void fail(int result, const std::string& what);

// A barrier for a number of threads of a block, in whole warps.
void named_barrier(unsigned name, unsigned threads);

// The offset of something in the kernel's arguments; false where it is not among them.
bool argument_offset(const void* address, std::size_t& offset);

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

// The kernel with this name, or null.
const Kernel* find_kernel(const std::string& name);

// Runs a grid and returns a CUresult; on failure `message` says what happened and where.
int run_grid(
    const Kernel& kernel, Index3 grid, Index3 block, std::size_t dynamicSharedBytes, const void* arguments, std::uint64_t seed,
    std::string& message);

// Handles memory faults: those of running kernels make run_grid fail, others go to the handler that was there before.
void install_fault_handler();

}  // namespace emulated
