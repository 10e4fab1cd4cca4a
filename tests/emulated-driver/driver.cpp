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

// What is read of an ELF file, which a cubin is.
struct ElfHeader
{
    char magic[4], ident[12];
    std::uint16_t type, machine;
    std::uint32_t version;
    std::uint64_t entry, programs, sections;
    std::uint32_t flags;
    std::uint16_t bytes, programBytes, programCount, sectionBytes, sectionCount, names;
};

struct ElfSection
{
    std::uint32_t name, type;
    std::uint64_t flags, address, offset, size;
    std::uint32_t link, info;
    std::uint64_t alignment, entryBytes;
};

bool is_elf(const void* image) { return std::memcmp(image, "\x7f" "ELF", 4) == 0; }

int add_kernels(Module& module, const std::vector<std::string>& names, const char* what, std::string& log)
{
    for (const std::string& name : names)
    {
        const Kernel* kernel = find_kernel(name);
        if (!kernel)
        {
            log = "kernel " + name + " is in the " + what + " and not in the emulated driver: they come from different sources";
            return std::strcmp(what, "PTX") == 0 ? InvalidPtx : InvalidImage;
        }

        module.functions.emplace_back(new Function{kernel, DeclaredSharedBytes});
    }

    return Success;
}

// Loads the kernels that a cubin names, as they are compiled for the host: the machine code is not executed.
int load_cubin(Module& module, const char* image, std::string& log)
{
    ElfHeader header;
    std::memcpy(&header, image, sizeof header);
    constexpr unsigned accelerated = 0x800;  // the letter of sm_90a
    const long long architecture = header.flags & 0xFF, device = settings.computeMajor * 10 + settings.computeMinor;
    if (!settings.cubins)
    {
        log = "the test has cubins refused";
        return NoBinaryForDevice;
    }

    const bool runs = header.flags & accelerated ? architecture == device : architecture / 10 == settings.computeMajor && architecture <= device;
    if (!runs)
    {
        log = "the cubin is for sm_" + std::to_string(architecture);
        return NoBinaryForDevice;
    }

    std::vector<ElfSection> sections(header.sectionCount);
    std::memcpy(sections.data(), image + header.sections, sections.size() * sizeof(ElfSection));
    std::vector<std::string> names;
    const std::string text = ".text.";
    for (const ElfSection& section : sections)
    {
        const std::string name = image + sections[header.names].offset + section.name;
        if (name.compare(0, text.size(), text) == 0) names.push_back(name.substr(text.size()));
    }

    return add_kernels(module, names, "cubin", log);
}

// Returns a CUresult, and writes the log of the driver's compiler.
int compile(Module& module, const char* image, std::string& log)
{
    if (settings.moduleResult != Success)
    {
        log = "the test has set this result";
        return static_cast<int>(settings.moduleResult);
    }

    if (is_elf(image)) return load_cubin(module, image, log);
    const std::string ptx = image;
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

    if (const int result = add_kernels(module, entries_of(ptx), "PTX", log); result != Success) return result;
    if (module.functions.empty()) log = "the PTX defines no kernel";
    return module.functions.empty() ? static_cast<int>(InvalidPtx) : static_cast<int>(Success);
}

// CUjit_option: the buffers of the compiler for information and for errors, with their sizes, and whether it says everything.
enum JitOption
{
    InfoLog = 3,
    InfoLogBytes = 4,
    ErrorLog = 5,
    ErrorLogBytes = 6,
    LogVerbose = 12
};

// A buffer of the caller for a log, with its size, in place of which the driver writes the length of the text.
struct LogBuffer
{
    char* text = nullptr;
    void** bytes = nullptr;

    bool is_whole() const { return (text == nullptr) == (bytes == nullptr); }

    void write(const std::string& said) const
    {
        if (!text) return;
        const std::size_t most = reinterpret_cast<std::size_t>(*bytes), length = said.size() < most ? said.size() : most - 1;
        std::memcpy(text, said.c_str(), length);
        text[length] = 0;
        *bytes = reinterpret_cast<void*>(length);
    }
};

// What ptxas says of the kernels that it compiles, in its words; of a cubin nothing.
std::string information_of(const Module& module)
{
    std::string said = "ptxas info    : 0 bytes gmem\n";
    for (const std::unique_ptr<Function>& function : module.functions)
    {
        const std::string name = function->kernel->name, target = std::to_string(settings.computeMajor * 10 + settings.computeMinor);
        const bool first = function == module.functions.front();
        const char* spilled = first && settings.moduleWarnings == 2 ? "8" : "0";
        if (first && settings.moduleWarnings == 1)
            said += "ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to insufficient register "
                    "resources for the wgmma pipeline in the function '" + name + "'\n";
        said += "ptxas info    : Compiling entry function '" + name + "' for 'sm_" + target + "'\nptxas info    : Function properties for " + name
              + "\n    0 bytes stack frame, " + spilled + " bytes spill stores, " + spilled + " bytes spill loads\nptxas info    : Used 32 registers\n";
    }

    return said;
}

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
    const char* warnings = std::getenv("FEEDBACK_EMULATED_WARNINGS");
    if (warnings && std::sscanf(warnings, "%lld", &moduleWarnings) != 1) refuse("FEEDBACK_EMULATED_WARNINGS", warnings, "1 or 2");
    const char* truncation = std::getenv("FEEDBACK_EMULATED_TRUNCATES");
    if (truncation && (std::sscanf(truncation, "%lld", &truncates) != 1 || truncates < 0 || truncates > 1))
        refuse("FEEDBACK_EMULATED_TRUNCATES", truncation, "0 or 1");
    const char* late = std::getenv("FEEDBACK_EMULATED_DEFERRED");
    if (late && (std::sscanf(late, "%lld", &deferred) != 1 || deferred < 0 || deferred > 1)) refuse("FEEDBACK_EMULATED_DEFERRED", late, "0 or 1");
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
    else if (key == "module-warnings") settings.moduleWarnings = value;
    else if (key == "cubins") settings.cubins = value;
    else if (key == "truncates") settings.truncates = value;
    else if (key == "lost-bits" && value >= 0 && value <= MostLostBits) settings.lostBits = value;
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
    if (key == "truncates") return settings.truncates;
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

// For tests: adds the products of 16 bf16, widened, as a tensor core of the device in the settings does.
EXPORT float emulatedMultiply(float sum, const float* left, const float* right)
{
    // The column is the first of 8.
    float sums[8] = {sum}, columns[InstructionDepth][8] = {};
    for (std::size_t k = 0; k < InstructionDepth; k++) columns[k][0] = right[k];
    multiply_accumulate(settings.sum_rule(), sums, left, columns[0], 1, 8);
    return sums[0];
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
    LogBuffer information, errors;
    bool verbose = false;
    for (unsigned i = 0; i < count; i++)
    {
        switch (options[i])
        {
            case InfoLog: information.text = static_cast<char*>(values[i]); break;
            case InfoLogBytes: information.bytes = &values[i]; break;
            case ErrorLog: errors.text = static_cast<char*>(values[i]); break;
            case ErrorLogBytes: errors.bytes = &values[i]; break;
            case LogVerbose: verbose = values[i] != nullptr; break;
            default: return failed(InvalidValue, "option " + std::to_string(options[i]) + " of cuModuleLoadDataEx");
        }
    }

    if (!information.is_whole() || !errors.is_whole()) return failed(InvalidValue, "a log takes a buffer and its size");
    std::unique_ptr<Module> result(new Module);
    std::string text;
    const int status = compile(*result, static_cast<const char*>(image), text);
    errors.write(text);
    information.write(status == Success && verbose && !is_elf(image) ? information_of(*result) : "");
    // A caller that has something else to offer asks on.
    if (status != Success && is_elf(image)) return status;
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

namespace {

// For tests of what finds wrong results: FEEDBACK_EMULATED_FAULT=KERNEL:BYTE changes this byte of what each launch of this kernel has
// written, in the allocation of which it has changed most bytes.
struct Fault
{
    std::string kernel;
    std::size_t byte = 0;

    Fault()
    {
        const char* wanted = std::getenv("FEEDBACK_EMULATED_FAULT");
        if (!wanted) return;
        const char* colon = std::strchr(wanted, ':');
        char* rest = nullptr;
        if (colon) byte = std::strtoull(colon + 1, &rest, 10);
        if (!colon || rest == colon + 1 || *rest) refuse("FEEDBACK_EMULATED_FAULT", wanted, "something like conv_gather_sm90_64:100");
        kernel.assign(wanted, colon);
        if (!find_kernel(kernel)) refuse("FEEDBACK_EMULATED_FAULT", wanted, "the name of a kernel and a byte");
    }
};

void plant(const Fault& fault, const Contents& before)
{
    // A high bit of the fraction, of bf16 and of float alike.
    constexpr char bit = 0x40;
    std::size_t bytes = 0;
    char* written = most_changed(before, bytes);
    if (written && fault.byte < bytes) written[fault.byte] ^= bit;
}

}  // namespace

int run(const KernelCall& call)
{
    static const Fault fault;
    const bool faulty = fault.kernel == call.kernel->name;
    const Contents before = faulty ? contents() : Contents();
    counters.launches++;
    counters.launchesOf[call.kernel->name]++;
    std::string message;
    const std::uint64_t seed = static_cast<std::uint64_t>(settings.seed) * 1000003u + static_cast<std::uint64_t>(counters.launches);
    const int result = run_grid(*call.kernel, call.grid, call.block, call.sharedBytes, call.arguments.get(), seed, message);
    if (result != Success) return failed(result, message);
    if (faulty) plant(fault, before);
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
