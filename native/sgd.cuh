// g' = gradientScale * g + weightDecay * w; v = momentum * v + g'; w = shrink * (w - learningRate * (nesterov ? g' + momentum * v : v)).
#pragma once

#include "numbers.cuh"

// SgdStep in C#.
struct SgdStep
{
    float learningRate, momentum, weightDecay, gradientScale, shrink;
    int nesterov;

    __device__ __forceinline__ void apply(float& parameter, float gradient, float& velocity) const
    {
        const float g = fmaf(weightDecay, parameter, gradientScale * gradient);
        velocity = fmaf(momentum, velocity, g);
        const float move = nesterov ? fmaf(momentum, velocity, g) : velocity;
        parameter = shrink * fmaf(-learningRate, move, parameter);
    }
};
