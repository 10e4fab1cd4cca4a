// What the kernels need of the language: CUDA C under nvcc, under clang without a CUDA toolkit, and on the host, where the
// emulated driver (tests/emulated-driver) includes its own definitions of the same names before this file.
#pragma once

#if defined(FEEDBACK_EMULATED_DEVICE)
// Everything is defined.
// nvcc may have clang as its host compiler, which then defines __clang__ too.
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

// A kernel takes one struct by value, so that its host side is one struct of the same layout.
#define KERNEL(threads, name, Arguments) extern "C" __global__ void __launch_bounds__(threads) name(const Arguments arguments)

// Memory that the threads of a block share; its contents are undefined until written.
#define SHARED(Type, name) __shared__ Type name

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

#endif

struct alignas(16) Float4
{
    float at[4];
};

// The one way in which kernels move several numbers at once: addresses are multiples of 16 bytes, which the emulation checks.
__device__ __forceinline__ Float4 load4(const float* address)
{
#if defined(FEEDBACK_EMULATED_DEVICE)
    emulated_require_aligned(address, sizeof(Float4));
#endif
    return *reinterpret_cast<const Float4*>(address);
}

__device__ __forceinline__ void store4(float* address, Float4 value)
{
#if defined(FEEDBACK_EMULATED_DEVICE)
    emulated_require_aligned(address, sizeof(Float4));
#endif
    *reinterpret_cast<Float4*>(address) = value;
}

struct alignas(8) Float2
{
    float at[2];
};

__device__ __forceinline__ Float2 load2(const float* address)
{
#if defined(FEEDBACK_EMULATED_DEVICE)
    emulated_require_aligned(address, sizeof(Float2));
#endif
    return *reinterpret_cast<const Float2*>(address);
}

__device__ __forceinline__ void store2(float* address, Float2 value)
{
#if defined(FEEDBACK_EMULATED_DEVICE)
    emulated_require_aligned(address, sizeof(Float2));
#endif
    *reinterpret_cast<Float2*>(address) = value;
}

// Any width with one name: Width is 1 unless the host has seen that channels and addresses allow fours, and then 4, or 2
// where a thread holds pairs.
template <int Width>
struct Lanes
{
    float at[Width];
};

template <int Width>
__device__ __forceinline__ Lanes<Width> load_lanes(const float* address)
{
    Lanes<Width> lanes;
    if constexpr (Width == 4)
    {
        Float4 four = load4(address);
#pragma unroll
        for (int i = 0; i < 4; i++) lanes.at[i] = four.at[i];
    }
    else if constexpr (Width == 2)
    {
        const Float2 two = load2(address);
        lanes.at[0] = two.at[0];
        lanes.at[1] = two.at[1];
    }
    else
    {
        lanes.at[0] = address[0];
    }

    return lanes;
}

template <int Width>
__device__ __forceinline__ void store_lanes(float* address, Lanes<Width> lanes)
{
    if constexpr (Width == 4) store4(address, Float4{{lanes.at[0], lanes.at[1], lanes.at[2], lanes.at[3]}});
    else if constexpr (Width == 2) store2(address, Float2{{lanes.at[0], lanes.at[1]}});
    else address[0] = lanes.at[0];
}
