// The part of CUDA C that the kernels use, for nvcc and for clang without a CUDA toolkit. On the host the emulated driver
// (tests/emulated-driver) defines the same names before this file is included.
#pragma once

#if defined(FEEDBACK_EMULATED_DEVICE)
// The emulated driver has defined everything.
// nvcc with clang as its host compiler defines __clang__ as well.
#elif defined(__clang__) && !defined(__NVCC__)

#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(threads) __attribute__((launch_bounds(threads)))

struct Index3
{
    unsigned x, y, z;
};

__device__ __forceinline__ Index3 index_of(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }

#define threadIdx index_of(__nvvm_read_ptx_sreg_tid_x(), __nvvm_read_ptx_sreg_tid_y(), __nvvm_read_ptx_sreg_tid_z())
#define blockIdx index_of(__nvvm_read_ptx_sreg_ctaid_x(), __nvvm_read_ptx_sreg_ctaid_y(), __nvvm_read_ptx_sreg_ctaid_z())
#define gridDim index_of(__nvvm_read_ptx_sreg_nctaid_x(), __nvvm_read_ptx_sreg_nctaid_y(), __nvvm_read_ptx_sreg_nctaid_z())

__device__ __forceinline__ float fmaf(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
__device__ __forceinline__ double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
__device__ __forceinline__ float sqrtf(float a) { return __builtin_sqrtf(a); }
__device__ __forceinline__ double sqrt(double a) { return __builtin_sqrt(a); }
__device__ __forceinline__ double rint(double a) { return __builtin_rint(a); }
__device__ __forceinline__ float fabsf(float a) { return __builtin_fabsf(a); }
__device__ __forceinline__ float exp2_approximate(float a) { return __nvvm_ex2_approx_f(a); }
__device__ __forceinline__ int __popc(unsigned a) { return __builtin_popcount(a); }

__device__ __forceinline__ unsigned __shfl_xor_sync(unsigned mask, unsigned value, int lanes)
{
    return __nvvm_shfl_sync_bfly_i32(mask, value, lanes, 31);
}

#elif defined(__CUDACC__)

__device__ __forceinline__ float exp2_approximate(float a)
{
    float result;
    asm("ex2.approx.f32 %0, %1;" : "=f"(result) : "f"(a));
    return result;
}

#else
#error "compile as CUDA with clang 18 or newer or with nvcc 12 or newer; see CMakeLists.txt"
#endif

#if !defined(FEEDBACK_EMULATED_DEVICE)

// A kernel takes one struct by value; the host has a struct of the same layout.
#define KERNEL(threads, name, Arguments) extern "C" __global__ void __launch_bounds__(threads) name(const Arguments arguments)

// Shared memory, up to 48 KiB, undefined until written.
#define SHARED(Type, name) __shared__ Type name

// Dynamic shared memory: the launch gives sizeof(Type) bytes, also more than 48 KiB. Aligned to 1024 bytes.
#define DYNAMIC_SHARED(Type, name)                                                  \
    extern __shared__ __attribute__((aligned(1024))) unsigned char dynamic_shared[]; \
    Type& name = *reinterpret_cast<Type*>(dynamic_shared)

// The same where the size depends on the arguments; `bytes` has to be what the launch gives.
#define DYNAMIC_SHARED_BYTES(name, bytes)                                           \
    extern __shared__ __attribute__((aligned(1024))) unsigned char dynamic_shared[]; \
    unsigned char* const name = (static_cast<void>(bytes), dynamic_shared)

template <class To, class From>
__device__ __forceinline__ To bits_as(From from)
{
    static_assert(sizeof(To) == sizeof(From), "a bit pattern keeps its size");
    To to;
#if defined(__clang__) && !defined(__NVCC__)
    __builtin_memcpy(&to, &from, sizeof(To));
#else
    memcpy(&to, &from, sizeof(To));
#endif
    return to;
}

// Rounds two numbers to bf16 (to nearest, ties to even; NaN stays NaN) and packs them, the first into the lower half.
__device__ __forceinline__ unsigned pack_bf16(float first, float second)
{
    unsigned packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(second), "f"(first));
    return packed;
}

#endif

// The upper half of a binary32. Arithmetic is in float.
struct bf16
{
    unsigned short bits;
};

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(bf16 value) { return bits_as<float>(static_cast<unsigned>(value.bits) << 16); }

// The two bf16 of a word that pack_bf16 made.
__device__ __forceinline__ float lower_of(unsigned pair) { return bits_as<float>(pair << 16); }
__device__ __forceinline__ float upper_of(unsigned pair) { return bits_as<float>(pair & 0xFFFF0000u); }

template <class Number>
__device__ __forceinline__ Number rounded_to(float value)
{
    if constexpr (sizeof(Number) == sizeof(float)) return value;
    else return {static_cast<unsigned short>(pack_bf16(value, 0))};
}

// Contiguous elements that one instruction loads or stores. Their address has to be a multiple of their size; the emulated driver
// checks that.
template <class Element, int Count>
struct alignas(sizeof(Element) * Count) Vector
{
    Element at[Count];
};

template <int Count, class Element>
__device__ __forceinline__ Vector<Element, Count> load_vector(const Element* address)
{
#if defined(FEEDBACK_EMULATED_DEVICE)
    emulated_require_aligned(address, sizeof(Vector<Element, Count>));
#endif
    return *reinterpret_cast<const Vector<Element, Count>*>(address);
}

template <class Element, int Count>
__device__ __forceinline__ void store_vector(Element* address, const Vector<Element, Count>& value)
{
#if defined(FEEDBACK_EMULATED_DEVICE)
    emulated_require_aligned(address, sizeof(Vector<Element, Count>));
#endif
    *reinterpret_cast<Vector<Element, Count>*>(address) = value;
}

// Elements in 16 bytes, the most that one instruction loads or stores.
template <class Number>
constexpr int WideOf = 16 / static_cast<int>(sizeof(Number));

// Elements in registers, as float whatever their type in memory. Width is 1, or WideOf where the host has checked that channels and
// addresses allow 16 bytes at a time, or 2 where a thread has pairs.
template <int Width>
struct Lanes
{
    float at[Width];
};

template <int Width>
__device__ __forceinline__ Lanes<Width> load_lanes(const float* address)
{
    Lanes<Width> lanes;
    constexpr int Count = Width < 4 ? Width : 4;
#pragma unroll
    for (int i = 0; i < Width; i += Count)
    {
        const Vector<float, Count> vector = load_vector<Count>(address + i);
#pragma unroll
        for (int j = 0; j < Count; j++) lanes.at[i + j] = vector.at[j];
    }

    return lanes;
}

template <int Width>
__device__ __forceinline__ void store_lanes(float* address, const Lanes<Width>& lanes)
{
    constexpr int Count = Width < 4 ? Width : 4;
#pragma unroll
    for (int i = 0; i < Width; i += Count)
    {
        Vector<float, Count> vector;
#pragma unroll
        for (int j = 0; j < Count; j++) vector.at[j] = lanes.at[i + j];
        store_vector(address + i, vector);
    }
}

template <int Width>
__device__ __forceinline__ Lanes<Width> load_lanes(const bf16* address)
{
    Lanes<Width> lanes;
    if constexpr (Width == 1) lanes.at[0] = to_float(address[0]);
    else
    {
        const Vector<unsigned, Width / 2> pairs = load_vector<Width / 2>(reinterpret_cast<const unsigned*>(address));
#pragma unroll
        for (int i = 0; i < Width; i++) lanes.at[i] = i % 2 == 0 ? lower_of(pairs.at[i / 2]) : upper_of(pairs.at[i / 2]);
    }

    return lanes;
}

template <int Width>
__device__ __forceinline__ void store_lanes(bf16* address, const Lanes<Width>& lanes)
{
    if constexpr (Width == 1) address[0] = rounded_to<bf16>(lanes.at[0]);
    else
    {
        Vector<unsigned, Width / 2> pairs;
#pragma unroll
        for (int i = 0; i < Width; i += 2) pairs.at[i / 2] = pack_bf16(lanes.at[i], lanes.at[i + 1]);
        store_vector(reinterpret_cast<unsigned*>(address), pairs);
    }
}

template <class Number>
__device__ __forceinline__ float load_number(const Number* address) { return to_float(*address); }

template <class Number>
__device__ __forceinline__ void store_number(Number* address, float value) { *address = rounded_to<Number>(value); }
