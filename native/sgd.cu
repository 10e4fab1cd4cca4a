// One step of SGD in one pass over parameter, gradient and velocity; and over the copy that products read, where there is one.
#include "elementwise.cuh"
#include "sgd.cuh"

struct SgdUpdateArguments
{
    long long length;
    int wide;
    SgdStep step;
    float* parameter;
    const float* gradient;
    float* velocity;
    bf16* copy;  // or null
};

namespace {

struct Update
{
    const SgdUpdateArguments& arguments;
    const SgdStep step;

    template <int Width>
    __device__ __forceinline__ void run(long long i) const
    {
        Lanes<Width> parameter = load_lanes<Width>(arguments.parameter + i), velocity = load_lanes<Width>(arguments.velocity + i);
        const Lanes<Width> gradient = load_lanes<Width>(arguments.gradient + i);
#pragma unroll
        for (int l = 0; l < Width; l++) step.apply(parameter.at[l], gradient.at[l], velocity.at[l]);
        store_lanes<Width>(arguments.parameter + i, parameter);
        store_lanes<Width>(arguments.velocity + i, velocity);
        if (arguments.copy) store_lanes<Width>(arguments.copy + i, parameter);
    }
};

}  // namespace

KERNEL(ElementThreads, sgd_update, SgdUpdateArguments)
{
    for_each_run<WideOf<float>>(arguments.length, arguments.wide, Update{arguments, arguments.step.read()});
}
