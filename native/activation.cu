// y = activation(x), and dx = dy * activation'(x) from the activation's output.
#include "elementwise.cuh"

template <class Number>
struct ActivationForwardArguments
{
    long long length;
    int activation, wide;
    const Number* x;
    Number* y;  // may be x
};

template <class Number>
struct ActivationBackwardArguments
{
    long long length;
    int activation, wide;
    const Number* y;
    const Number* dy;
    Number* dx;  // may be dy
};

namespace {

template <class Number>
struct Forward
{
    const ActivationForwardArguments<Number>& arguments;

    template <int Width>
    __device__ __forceinline__ void run(long long i) const
    {
        Lanes<Width> lanes = load_lanes<Width>(arguments.x + i);
#pragma unroll
        for (int l = 0; l < Width; l++) lanes.at[l] = activate(arguments.activation, lanes.at[l]);
        store_lanes<Width>(arguments.y + i, lanes);
    }
};

template <class Number>
struct Backward
{
    const ActivationBackwardArguments<Number>& arguments;

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

KERNEL(ElementThreads, activation_forward_fp32, ActivationForwardArguments<float>)
{
    for_each_run<WideOf<float>>(arguments.length, arguments.wide, Forward<float>{arguments});
}

KERNEL(ElementThreads, activation_forward_bf16, ActivationForwardArguments<bf16>)
{
    for_each_run<WideOf<bf16>>(arguments.length, arguments.wide, Forward<bf16>{arguments});
}

KERNEL(ElementThreads, activation_backward_fp32, ActivationBackwardArguments<float>)
{
    for_each_run<WideOf<float>>(arguments.length, arguments.wide, Backward<float>{arguments});
}

KERNEL(ElementThreads, activation_backward_bf16, ActivationBackwardArguments<bf16>)
{
    for_each_run<WideOf<bf16>>(arguments.length, arguments.wide, Backward<bf16>{arguments});
}
