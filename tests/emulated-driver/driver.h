// What the parts of the emulated driver share: settings, counters, and how a call fails.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "tensor_core.h"

namespace emulated {

struct Settings
{
    long long initResult = 0, driverVersion = 12040, deviceCount = 1, computeMajor = 8, computeMinor = 0, moduleResult = 0, pushResult = 0;
    long long memoryLimit = 16ll << 30, memoryPools = 1;
    // 0 for what a device of the compute capability has.
    long long sharedLimit = 0;
    long long seed = 1;
    // Whether queued work runs as late as possible, see stream.h.
    long long deferred = 0;
    // Whether the log of a module warns: 1 of serialized products, 2 of spilled registers.
    long long moduleWarnings = 0;
    // Whether cubins are loaded; otherwise the driver says that there is no binary for the device.
    long long cubins = 0;

    // Whether tensor cores truncate, see tensor_core.h, and by how many bits more than the device does. A stream keeps the values at its
    // creation.
    long long truncates = 0, lostBits = 0;

    // Reads the defaults that processes of tests are given: the compute capability from FEEDBACK_EMULATED_CAPABILITY, such as 9.0, the
    // number of devices from FEEDBACK_EMULATED_DEVICES, the warnings from FEEDBACK_EMULATED_WARNINGS, from FEEDBACK_EMULATED_TRUNCATES
    // whether tensor cores truncate, and from FEEDBACK_EMULATED_DEFERRED whether queued work runs late.
    Settings();

    SumRule sum_rule() const { return truncates ? truncating_rule(computeMajor, lostBits) : SumRule{}; }

    // Shared memory of a block: that of Hopper, or of sm_86 and sm_89, which have the least of all devices from Ampere on.
    long long most_shared() const { return sharedLimit != 0 ? sharedLimit : computeMajor == 9 ? 227 * 1024 : 99 * 1024; }
};

struct Counters
{
    // Calls of driver functions; allocations of device memory, and how many were freed; kernels that ran; waits for streams.
    long long calls = 0, allocations = 0, releases = 0, launches = 0, synchronizations = 0;
    // Contexts that are retained; blocks of page-locked memory, events and executable graphs that exist.
    long long contexts = 0, pinned = 0, events = 0, graphs = 0;
    long long eventWaits = 0, graphLaunches = 0, graphUpdates = 0;
    // Kernels that ran, by name.
    std::map<std::string, long long> launchesOf;
};

// They belong to the calling thread, so that parallel tests do not affect each other.
extern thread_local Settings settings;
extern thread_local Counters counters;

bool is_initialised();
bool has_context();

// Sets the text of cuGetErrorString, and returns the result.
int failed(int result, std::string message);

}  // namespace emulated

#define EXPORT extern "C" __attribute__((visibility("default")))
