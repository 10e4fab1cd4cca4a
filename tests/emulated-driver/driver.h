// What the parts of the emulated driver share: the machine that a test has set, what it counts, and how a call fails.
#pragma once

#include <cstdint>
#include <string>

namespace emulated {

struct Settings
{
    long long initResult = 0, driverVersion = 12040, deviceCount = 1, computeMajor = 8, computeMinor = 0, moduleResult = 0, pushResult = 0;
    long long memoryLimit = 16ll << 30, memoryPools = 1;
    // 0 for what a device of the compute capability has.
    long long sharedLimit = 0;
    long long seed = 1;
    // Whether queued work runs as late as it may, see stream.h.
    long long deferred = 0;

    // In processes that no test sets the compute capability is what FEEDBACK_EMULATED_CAPABILITY says, like 9.0, or else 8.0,
    // and the number of devices what FEEDBACK_EMULATED_DEVICES says, or else 1.
    Settings();

    // Shared memory of a block: of Hopper, or of sm_86 and sm_89, the least of all devices from Ampere on.
    long long most_shared() const { return sharedLimit != 0 ? sharedLimit : computeMajor == 9 ? 227 * 1024 : 99 * 1024; }
};

struct Counters
{
    // Calls of any function of the driver; device memory taken and given back; kernels run; waits for a stream or for all.
    long long calls = 0, allocations = 0, releases = 0, launches = 0, synchronizations = 0;
    // Contexts that are held, blocks of page-locked memory, events and executable graphs that there are.
    long long contexts = 0, pinned = 0, events = 0, graphs = 0;
    long long eventWaits = 0, graphLaunches = 0, graphUpdates = 0;
};

// Of the calling thread, so that tests which run side by side do not disturb each other.
extern thread_local Settings settings;
extern thread_local Counters counters;

bool is_initialised();
bool has_context();

// Remembers what cuGetErrorString is to say, and returns the result.
int failed(int result, std::string message);

}  // namespace emulated

#define EXPORT extern "C" __attribute__((visibility("default")))
