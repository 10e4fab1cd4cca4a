// The part of the CUDA driver API that FeedbackKernels calls: device, context, modules and launches. Kernels run on the calling thread.
// Settings and counters belong to the calling thread, so that parallel tests do not affect each other.
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "driver.h"
#include "kernel_call.h"
#include "memory.h"
#include "results.h"
#include "scheduler.h"
#include "stream.h"

using namespace emulated;

namespace {

struct Context
{
    std::atomic<int> retained{0};
};

// A kernel in a module, and the most dynamic shared memory that a launch may ask for.
struct Function
{
    const Kernel* kernel;
    std::size_t mostSharedBytes;
};

struct Module
{
    std::vector<std::unique_ptr<Function>> functions;
};

thread_local std::vector<Context*> contexts;
thread_local std::string lastMessage;
std::atomic<bool> initialised{false};
Context primary;

const char* name_of(int result)
{
    switch (result)
    {
        case Success: return "CUDA_SUCCESS";
        case InvalidValue: return "CUDA_ERROR_INVALID_VALUE";
        case OutOfMemory: return "CUDA_ERROR_OUT_OF_MEMORY";
        case NotInitialized: return "CUDA_ERROR_NOT_INITIALIZED";
        case 34: return "CUDA_ERROR_STUB_LIBRARY";
        case NoDevice: return "CUDA_ERROR_NO_DEVICE";
        case InvalidDevice: return "CUDA_ERROR_INVALID_DEVICE";
        case InvalidImage: return "CUDA_ERROR_INVALID_IMAGE";
        case InvalidContext: return "CUDA_ERROR_INVALID_CONTEXT";
        case NoBinaryForDevice: return "CUDA_ERROR_NO_BINARY_FOR_GPU";
        case InvalidPtx: return "CUDA_ERROR_INVALID_PTX";
        case InvalidHandle: return "CUDA_ERROR_INVALID_HANDLE";
        case NotReady: return "CUDA_ERROR_NOT_READY";
        case UnsupportedPtx: return "CUDA_ERROR_UNSUPPORTED_PTX_VERSION";
        case NotFound: return "CUDA_ERROR_NOT_FOUND";
        case IllegalAddress: return "CUDA_ERROR_ILLEGAL_ADDRESS";
        case MisalignedAddress: return "CUDA_ERROR_MISALIGNED_ADDRESS";
        case LaunchFailed: return "CUDA_ERROR_LAUNCH_FAILED";
        case NotSupported: return "CUDA_ERROR_NOT_SUPPORTED";
        default: return nullptr;
    }
}

// The names of the kernels that a PTX text defines.
std::vector<std::string> entries_of(const std::string& ptx)
{
    static const std::string word = ".entry ";
    std::vector<std::string> names;
    for (std::size_t at = ptx.find(word); at != std::string::npos; at = ptx.find(word, at + 1))
    {
        const std::size_t first = at + word.size();
        names.push_back(ptx.substr(first, ptx.find_first_of("( \t\r\n", first) - first));
    }

    return names;
}

// The number after a word, such as 8.4, times ten; -1 where the word is missing.
long long version_after(const std::string& ptx, const std::string& word)
{
    const std::size_t at = ptx.find(word);
    if (at == std::string::npos) return -1;
    char* rest;
    const long long major = std::strtoll(ptx.c_str() + at + word.size(), &rest, 10);
    return 10 * major + (*rest == '.' ? std::atoll(rest + 1) : 0);
}

// CUDA 11.8 compiles PTX 7.8, CUDA 12.4 PTX 8.4, CUDA 13.0 PTX 9.0.
long long newest_ptx() { return (settings.driverVersion / 1000 - 4) * 10 + settings.driverVersion % 1000 / 10; }

// Returns a CUresult, and writes the log of the driver's compiler.
int compile(Module& module, const std::string& ptx, std::string& log)
{
    if (settings.moduleResult != Success)
    {
        log = "the test has set this result";
        return static_cast<int>(settings.moduleResult);
    }

    const long long version = version_after(ptx, ".version "), architecture = version_after(ptx, ".target sm_");
    if (version < 0 || architecture < 0)
    {
        log = "the image is no PTX: it names no version or no target";
        return InvalidPtx;
    }

    if (version > newest_ptx())
    {
        log = "Unsupported .version " + std::to_string(version / 10) + "." + std::to_string(version % 10) + "; current version is '"
            + std::to_string(newest_ptx() / 10) + "." + std::to_string(newest_ptx() % 10) + "'";
        return UnsupportedPtx;
    }

    if (architecture / 10 > settings.computeMajor * 10 + settings.computeMinor)
    {
        log = "the PTX is for a newer architecture";
        return NoBinaryForDevice;
    }

    // The letter of sm_90a restricts it to this architecture.
    const std::size_t letter = ptx.find_first_not_of("0123456789", ptx.find(".target sm_") + std::strlen(".target sm_"));
    if (letter != std::string::npos && ptx[letter] == 'a' && architecture / 10 != settings.computeMajor * 10 + settings.computeMinor)
    {
        log = "the PTX is for sm_" + std::to_string(architecture / 10) + "a and runs on no other architecture";
        return NoBinaryForDevice;
    }

    for (const std::string& name : entries_of(ptx))
    {
        const Kernel* kernel = find_kernel(name);
        if (!kernel)
        {
            log = "kernel " + name + " is in the PTX and not in the emulated driver: they come from different sources";
            return InvalidPtx;
        }

        module.functions.emplace_back(new Function{kernel, DeclaredSharedBytes});
    }

    if (module.functions.empty()) log = "the PTX defines no kernel";
    return module.functions.empty() ? static_cast<int>(InvalidPtx) : static_cast<int>(Success);
}

// CUjit_option: the buffer for errors of the compiler, and its size.
enum JitOption
{
    ErrorLog = 5,
    ErrorLogBytes = 6
};

[[noreturn]] void refuse(const char* variable, const char* value, const char* wanted)
{
    std::fprintf(stderr, "emulated driver: %s is '%s', wanted is %s\n", variable, value, wanted);
    std::abort();
}

}  // namespace

namespace emulated {

thread_local Settings settings;
thread_local Counters counters;

Settings::Settings()
{
    const char* capability = std::getenv("FEEDBACK_EMULATED_CAPABILITY");
    if (capability && std::sscanf(capability, "%lld.%lld", &computeMajor, &computeMinor) != 2)
        refuse("FEEDBACK_EMULATED_CAPABILITY", capability, "something like 9.0");
    const char* devices = std::getenv("FEEDBACK_EMULATED_DEVICES");
    if (devices && std::sscanf(devices, "%lld", &deviceCount) != 1) refuse("FEEDBACK_EMULATED_DEVICES", devices, "a number");
}

bool is_initialised() { return initialised; }

bool has_context() { return !contexts.empty() && contexts.back() != nullptr; }

int failed(int result, std::string message)
{
    lastMessage = std::move(message);
    std::fprintf(stderr, "emulated driver: %s\n", lastMessage.c_str());
    return result;
}

}  // namespace emulated

// For tests: sets a setting, and reads a counter.
EXPORT int emulatedSet(const char* name, long long value)
{
    const std::string key = name;
    if (key == "init-result") settings.initResult = value;
    else if (key == "driver-version") settings.driverVersion = value;
    else if (key == "device-count") settings.deviceCount = value;
    else if (key == "compute-major") settings.computeMajor = value;
    else if (key == "compute-minor") settings.computeMinor = value;
    else if (key == "module-result") settings.moduleResult = value;
    else if (key == "push-result") settings.pushResult = value;
    else if (key == "memory-limit") settings.memoryLimit = value;
    else if (key == "shared-limit") settings.sharedLimit = value;
    else if (key == "memory-pools") settings.memoryPools = value;
    else if (key == "seed") settings.seed = value;
    else if (key == "deferred") settings.deferred = value;
    else return InvalidValue;
    return Success;
}

EXPORT long long emulatedGet(const char* name)
{
    const std::string key = name;
    if (key == "calls") return counters.calls;
    if (key == "allocations") return counters.allocations;
    if (key == "releases") return counters.releases;
    if (key == "launches") return counters.launches;
    if (key == "synchronizations") return counters.synchronizations;
    if (key == "contexts") return counters.contexts;
    if (key == "pinned") return counters.pinned;
    if (key == "events") return counters.events;
    if (key == "graphs") return counters.graphs;
    if (key == "event-waits") return counters.eventWaits;
    if (key == "graph-launches") return counters.graphLaunches;
    if (key == "graph-updates") return counters.graphUpdates;
    if (key == "allocated-bytes") return static_cast<long long>(allocated_bytes());
    // "launches of NAME": how often one kernel ran.
    const std::string prefix = "launches of ";
    if (key.rfind(prefix, 0) == 0)
    {
        const auto found = counters.launchesOf.find(key.substr(prefix.size()));
        return found == counters.launchesOf.end() ? 0 : found->second;
    }

    return -1;
}

EXPORT int cuInit(unsigned)
{
    counters.calls++;
    if (settings.initResult != Success) return static_cast<int>(settings.initResult);
    if (settings.deviceCount == 0) return NoDevice;
    install_fault_handler();
    initialised = true;
    return Success;
}

EXPORT int cuDriverGetVersion(int* version)
{
    counters.calls++;
    *version = static_cast<int>(settings.driverVersion);
    return settings.initResult == 34 ? 34 : Success;
}

EXPORT int cuGetErrorName(int result, const char** name)
{
    counters.calls++;
    *name = name_of(result);
    return *name ? Success : InvalidValue;
}

EXPORT int cuGetErrorString(int result, const char** text)
{
    counters.calls++;
    if (!name_of(result)) return InvalidValue;
    *text = lastMessage.empty() ? name_of(result) : lastMessage.c_str();
    return Success;
}

EXPORT int cuDeviceGetCount(int* count)
{
    counters.calls++;
    if (!initialised) return NotInitialized;
    *count = static_cast<int>(settings.deviceCount);
    return Success;
}

EXPORT int cuDeviceGet(int* device, int ordinal)
{
    counters.calls++;
    if (!initialised) return NotInitialized;
    if (ordinal < 0 || ordinal >= settings.deviceCount) return InvalidDevice;
    *device = ordinal;
    return Success;
}

EXPORT int cuDeviceGetName(char* name, int length, int)
{
    counters.calls++;
    std::snprintf(name, static_cast<std::size_t>(length), "emulated device");
    return Success;
}

EXPORT int cuDeviceGetAttribute(int* value, int attribute, int)
{
    counters.calls++;
    switch (attribute)
    {
        case 16: *value = 4; return Success;  // multiprocessors
        case 75: *value = static_cast<int>(settings.computeMajor); return Success;
        case 76: *value = static_cast<int>(settings.computeMinor); return Success;
        case 115: *value = static_cast<int>(settings.memoryPools); return Success;
        default: return InvalidValue;
    }
}

EXPORT int cuDeviceTotalMem_v2(std::size_t* bytes, int)
{
    counters.calls++;
    *bytes = static_cast<std::size_t>(settings.memoryLimit);
    return Success;
}

EXPORT int cuDevicePrimaryCtxRetain(void** context, int)
{
    counters.calls++;
    if (!initialised) return NotInitialized;
    primary.retained++;
    counters.contexts++;
    *context = &primary;
    return Success;
}

EXPORT int cuDevicePrimaryCtxRelease_v2(int)
{
    counters.calls++;
    if (primary.retained == 0) return InvalidContext;
    primary.retained--;
    counters.contexts--;
    return Success;
}

EXPORT int cuCtxGetCurrent(void** context)
{
    counters.calls++;
    *context = contexts.empty() ? nullptr : contexts.back();
    return Success;
}

EXPORT int cuCtxPushCurrent_v2(void* context)
{
    counters.calls++;
    if (settings.pushResult != Success) return static_cast<int>(settings.pushResult);
    contexts.push_back(static_cast<Context*>(context));
    return Success;
}

EXPORT int cuCtxPopCurrent_v2(void** context)
{
    counters.calls++;
    if (contexts.empty()) return InvalidContext;
    *context = contexts.back();
    contexts.pop_back();
    return Success;
}

EXPORT int cuModuleLoadDataEx(void** module, const void* image, unsigned count, const int* options, void** values)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    char* log = nullptr;
    void** logBytes = nullptr;
    for (unsigned i = 0; i < count; i++)
    {
        if (options[i] == ErrorLog) log = static_cast<char*>(values[i]);
        else if (options[i] == ErrorLogBytes) logBytes = &values[i];
        else return failed(InvalidValue, "option " + std::to_string(options[i]) + " of cuModuleLoadDataEx");
    }

    if ((log == nullptr) != (logBytes == nullptr)) return failed(InvalidValue, "a log takes a buffer and its size");
    std::unique_ptr<Module> result(new Module);
    std::string text;
    const int status = compile(*result, static_cast<const char*>(image), text);
    if (log)
    {
        const std::size_t most = reinterpret_cast<std::size_t>(*logBytes), bytes = text.size() < most ? text.size() : most - 1;
        std::memcpy(log, text.c_str(), bytes);
        log[bytes] = 0;
        *logBytes = reinterpret_cast<void*>(bytes);
    }

    if (status != Success) return failed(status, name_of(status) ? name_of(status) : "a module that cannot be loaded");
    *module = result.release();
    return Success;
}

EXPORT int cuModuleUnload(void* module)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    delete static_cast<Module*>(module);
    return Success;
}

EXPORT int cuModuleGetFunction(void** function, void* module, const char* name)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    for (const std::unique_ptr<Function>& candidate : static_cast<Module*>(module)->functions)
    {
        if (std::strcmp(candidate->kernel->name, name) == 0)
        {
            *function = candidate.get();
            return Success;
        }
    }

    return NotFound;
}

// Of CUfunction_attribute only MAX_DYNAMIC_SHARED_SIZE_BYTES.
EXPORT int cuFuncSetAttribute(void* function, int attribute, int value)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    auto& target = *static_cast<Function*>(function);
    if (attribute != 8 || value < 0) return failed(InvalidValue, "attribute " + std::to_string(attribute) + " = " + std::to_string(value));
    if (value > settings.most_shared())
        return failed(
            InvalidValue, std::string(target.kernel->name) + ": " + std::to_string(value) + " bytes of shared memory, the device has "
                              + std::to_string(settings.most_shared()));
    target.mostSharedBytes = static_cast<std::size_t>(value);
    return Success;
}

namespace emulated {

int make_call(KernelCall& call, void* function, Index3 grid, Index3 block, unsigned sharedBytes, void* const* parameters, void* const* extra)
{
    const auto& target = *static_cast<const Function*>(function);
    const Kernel& kernel = *target.kernel;
    const std::string name = kernel.name;
    const void* arguments;
    if (extra)
    {
        if (parameters || extra[0] != reinterpret_cast<void*>(1) || extra[2] != reinterpret_cast<void*>(2) || extra[4])
            return failed(InvalidValue, name + ": arguments come as one block");
        const std::size_t bytes = *static_cast<const std::size_t*>(extra[3]);
        if (bytes != kernel.argumentBytes)
            return failed(
                InvalidValue, name + ": arguments of " + std::to_string(bytes) + " bytes, the kernel takes " + std::to_string(kernel.argumentBytes));
        arguments = extra[1];
    }
    else
    {
        if (!parameters || !parameters[0]) return failed(InvalidValue, name + ": no arguments");
        arguments = parameters[0];
    }

    if (block.x * block.y * block.z != kernel.threads)
        return failed(
            InvalidValue,
            name + ": blocks of " + std::to_string(block.x * block.y * block.z) + " threads, the kernel is for " + std::to_string(kernel.threads));
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7FFFFFFFu || grid.y > 65535 || grid.z > 65535)
        return failed(
            InvalidValue, name + ": a grid of " + std::to_string(grid.x) + " x " + std::to_string(grid.y) + " x " + std::to_string(grid.z));
    if (sharedBytes > target.mostSharedBytes)
        return failed(
            InvalidValue, name + ": " + std::to_string(sharedBytes) + " bytes of dynamic shared memory, allowed are "
                              + std::to_string(target.mostSharedBytes));
    constexpr std::size_t alignment = 64;
    const std::size_t bytes = (kernel.argumentBytes + alignment - 1) / alignment * alignment;
    std::shared_ptr<void> copy(std::aligned_alloc(alignment, bytes), std::free);
    if (!copy) return failed(OutOfMemory, name + ": the host has no memory for its arguments");
    std::memcpy(copy.get(), arguments, kernel.argumentBytes);
    call = {&kernel, grid, block, sharedBytes, std::move(copy)};
    return Success;
}

int run(const KernelCall& call)
{
    counters.launches++;
    counters.launchesOf[call.kernel->name]++;
    std::string message;
    const std::uint64_t seed = static_cast<std::uint64_t>(settings.seed) * 1000003u + static_cast<std::uint64_t>(counters.launches);
    const int result = run_grid(*call.kernel, call.grid, call.block, call.sharedBytes, call.arguments.get(), seed, message);
    if (result != Success) return failed(result, message);
    if (!slack_is_untouched(message)) return failed(IllegalAddress, "kernel " + std::string(call.kernel->name) + " " + message);
    return Success;
}

}  // namespace emulated

EXPORT int cuLaunchKernel(
    void* function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX, unsigned blockY, unsigned blockZ, unsigned sharedBytes, void* handle,
    void** parameters, void** extra)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    const std::shared_ptr<Stream> stream = find_stream(handle);
    if (!stream) return failed(InvalidHandle, "there is no such stream, or it has been destroyed");
    KernelCall call;
    const int result = make_call(call, function, {gridX, gridY, gridZ}, {blockX, blockY, blockZ}, sharedBytes, parameters, extra);
    return result == Success ? queue(*stream, [call] { return run(call); }) : result;
}
