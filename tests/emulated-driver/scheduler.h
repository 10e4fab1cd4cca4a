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

// What a kernel may declare, on every device; more is dynamic shared memory, which a launch has to ask for.
constexpr std::size_t DeclaredSharedBytes = 48 * 1024;

// The block's shared memory: full of NaN at the start of each block, and followed by memory that cannot be touched; in every
// other block it starts on no larger power of two than its alignment, and so before a gap of as many bytes.
void* shared_memory(std::size_t bytes, std::size_t alignment);

// The same, which the launch gave, aligned as DYNAMIC_SHARED declares it.
void* dynamic_shared_memory(std::size_t bytes);

// The number by which instructions know a place in shared memory, and the way back: for so many bytes, which is what their
// address is a multiple of. Both fail for what lies outside.
unsigned shared_address(const void* shared);
unsigned char* shared_pointer(unsigned address, std::size_t bytes);

// A copy of 16 bytes to shared memory, of zeros without `inside`. It lands when its thread waits for its group and no sooner;
// until then what it will overwrite is NaN, because it might have landed at any time.
void cp_async(unsigned shared, const void* global, bool inside);
void cp_async_commit_group();
void cp_async_wait_group(unsigned youngest);

[[noreturn]] void fail_misaligned(const void* address, std::size_t alignment);

// For what else threads of a block do together (hopper_unit.cpp): the calling thread's number; to wait until another thread
// wakes it, or to let others go first; and a random number below a bound.
unsigned thread_number();
unsigned threads_of_block();
void suspend();
void wake(unsigned thread);
void give_way();
unsigned draw_number(unsigned below);
[[noreturn]] void fail(int result, const std::string& what);

// A barrier of so many threads of a block, in whole warps, whoever they are.
void named_barrier(unsigned name, unsigned threads);

// How many bytes into the kernel's arguments something lies; false where it does not.
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

// The kernel of that name, or null.
const Kernel* find_kernel(const std::string& name);

// Runs the whole grid and returns a CUresult; on failure `message` says what happened and where.
int run_grid(
    const Kernel& kernel, Index3 grid, Index3 block, std::size_t dynamicSharedBytes, const void* arguments, std::uint64_t seed,
    std::string& message);

// Routes faults of running kernels to run_grid; faults of others go where they went before.
void install_fault_handler();

}  // namespace emulated
