// result = source, in another type or the same.
#include "elementwise.cuh"

template <class From, class To>
struct ConvertArguments
{
    long long length;
    int wide;
    const From* source;
    To* result;
};

namespace {

template <class From, class To>
struct Conversion
{
    const ConvertArguments<From, To>& arguments;

    template <int Width>
    __device__ __forceinline__ void run(long long i) const
    {
        store_lanes<Width>(arguments.result + i, load_lanes<Width>(arguments.source + i));
    }
};

using FloatArguments = ConvertArguments<float, float>;
using RoundArguments = ConvertArguments<float, bf16>;
using WidenArguments = ConvertArguments<bf16, float>;
using Bf16Arguments = ConvertArguments<bf16, bf16>;

}  // namespace

KERNEL(ElementThreads, convert_fp32_to_fp32, FloatArguments)
{
    for_each_run<WideOf<bf16>>(arguments.length, arguments.wide, Conversion<float, float>{arguments});
}

KERNEL(ElementThreads, convert_fp32_to_bf16, RoundArguments)
{
    for_each_run<WideOf<bf16>>(arguments.length, arguments.wide, Conversion<float, bf16>{arguments});
}

KERNEL(ElementThreads, convert_bf16_to_fp32, WidenArguments)
{
    for_each_run<WideOf<bf16>>(arguments.length, arguments.wide, Conversion<bf16, float>{arguments});
}

KERNEL(ElementThreads, convert_bf16_to_bf16, Bf16Arguments)
{
    for_each_run<WideOf<bf16>>(arguments.length, arguments.wide, Conversion<bf16, bf16>{arguments});
}
