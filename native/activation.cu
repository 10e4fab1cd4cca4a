// y = activation(x), and dx = dy * activation'(x) from the activation's output.
#include "elementwise.cuh"

struct ActivationForwardArguments
{
    long long length;
    int activation, fours;
    const float* x;
    float* y;  // may be x
};

struct ActivationBackwardArguments
{
    long long length;
    int activation, fours;
    const float* y;
    const float* dy;
    float* dx;  // may be dy
};

namespace {

struct Forward
{
    const ActivationForwardArguments& arguments;

    template <int Width>
    __device__ __forceinline__ void run(long long i) const
    {
        Lanes<Width> lanes = load_lanes<Width>(arguments.x + i);
#pragma unroll
        for (int l = 0; l < Width; l++) lanes.at[l] = activate(arguments.activation, lanes.at[l]);
        store_lanes<Width>(arguments.y + i, lanes);
    }
};

struct Backward
{
    const ActivationBackwardArguments& arguments;

    template <int Width>
    __device__ __forceinline__ void run(long long i) const
    {
        const Lanes<Width> y = load_lanes<Width>(arguments.y + i);
        Lanes<Width> lanes = load_lanes<Width>(arguments.dy + i);
#pragma unroll
        for (int l = 0; l < Width; l++)
        {
            if (arguments.activation == ActivationRelu) lanes.at[l] *= y.at[l] > 0 ? 1.0f : 0.0f;
            if (arguments.activation == ActivationSigmoid) lanes.at[l] *= y.at[l] * (1 - y.at[l]);
        }

        store_lanes<Width>(arguments.dx + i, lanes);
    }
};

}  // namespace

KERNEL(ElementThreads, activation_forward, ActivationForwardArguments)
{
    for_each_run(arguments.length, arguments.fours, Forward{arguments});
}

KERNEL(ElementThreads, activation_backward, ActivationBackwardArguments)
{
    for_each_run(arguments.length, arguments.fours, Backward{arguments});
}
