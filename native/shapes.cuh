// Sizes in the project's alphabet. The structs are mirrored by NativeConvShape and NativePoolShape in C#.
#pragma once

#include "device.cuh"

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
