// values = a constant, or the normal numbers of a random stream.
#include "elementwise.cuh"
#include "random.cuh"

template <class Number>
struct FillArguments
{
    long long length;
    int wide;
    float value;
    Number* values;
};

struct FillGaussianArguments
{
    long long length;
    RandomKey key;
    float standardDeviation;
    float* values;
};

namespace {

template <class Number>
struct Constant
{
    const FillArguments<Number>& arguments;

    template <int Width>
    __device__ __forceinline__ void run(long long i) const
    {
        Lanes<Width> lanes;
#pragma unroll
        for (int l = 0; l < Width; l++) lanes.at[l] = arguments.value;
        store_lanes<Width>(arguments.values + i, lanes);
    }
};

}  // namespace

KERNEL(ElementThreads, fill_fp32, FillArguments<float>)
{
    for_each_run<WideOf<float>>(arguments.length, arguments.wide, Constant<float>{arguments});
}

KERNEL(ElementThreads, fill_bf16, FillArguments<bf16>)
{
    for_each_run<WideOf<bf16>>(arguments.length, arguments.wide, Constant<bf16>{arguments});
}

// A thread computes the four numbers of a random block.
KERNEL(ElementThreads, fill_gaussian, FillGaussianArguments)
{
    const long long block = static_cast<long long>(blockIdx.x) * ElementThreads + threadIdx.x;
    if (block * 4 >= arguments.length) return;
    const RandomBlock words = arguments.key.block(static_cast<unsigned>(block));
    const Gaussians first = gaussians(words.word[0], words.word[1], arguments.standardDeviation);
    const Gaussians second = gaussians(words.word[2], words.word[3], arguments.standardDeviation);
    const float four[4] = {first.first, first.second, second.first, second.second};
    for (int j = 0; j < 4 && block * 4 + j < arguments.length; j++) arguments.values[block * 4 + j] = four[j];
}
