// Feedback weights [R][S][K][C] from forward weights [R][S][C][K]. Each kernel also writes the bf16 copy of the feedback weights,
// where there is one.
#include "transposed.cuh"

struct TransposedCombineArguments
{
    TransposedShape shape;
    float alpha, beta;
    const float* w;  // forward layout
    const float* r;  // feedback layout; not read where beta is 0; may be b
    float* b;        // feedback layout
    bf16* copy;      // feedback layout or null
};

struct SignTransposedArguments
{
    TransposedShape shape;
    float scale;
    const float* w;           // forward layout
    const float* magnitudes;  // feedback layout or null
    float* b;                 // feedback layout
    bf16* copy;               // feedback layout or null
};

// b = alpha * w^T + beta * r.
KERNEL(SquareThreads, transposed_combine, TransposedCombineArguments)
{
    SHARED(Square, square);
    walk_transposed(
        square, arguments.shape, [&](long long i) { return arguments.w[i]; },
        [&](long long j, float w) {
            const float value = arguments.alpha * w;
            store_with_copy(arguments.b, arguments.copy, j, arguments.beta == 0 ? value : fmaf(arguments.beta, arguments.r[j], value));
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
            store_with_copy(arguments.b, arguments.copy, j, w > 0 ? magnitude : w < 0 ? -magnitude : 0);
        });
}
