// Operations between forward weights [R][S][C][K] and feedback weights [R][S][K][C].
#include "sgd.cuh"
#include "transposed.cuh"

struct TransposedCombineArguments
{
    TransposedShape shape;
    float alpha, beta;
    const float* w;  // forward layout
    const float* r;  // feedback layout; not read when beta is 0; may be b
    float* b;        // feedback layout
};

struct SignTransposedArguments
{
    TransposedShape shape;
    float scale;
    const float* w;           // forward layout
    const float* magnitudes;  // feedback layout or null
    float* b;                 // feedback layout
};

struct SgdUpdateTransposedArguments
{
    TransposedShape shape;
    SgdStep step;
    float* b;          // feedback layout
    const float* dw;   // forward layout
    float* velocity;   // feedback layout
};

// b = alpha * w^T + beta * r.
KERNEL(SquareThreads, transposed_combine, TransposedCombineArguments)
{
    SHARED(Square, square);
    walk_transposed(
        square, arguments.shape, [&](long long i) { return arguments.w[i]; },
        [&](long long j, float w) {
            const float value = arguments.alpha * w;
            arguments.b[j] = arguments.beta == 0 ? value : fmaf(arguments.beta, arguments.r[j], value);
        });
}

// b = scale * sign(w^T), or scale * abs(magnitudes) * sign(w^T); sign(0) is 0.
KERNEL(SquareThreads, sign_transposed, SignTransposedArguments)
{
    SHARED(Square, square);
    walk_transposed(
        square, arguments.shape, [&](long long i) { return arguments.w[i]; },
        [&](long long j, float w) {
            const float magnitude = arguments.magnitudes ? arguments.scale * fabsf(arguments.magnitudes[j]) : arguments.scale;
            arguments.b[j] = w > 0 ? magnitude : w < 0 ? -magnitude : 0;
        });
}

// Kolen-Pollack: the step of SGD on feedback weights with the transposed forward gradient.
KERNEL(SquareThreads, sgd_update_transposed, SgdUpdateTransposedArguments)
{
    SHARED(Square, square);
    walk_transposed(
        square, arguments.shape, [&](long long i) { return arguments.dw[i]; },
        [&](long long j, float gradient) { arguments.step.apply(arguments.b[j], gradient, arguments.velocity[j]); });
}
