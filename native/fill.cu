// values = a constant, or the normal numbers of a random stream.
#include "elementwise.cuh"
#include "random.cuh"

struct FillArguments
{
    long long length;
    int fours;
    float value;
    float* values;
};

struct FillGaussianArguments
{
    long long length;
    RandomKey key;
    float standardDeviation;
    float* values;
};

namespace {

struct Constant
{
    const FillArguments& arguments;

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

KERNEL(ElementThreads, fill, FillArguments)
{
    for_each_run(arguments.length, arguments.fours, Constant{arguments});
}

// A thread makes the four numbers of a random block.
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
