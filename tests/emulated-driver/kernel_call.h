// A launch of a kernel: checked when it is queued, and run later.
#pragma once

#include <memory>

#include "scheduler.h"

namespace emulated {

struct KernelCall
{
    const Kernel* kernel;
    Index3 grid, block;
    unsigned sharedBytes;
    // A copy, aligned for any struct of a kernel.
    std::shared_ptr<void> arguments;
};

// Takes arguments as cuLaunchKernel does: one block after CU_LAUNCH_PARAM_BUFFER_POINTER, of the size of the kernel's struct, or the
// address of its one parameter. Returns a CUresult.
int make_call(
    KernelCall& call, void* function, Index3 grid, Index3 block, unsigned sharedBytes, void* const* parameters, void* const* extra);

int run(const KernelCall& call);

}  // namespace emulated
