// The cross-entropy loss of each row of logits and, where wanted, the gradient of the mean over the rows. A warp computes a row, in
// double precision: there is too little work for speed to matter. Overwrites losses and dLogits. A row whose label is not a class
// gets NaN, and is reported to the host in `fault`.
#include "numbers.cuh"

constexpr int WarpLanes = 32, RowsPerBlock = 4, CrossEntropyThreads = WarpLanes * RowsPerBlock;

template <class Logit, class Error>
struct CrossEntropyArguments
{
    int sigmoid;  // binary cross-entropy of sigmoids instead of softmax
    int rows, classes;
    float smoothing;
    const Logit* logits;  // [rows][classes]
    const int* labels;    // [rows]
    float* losses;        // [rows]
    Error* dLogits;       // [rows][classes] or null; may be logits
    int* fault;           // [4]: 1 + the first row whose label is not a class, the label, the classes, 0; zeros until there is one
};

namespace {

__device__ __forceinline__ double exchange(double value, int lanes)
{
    const unsigned long long bits = bits_as<unsigned long long>(value);
    const unsigned low = __shfl_xor_sync(~0u, static_cast<unsigned>(bits), lanes);
    const unsigned high = __shfl_xor_sync(~0u, static_cast<unsigned>(bits >> 32), lanes);
    return bits_as<double>(static_cast<unsigned long long>(high) << 32 | low);
}

// Every lane gets the same sum, because each pair of lanes adds the same two numbers.
__device__ __forceinline__ double sum_of_warp(double value)
{
    for (int lanes = WarpLanes / 2; lanes > 0; lanes /= 2) value += exchange(value, lanes);
    return value;
}

__device__ __forceinline__ double maximum_of_warp(double value)
{
    for (int lanes = WarpLanes / 2; lanes > 0; lanes /= 2)
    {
        const double other = exchange(value, lanes);
        value = other > value ? other : value;
    }

    return value;
}

// Reports the first bad row of a launch, unless one has been reported before. At most one warp writes.
template <class Logit, class Error>
__device__ inline void note_fault(const CrossEntropyArguments<Logit, Error>& arguments, int n, int lane)
{
    int before = 0;
    for (int i = lane; i < n; i += WarpLanes) before |= arguments.labels[i] < 0 || arguments.labels[i] >= arguments.classes;
    for (int lanes = WarpLanes / 2; lanes > 0; lanes /= 2) before |= __shfl_xor_sync(~0u, static_cast<unsigned>(before), lanes);
    if (before || lane != 0 || arguments.fault[0] != 0) return;
    arguments.fault[1] = arguments.labels[n];
    arguments.fault[2] = arguments.classes;
    arguments.fault[0] = n + 1;
}

template <class Logit, class Error>
__device__ __forceinline__ void cross_entropy(const CrossEntropyArguments<Logit, Error>& arguments)
{
    const int lane = threadIdx.x % WarpLanes, n = blockIdx.x * RowsPerBlock + threadIdx.x / WarpLanes, classes = arguments.classes;
    if (n >= arguments.rows) return;
    const long long row = static_cast<long long>(n) * classes;
    const int label = arguments.labels[n];
    const bool known = label >= 0 && label < classes;
    if (!known) note_fault(arguments, n, lane);
    double logSum = 0;
    if (!arguments.sigmoid)
    {
        double most = bits_as<double>(0xFFF0000000000000ull), sum = 0;
        for (int k = lane; k < classes; k += WarpLanes)
        {
            const double z = load_number(arguments.logits + row + k);
            most = z > most ? z : most;
        }

        most = maximum_of_warp(most);
        for (int k = lane; k < classes; k += WarpLanes) sum += exp_double(load_number(arguments.logits + row + k) - most);
        logSum = most + log_double(sum_of_warp(sum));
    }

    double loss = 0;
    for (int k = lane; k < classes; k += WarpLanes)
    {
        const double z = load_number(arguments.logits + row + k), smoothing = arguments.smoothing;
        const double target = (k == label ? 1 - smoothing : 0) + smoothing / classes;
        double probability;
        if (!arguments.sigmoid)
        {
            probability = exp_double(z - logSum);
            loss -= target * (z - logSum);
        }
        else
        {
            // max(z, 0) - z t + log(1 + exp(-|z|)): the binary cross-entropy without overflow.
            const double small = exp_double(z < 0 ? z : -z);
            probability = (z < 0 ? small : 1) / (1 + small);
            loss += (z > 0 ? z : 0) - z * target + log_double(1 + small);
        }

        const float error = static_cast<float>((probability - target) / arguments.rows);
        if (arguments.dLogits) store_number(arguments.dLogits + row + k, known ? error : bits_as<float>(0x7FC00000u));
    }

    loss = sum_of_warp(loss);
    if (lane == 0) arguments.losses[n] = known ? static_cast<float>(loss) : bits_as<float>(0x7FC00000u);
}

using FloatArguments = CrossEntropyArguments<float, float>;
using FloatToBf16Arguments = CrossEntropyArguments<float, bf16>;
using Bf16Arguments = CrossEntropyArguments<bf16, bf16>;

}  // namespace

// Names have the types of logits and gradient.
KERNEL(CrossEntropyThreads, cross_entropy_fp32_fp32, FloatArguments) { cross_entropy(arguments); }
KERNEL(CrossEntropyThreads, cross_entropy_fp32_bf16, FloatToBf16Arguments) { cross_entropy(arguments); }
KERNEL(CrossEntropyThreads, cross_entropy_bf16_bf16, Bf16Arguments) { cross_entropy(arguments); }
