// A kernel with its grid and arguments, checked when it is handed over and run when its turn comes.
#pragma once

#include <memory>

#include "scheduler.h"

namespace emulated {

struct KernelCall
{
    const Kernel* kernel;
    Index3 grid, block;
    unsigned sharedBytes;
    // A copy, on a multiple of what a kernel's struct may ask for.
    std::shared_ptr<void> arguments;
};

// Takes arguments as cuLaunchKernel does: one block behind CU_LAUNCH_PARAM_BUFFER_POINTER, whose size has to be that of the
// kernel's struct, or the address of its one parameter. Returns a CUresult.
int make_call(
    KernelCall& call, void* function, Index3 grid, Index3 block, unsigned sharedBytes, void* const* parameters, void* const* extra);

int run(const KernelCall& call);

}  // namespace emulated
