// cuTensorMapEncodeTiled, with the requirements that cuda.h lists for it.
#include "tensor_map.h"

#include <cstring>
#include <string>

#include "driver.h"
#include "memory.h"
#include "results.h"

using namespace emulated;

namespace {

enum Interleave
{
    InterleaveNone,
    Interleave16,
    Interleave32
};

// By CUtensorMapDataType: unsigned 8, 16 and 32 bits, int32, unsigned and signed 64, fp16, fp32, fp64, bf16, fp32 ftz, tf32 twice.
constexpr unsigned ElementBytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
constexpr unsigned FirstFloatType = 6, Types = sizeof ElementBytes / sizeof *ElementBytes;
// By CUtensorMapSwizzle; none is no limit.
constexpr unsigned SwizzleBytes[] = {0, 32, 64, 128};

std::string at(const char* array, unsigned i) { return std::string(array) + "[" + std::to_string(i) + "]"; }

// What is wrong with one dimension; empty where nothing is.
std::string fault_of_dimension(const TensorMap& map, unsigned i, const std::uint64_t* sizes, const std::uint32_t* box, const std::uint32_t* steps)
{
    if (sizes[i] == 0 || sizes[i] > 1ull << 32) return at("globalDim", i) + " is " + std::to_string(sizes[i]) + ", wanted 1 to 2^32";
    if (box[i] == 0 || box[i] > 256) return at("boxDim", i) + " is " + std::to_string(box[i]) + ", wanted 1 to 256";
    // The TMA has no step along the innermost dimension, so there the driver ignores the number.
    if ((i > 0 || map.interleave != InterleaveNone) && (steps[i] == 0 || steps[i] > 8))
        return at("elementStrides", i) + " is " + std::to_string(steps[i]) + ", wanted 1 to 8";
    return "";
}

std::string fault_of_stride(const TensorMap& map, unsigned i, const std::uint64_t* strides)
{
    const unsigned multiple = map.interleave == Interleave32 ? 32 : 16;
    if (strides[i] % multiple == 0 && strides[i] < 1ull << 40) return "";
    return at("globalStrides", i) + " is " + std::to_string(strides[i]) + " bytes, wanted a multiple of " + std::to_string(multiple) + " below 2^40";
}

std::string fault_of_layout(const TensorMap& map)
{
    const unsigned alignment = map.interleave == Interleave32 ? 32 : 16, inner = map.box[0] * map.elementBytes;
    if (map.address % alignment != 0) return "globalAddress is no multiple of " + std::to_string(alignment);
    if (map.interleave != InterleaveNone && map.rank < 3) return "interleaved layouts have a rank of 3 or more";
    if (map.interleave == Interleave32 && map.swizzle != 1) return "a layout interleaved by 32 bytes takes the swizzle of 32 bytes";
    if (map.interleave == InterleaveNone && inner % 16 != 0)
        return "boxDim[0] is " + std::to_string(inner) + " bytes, wanted a multiple of 16";
    if (map.interleave == InterleaveNone && map.swizzle != 0 && inner > SwizzleBytes[map.swizzle])
        return "boxDim[0] is " + std::to_string(inner) + " bytes, the swizzle is of " + std::to_string(SwizzleBytes[map.swizzle]);
    return "";
}

}  // namespace

EXPORT int cuTensorMapEncodeTiled(
    void* result, unsigned type, std::uint32_t rank, void* address, const std::uint64_t* sizes, const std::uint64_t* strides, const std::uint32_t* box,
    const std::uint32_t* steps, unsigned interleave, unsigned swizzle, unsigned promotion, unsigned fill)
{
    const auto invalid = [](const std::string& what) { return failed(InvalidValue, "cuTensorMapEncodeTiled: " + what); };
    if (!is_initialised()) return NotInitialized;
    if (!has_context()) return InvalidContext;
    if (settings.computeMajor < 9) return failed(NotSupported, "cuTensorMapEncodeTiled: tensor maps are of compute capability 9.0 or higher");
    if (!result || reinterpret_cast<std::uintptr_t>(result) % 64 != 0) return invalid("tensorMap is no multiple of 64");
    if (type >= Types) return invalid("tensorDataType is " + std::to_string(type));
    if (rank == 0 || rank > TensorMap::MostDimensions) return invalid("tensorRank is " + std::to_string(rank) + ", wanted 1 to 5");
    if (!address || !sizes || (rank > 1 && !strides) || !box || !steps) return invalid("an argument is null");
    if (interleave > Interleave32 || swizzle > 3 || promotion > 3 || fill > 1) return invalid("a mode is out of range");
    if (fill != 0 && type < FirstFloatType) return invalid("only floating-point types are filled with NaN");

    TensorMap map = {};
    map.mark = TensorMap::Mark;
    map.type = static_cast<std::uint8_t>(type);
    map.rank = static_cast<std::uint8_t>(rank);
    map.interleave = static_cast<std::uint8_t>(interleave);
    map.swizzle = static_cast<std::uint8_t>(swizzle);
    map.promotion = static_cast<std::uint8_t>(promotion);
    map.fill = static_cast<std::uint8_t>(fill);
    map.elementBytes = static_cast<std::uint8_t>(ElementBytes[type]);
    map.address = reinterpret_cast<std::uint64_t>(address);
    for (unsigned i = 0; i < rank; i++)
    {
        std::string fault = fault_of_dimension(map, i, sizes, box, steps);
        if (fault.empty() && i + 1 < rank) fault = fault_of_stride(map, i, strides);
        if (!fault.empty()) return invalid(fault);
        map.sizes[i] = sizes[i];
        map.box[i] = static_cast<std::uint16_t>(box[i]);
        map.elementStrides[i] = i == 0 && interleave == InterleaveNone ? 1 : static_cast<std::uint8_t>(steps[i]);
        if (i + 1 < rank) map.strides[i] = strides[i];
    }

    const std::string fault = fault_of_layout(map);
    if (!fault.empty()) return invalid(fault);
    std::memset(result, 0, 128);
    std::memcpy(result, &map, sizeof map);
    return Success;
}
