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

KERNEL(ElementThreads, activation_forward, ActivationForwardArguments)
{
    for_each_run(arguments.length, arguments.fours, [&](auto run, long long i) {
        constexpr int Width = decltype(run)::Width;
        Lanes<Width> lanes = load_lanes<Width>(arguments.x + i);
#pragma unroll
        for (int l = 0; l < Width; l++) lanes.at[l] = activate(arguments.activation, lanes.at[l]);
        store_lanes<Width>(arguments.y + i, lanes);
    });
}

KERNEL(ElementThreads, activation_backward, ActivationBackwardArguments)
{
    for_each_run(arguments.length, arguments.fours, [&](auto run, long long i) {
        constexpr int Width = decltype(run)::Width;
        const Lanes<Width> y = load_lanes<Width>(arguments.y + i);
        Lanes<Width> lanes = load_lanes<Width>(arguments.dy + i);
#pragma unroll
        for (int l = 0; l < Width; l++)
        {
            if (arguments.activation == ActivationRelu) lanes.at[l] *= y.at[l] > 0 ? 1.0f : 0.0f;
            if (arguments.activation == ActivationSigmoid) lanes.at[l] *= y.at[l] * (1 - y.at[l]);
        }

        store_lanes<Width>(arguments.dx + i, lanes);
    });
}
