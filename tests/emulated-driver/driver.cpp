// The part of the CUDA driver API that FeedbackKernels calls, on a device that is this thread of the host. Work runs when it
// is queued. Settings and counters are of the calling thread, so that tests which run side by side do not disturb each other.
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
#include "memory.h"
#include "results.h"
#include "scheduler.h"

using namespace emulated;

namespace {

struct Context
{
    std::atomic<int> retained{0};
};

// A kernel in a module, and what a launch of it may ask for.
struct Function
{
    const Kernel* kernel;
    std::size_t mostSharedBytes;
};

struct Module
{
    std::vector<std::unique_ptr<Function>> functions;
};

struct Stream
{
    unsigned flags;
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

}  // namespace

namespace emulated {

thread_local Settings settings;
thread_local Counters counters;

Settings::Settings()
{
    const char* capability = std::getenv("FEEDBACK_EMULATED_CAPABILITY");
    if (!capability || std::sscanf(capability, "%lld.%lld", &computeMajor, &computeMinor) == 2) return;
    std::fprintf(stderr, "emulated driver: FEEDBACK_EMULATED_CAPABILITY is '%s', wanted is something like 9.0\n", capability);
    std::abort();
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

// What tests set and read.
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
    else if (key == "seed") settings.seed = value;
    else return InvalidValue;
    return Success;
}

EXPORT long long emulatedGet(const char* name)
{
    const std::string key = name;
    if (key == "allocations") return counters.allocations;
    if (key == "releases") return counters.releases;
    if (key == "launches") return counters.launches;
    if (key == "synchronizations") return counters.synchronizations;
    if (key == "allocated-bytes") return static_cast<long long>(allocated_bytes());
    return -1;
}

EXPORT int cuInit(unsigned)
{
    if (settings.initResult != Success) return static_cast<int>(settings.initResult);
    if (settings.deviceCount == 0) return NoDevice;
    install_fault_handler();
    initialised = true;
    return Success;
}

EXPORT int cuDriverGetVersion(int* version)
{
    *version = static_cast<int>(settings.driverVersion);
    return settings.initResult == 34 ? 34 : Success;
}

EXPORT int cuGetErrorName(int result, const char** name)
{
    *name = name_of(result);
    return *name ? Success : InvalidValue;
}

EXPORT int cuGetErrorString(int result, const char** text)
{
    if (!name_of(result)) return InvalidValue;
    *text = lastMessage.empty() ? name_of(result) : lastMessage.c_str();
    return Success;
}

EXPORT int cuDeviceGetCount(int* count)
{
    if (!initialised) return NotInitialized;
    *count = static_cast<int>(settings.deviceCount);
    return Success;
}

EXPORT int cuDeviceGet(int* device, int ordinal)
{
    if (!initialised) return NotInitialized;
    if (ordinal < 0 || ordinal >= settings.deviceCount) return InvalidDevice;
    *device = ordinal;
    return Success;
}

EXPORT int cuDeviceGetName(char* name, int length, int)
{
    std::snprintf(name, static_cast<std::size_t>(length), "emulated device");
    return Success;
}

EXPORT int cuDeviceGetAttribute(int* value, int attribute, int)
{
    switch (attribute)
    {
        case 16: *value = 4; return Success;  // multiprocessors
        case 75: *value = static_cast<int>(settings.computeMajor); return Success;
        case 76: *value = static_cast<int>(settings.computeMinor); return Success;
        default: return InvalidValue;
    }
}

EXPORT int cuDeviceTotalMem_v2(std::size_t* bytes, int)
{
    *bytes = static_cast<std::size_t>(settings.memoryLimit);
    return Success;
}

EXPORT int cuDevicePrimaryCtxRetain(void** context, int)
{
    if (!initialised) return NotInitialized;
    primary.retained++;
    *context = &primary;
    return Success;
}

EXPORT int cuDevicePrimaryCtxRelease_v2(int)
{
    if (primary.retained == 0) return InvalidContext;
    primary.retained--;
    return Success;
}

EXPORT int cuCtxGetCurrent(void** context)
{
    *context = contexts.empty() ? nullptr : contexts.back();
    return Success;
}

EXPORT int cuCtxPushCurrent_v2(void* context)
{
    if (settings.pushResult != Success) return static_cast<int>(settings.pushResult);
    contexts.push_back(static_cast<Context*>(context));
    return Success;
}

EXPORT int cuCtxPopCurrent_v2(void** context)
{
    if (contexts.empty()) return InvalidContext;
    *context = contexts.back();
    contexts.pop_back();
    return Success;
}

EXPORT int cuMemGetInfo_v2(std::size_t* free, std::size_t* total)
{
    if (!has_context()) return InvalidContext;
    *total = static_cast<std::size_t>(settings.memoryLimit);
    const std::size_t used = allocated_bytes();
    *free = used < *total ? *total - used : 0;
    return Success;
}

EXPORT int cuMemAlloc_v2(std::uint64_t* address, std::size_t bytes)
{
    if (!has_context()) return InvalidContext;
    if (bytes == 0) return InvalidValue;
    if (bytes > static_cast<std::size_t>(settings.memoryLimit)) return OutOfMemory;
    void* memory = allocate(bytes);
    if (!memory) return OutOfMemory;
    counters.allocations++;
    *address = reinterpret_cast<std::uint64_t>(memory);
    return Success;
}

EXPORT int cuMemFree_v2(std::uint64_t address)
{
    if (!has_context()) return InvalidContext;
    if (!release(reinterpret_cast<void*>(address))) return failed(InvalidValue, "freed an address that was not allocated");
    counters.releases++;
    return Success;
}

EXPORT int cuMemcpyHtoDAsync_v2(std::uint64_t destination, const void* source, std::size_t bytes, void*)
{
    if (!has_context()) return InvalidContext;
    if (!inside_allocation(reinterpret_cast<void*>(destination), bytes)) return failed(InvalidValue, "a copy to memory outside an allocation");
    std::memcpy(reinterpret_cast<void*>(destination), source, bytes);
    return Success;
}

EXPORT int cuMemcpyDtoHAsync_v2(void* destination, std::uint64_t source, std::size_t bytes, void*)
{
    if (!has_context()) return InvalidContext;
    if (!inside_allocation(reinterpret_cast<void*>(source), bytes)) return failed(InvalidValue, "a copy of memory outside an allocation");
    std::memcpy(destination, reinterpret_cast<void*>(source), bytes);
    return Success;
}

EXPORT int cuMemsetD8Async(std::uint64_t address, unsigned char value, std::size_t bytes, void*)
{
    if (!has_context()) return InvalidContext;
    if (!inside_allocation(reinterpret_cast<void*>(address), bytes)) return failed(InvalidValue, "a fill of memory outside an allocation");
    std::memset(reinterpret_cast<void*>(address), value, bytes);
    return Success;
}

EXPORT int cuStreamCreate(void** stream, unsigned flags)
{
    if (!has_context()) return InvalidContext;
    *stream = new Stream{flags};
    return Success;
}

EXPORT int cuStreamDestroy_v2(void* stream)
{
    if (!has_context()) return InvalidContext;
    delete static_cast<Stream*>(stream);
    return Success;
}

EXPORT int cuStreamSynchronize(void*)
{
    if (!has_context()) return InvalidContext;
    counters.synchronizations++;
    return Success;
}

EXPORT int cuModuleLoadData(void** module, const void* image)
{
    if (!has_context()) return InvalidContext;
    if (settings.moduleResult != Success) return static_cast<int>(settings.moduleResult);
    const std::string ptx = static_cast<const char*>(image);
    const std::string target = ".target sm_";
    const std::size_t at = ptx.find(target);
    if (at == std::string::npos) return failed(InvalidImage, "the image is no PTX: it names no target");
    const long long architecture = std::atoll(ptx.c_str() + at + target.size());
    const long long own = settings.computeMajor * 10 + settings.computeMinor;
    if (architecture > own) return failed(InvalidImage, "the PTX is for a newer architecture");
    // The letter of sm_90a says that it is for this architecture alone.
    const std::size_t letter = ptx.find_first_not_of("0123456789", at + target.size());
    if (letter != std::string::npos && ptx[letter] == 'a' && architecture != own)
        return failed(InvalidImage, "the PTX is for sm_" + std::to_string(architecture) + "a and runs on no other architecture");
    std::unique_ptr<Module> result(new Module);
    for (const std::string& name : entries_of(ptx))
    {
        const Kernel* kernel = find_kernel(name);
        if (!kernel)
            return failed(InvalidImage, "kernel " + name + " is in the PTX and not in the emulated driver: they come from different sources");
        result->functions.emplace_back(new Function{kernel, DeclaredSharedBytes});
    }

    if (result->functions.empty()) return failed(InvalidImage, "the PTX defines no kernel");
    *module = result.release();
    return Success;
}

EXPORT int cuModuleUnload(void* module)
{
    if (!has_context()) return InvalidContext;
    delete static_cast<Module*>(module);
    return Success;
}

EXPORT int cuModuleGetFunction(void** function, void* module, const char* name)
{
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

// Arguments come as one block (CU_LAUNCH_PARAM_BUFFER_POINTER), whose size has to be that of the kernel's struct.
EXPORT int cuLaunchKernel(
    void* function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX, unsigned blockY, unsigned blockZ, unsigned sharedBytes, void*,
    void** parameters, void** extra)
{
    if (!has_context()) return InvalidContext;
    const auto& target = *static_cast<const Function*>(function);
    const Kernel& kernel = *target.kernel;
    const std::string name = kernel.name;
    if (parameters || !extra || extra[0] != reinterpret_cast<void*>(1) || extra[2] != reinterpret_cast<void*>(2) || extra[4])
        return failed(InvalidValue, name + ": arguments come as one block");
    const void* arguments = extra[1];
    const std::size_t bytes = *static_cast<const std::size_t*>(extra[3]);
    if (bytes != kernel.argumentBytes)
        return failed(
            InvalidValue, name + ": arguments of " + std::to_string(bytes) + " bytes, the kernel takes " + std::to_string(kernel.argumentBytes));
    if (blockX * blockY * blockZ != kernel.threads)
        return failed(
            InvalidValue,
            name + ": blocks of " + std::to_string(blockX * blockY * blockZ) + " threads, the kernel is for " + std::to_string(kernel.threads));
    if (gridX == 0 || gridY == 0 || gridZ == 0 || gridX > 0x7FFFFFFFu || gridY > 65535 || gridZ > 65535)
        return failed(
            InvalidValue, name + ": a grid of " + std::to_string(gridX) + " x " + std::to_string(gridY) + " x " + std::to_string(gridZ));
    if (sharedBytes > target.mostSharedBytes)
        return failed(
            InvalidValue, name + ": " + std::to_string(sharedBytes) + " bytes of dynamic shared memory, allowed are "
                              + std::to_string(target.mostSharedBytes));
    counters.launches++;
    std::string message;
    const std::uint64_t seed = static_cast<std::uint64_t>(settings.seed) * 1000003u + static_cast<std::uint64_t>(counters.launches);
    const int result = run_grid(kernel, {gridX, gridY, gridZ}, {blockX, blockY, blockZ}, sharedBytes, arguments, seed, message);
    if (result != Success) return failed(result, message);
    if (!slack_is_untouched(message)) return failed(IllegalAddress, "kernel " + name + " " + message);
    return Success;
}
