// Activations from packed bytes: each image moved, turned left to right, and looked up in a table, as one pass. A block works
// on a run of one image, whose random numbers its first thread draws.
#include "random.cuh"

constexpr int AugmentThreads = 256, AugmentRun = 1024;

struct AugmentArguments
{
    int N, H, W, C, reach, flip;
    RandomKey key;                // its step is the image's number
    const unsigned char* pixels;  // [N][H][W][C]
    const int* numbers;           // [N]
    const float* table;           // [256][C]
    void* x;                      // [N][H][W][C], of the kernel's type
};

namespace {

struct Draw
{
    int down, right, flip;
};

// 0 to bound - 1, as RandomSequence.NextInt in C#.
__device__ __forceinline__ int below(unsigned word, int bound)
{
    return static_cast<int>(static_cast<unsigned long long>(word) * static_cast<unsigned>(bound) >> 32);
}

__device__ inline Draw draw(const AugmentArguments& arguments, int number)
{
    RandomKey key = arguments.key;
    key.step = static_cast<unsigned>(number);
    const RandomBlock block = key.block(0);
    const int reach = arguments.reach, bound = 2 * reach + 1;
    return {below(block.word[0], bound) - reach, below(block.word[1], bound) - reach, below(block.word[2], 2) & arguments.flip};
}

// Out is what activations are stored as.
template <class Out>
__device__ __forceinline__ void augment(const AugmentArguments& arguments, Draw& drawn)
{
    Out* x = static_cast<Out*>(arguments.x);
    const int H = arguments.H, W = arguments.W, C = arguments.C, length = H * W * C;
    const int first = blockIdx.x * AugmentRun;
    for (int n = blockIdx.y; n < arguments.N; n += gridDim.y)
    {
        if (threadIdx.x == 0) drawn = draw(arguments, arguments.numbers[n]);
        __syncthreads();
        const long long image = static_cast<long long>(n) * length;
        for (int i = first + threadIdx.x; i < length && i < first + AugmentRun; i += AugmentThreads)
        {
            const int pixel = i / C, c = i - pixel * C, h = pixel / W, w = pixel - h * W;
            const int row = h + drawn.down, column = (drawn.flip ? W - 1 - w : w) + drawn.right;
            const bool inside = row >= 0 && row < H && column >= 0 && column < W;
            x[image + i] = static_cast<Out>(inside ? arguments.table[arguments.pixels[image + (row * W + column) * C + c] * C + c] : 0.0f);
        }

        // The next image's draw overwrites this one's.
        __syncthreads();
    }
}

}  // namespace

KERNEL(AugmentThreads, augment_images, AugmentArguments)
{
    SHARED(Draw, drawn);
    augment<float>(arguments, drawn);
}
