// g' = gradientScale * gradientFactor * g + weightDecay * w; v = momentum * v + g'; w = shrink * (w - learningRate * (nesterov ? g' + momentum * v : v)).
#pragma once

#include "numbers.cuh"

// SgdStep in C#.
struct SgdStep
{
    float learningRate, momentum, weightDecay, gradientScale, shrink;
    int nesterov;
    const float* gradientFactor;  // or null for 1

    // The step with the factor, which a kernel on the device may have computed, in the scale.
    __device__ __forceinline__ SgdStep read() const
    {
        SgdStep step = *this;
        if (gradientFactor) step.gradientScale *= *gradientFactor;
        return step;
    }

    __device__ __forceinline__ void apply(float& parameter, float gradient, float& velocity) const
    {
        const float g = fmaf(weightDecay, parameter, gradientScale * gradient);
        velocity = fmaf(momentum, velocity, g);
        const float move = nesterov ? fmaf(momentum, velocity, g) : velocity;
        parameter = shrink * fmaf(-learningRate, move, parameter);
    }
};
