// Functions of one number. Clang without a CUDA toolkit has no device maths library, so exp, log, sin and cos are written here, in
// double precision with a relative error of a few 1e-16. They serve where little is computed: losses and random numbers.
#pragma once

#include "shapes.cuh"

__device__ __forceinline__ float relu(float x)
{
    // NaN stays NaN.
    return x > 0 || x != x ? x : 0;
}

__device__ __forceinline__ float sigmoid(float x)
{
    // exp2(128) is infinite, and its reciprocal is 0: no branch is needed for large arguments.
    const float log2e = 1.44269504f;
    return 1.0f / (1.0f + exp2_approximate(-x * log2e));
}

__device__ __forceinline__ float activate(int activation, float x)
{
    return activation == ActivationRelu ? relu(x) : activation == ActivationSigmoid ? sigmoid(x) : x;
}

__device__ __forceinline__ double power_of_two(int exponent)
{
    return bits_as<double>(static_cast<unsigned long long>(exponent + 1023) << 52);
}

__device__ inline double exp_double(double x)
{
    if (x != x) return x;
    if (x > 710) x = 710;
    if (x < -750) x = -750;
    const double n = rint(x * 1.4426950408889634);
    // n * ln 2 is subtracted in two parts, so that the reduced argument is accurate.
    double r = fma(-n, 0.6931471803691238, x);
    r = fma(-n, 1.9082149292705877e-10, r);
    // Taylor series up to the 13th power: the remainder for |r| < 0.347 is 4e-18.
    double sum = 1.0 / 6227020800.0;
    const double coefficients[] = {
        1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1, 1};
#pragma unroll
    for (int i = 0; i < 13; i++) sum = fma(sum, r, coefficients[i]);
    // Two factors, because 2^n alone may be outside the range of normal numbers.
    const int exponent = static_cast<int>(n), half = exponent / 2;
    return sum * power_of_two(half) * power_of_two(exponent - half);
}

// For positive normal numbers; returns infinity and NaN unchanged.
__device__ inline double log_double(double x)
{
    if (!(x < 1.7976931348623157e308)) return x;
    unsigned long long bits = bits_as<unsigned long long>(x);
    int exponent = static_cast<int>(bits >> 52) - 1023;
    double m = bits_as<double>((bits & 0xFFFFFFFFFFFFFull) | 0x3FF0000000000000ull);
    if (m > 1.4142135623730951)
    {
        m *= 0.5;
        exponent++;
    }

    // log m = 2 artanh(s); for s^2 < 0.0295 ten terms of the series are enough.
    const double s = (m - 1) / (m + 1), square = s * s;
    double sum = 1.0 / 21;
#pragma unroll
    for (int i = 19; i >= 1; i -= 2) sum = fma(sum, square, 1.0 / i);
    return fma(static_cast<double>(exponent), 0.6931471805599453, 2 * s * sum);
}

struct SinCos
{
    float sin, cos;
};

// For 0 <= x < 7. Rounded to the nearest float but in rare cases.
__device__ inline SinCos sin_cos(float x)
{
    const double quadrant = rint(x * 0.63661977236758134);
    const double r = fma(-quadrant, 1.5707963267948966, static_cast<double>(x)), square = r * r;
    const double sin =
        r * fma(square, fma(square, fma(square, fma(square, fma(square, -1.0 / 39916800, 1.0 / 362880), -1.0 / 5040), 1.0 / 120), -1.0 / 6), 1.0);
    const double lowCos = fma(square, fma(square, fma(square, 1.0 / 479001600, -1.0 / 3628800), 1.0 / 40320), -1.0 / 720);
    const double cos = fma(square, fma(square, fma(square, lowCos, 1.0 / 24), -0.5), 1.0);
    const int turn = static_cast<int>(quadrant) & 3;
    const double s = turn & 1 ? cos : sin, c = turn & 1 ? sin : cos;
    return {static_cast<float>(turn & 2 ? -s : s), static_cast<float>(turn == 1 || turn == 2 ? -c : c)};
}
