// What the emulated driver keeps in the 128 opaque bytes of a CUtensorMap, for the emulated TMA to read.
#pragma once

#include <cstdint>

namespace emulated {

struct TensorMap
{
    static constexpr std::uint32_t Mark = 0x70614D54;
    static constexpr unsigned MostDimensions = 5;

    // `Mark`: tells an encoded map from bytes that nobody has written.
    std::uint32_t mark;
    // CUtensorMapDataType, rank, and then CUtensorMapInterleave, -Swizzle, -L2promotion and -FloatOOBfill.
    std::uint8_t type, rank, interleave, swizzle, promotion, fill;
    std::uint8_t elementStrides[MostDimensions];
    std::uint8_t elementBytes;
    std::uint64_t address;
    // Sizes in elements, the innermost first; strides in bytes, of the second dimension first.
    std::uint64_t sizes[MostDimensions], strides[MostDimensions - 1];
    std::uint16_t box[MostDimensions];
};

static_assert(sizeof(TensorMap) <= 128, "a CUtensorMap has 128 bytes");

}  // namespace emulated
