// Sizes in the project's alphabet. NativeConvShape and NativePoolShape in C# have the same layout.
#pragma once

#include "device.cuh"

// a / b, rounded up; a not negative, b positive.
__device__ __forceinline__ constexpr int divide_up(int a, int b) { return (a + b - 1) / b; }

struct ConvShape
{
    int N, H, W, C, K, R, S, P, Q, stride, padding;
};

struct PoolShape
{
    int N, H, W, C, R, S, P, Q, stride, padding;
};

enum Activation
{
    ActivationNone = 0,
    ActivationRelu = 1,
    ActivationSigmoid = 2
};
