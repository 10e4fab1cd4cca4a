using System.Text.Json;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Conformance;
using FeedbackKernels.Tests.KnownAnswers;
using Xunit.Sdk;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>
/// Tensor cores that truncate, as those of GPUs do: the emulation of one instruction, the kernels on it, and that tolerances hold
/// there and would not hold with worse sums. <c>FEEDBACK_EMULATED_TRUNCATES=1</c> runs all tests that way.
/// </summary>
public class TruncationTests
{
    // 2^24, where a step of binary32 is 2. Fixed point goes on to 1 on Ampere and to 1/2 on Hopper.
    private const float Large = 1 << 24;

    // A layer of each kernel, with two blocks of 16 pixels or more.
    private static readonly Dictionary<string, (int Major, ConvShape Shape)> Kernels = new()
    {
        ["portable"] = (8, ConvShape.Linear(32, 12, 12)),
        ["few channels"] = (8, new(1, 8, 16, 3, 8, 1, 1, 1, 0)),
        ["pipelined"] = (8, ConvShape.Linear(32, 64, 64)),
        ["hopper"] = (9, ConvShape.Linear(32, 64, 64)),
    };

    public static TheoryData<string> KernelNames => [.. Kernels.Keys];

    /// <summary>By hand: the sum before, the operands (those that are not given are 0), and the results on Ampere and on Hopper.</summary>
    public static TheoryData<string, float, float[], float[], float, float> Cases()
    {
        float[] one = [1], halves = Repeat(0.5f), quarters = Repeat(0.25f), threeQuarters = Repeat(0.75f), ones = Repeat(1);
        float tiny = MathF.Pow(2, -75), infinity = float.PositiveInfinity, big = MathF.Pow(2, 127), least = float.Epsilon;
        return new()
        {
            { "nothing", 0, [], [], 0, 0 },
            { "a sum alone", 16777215, [], [], 16777215, 16777215 },
            { "16 halves below the step", Large, halves, ones, Large, Large + 8 },
            { "16 quarters", Large, quarters, ones, Large, Large },
            { "half of each is cut off", Large, threeQuarters, ones, Large, Large + 8 },
            { "towards zero from below", -Large, threeQuarters, Repeat(-1), -Large, -Large - 8 },
            { "each product towards zero, whatever the sum", Large, threeQuarters, Repeat(-1), Large, Large - 8 },
            { "a one is cut off the sum", Large, one, one, Large, Large },
            { "two ones of a block", Large, [1, 1], [1, 1], Large + 2, Large + 2 },
            { "two ones of two halves", Large, [1, 0, 0, 0, 0, 0, 0, 0, 1], ones, Large, Large + 2 },
            { "four ones of one half", Large, [1, 1, 1, 1], ones, Large + 4, Large + 4 },
            { "cancellation does not bring back what was cut off", 0, [4096, -4096, .. Repeat(0.25f, 14)], [4096, 4096, .. Repeat(1, 14)], 2, 0 },
            { "cancellation with the sum", -Large, [4096, .. Repeat(0.25f, 15)], [4096, .. Repeat(1, 15)], 2, 0 },
            // 1.5 * 1.5 has the exponent 0 of its factors: the unit is 2^-24 or 2^-25, not twice that.
            { "products are not normalised", 0, [1.5f, 1.5f, MathF.Pow(2, -12)], [1.5f, -1.5f, MathF.Pow(2, -13)], 0, MathF.Pow(2, -25) },
            { "the last bit of a product", 0, [1.5f, 1.5f, MathF.Pow(2, -12)], [1.5f, -1.5f, MathF.Pow(2, -12)], MathF.Pow(2, -24), MathF.Pow(2, -24) },
            { "a zero has no exponent", 1, [0, MathF.Pow(2, -20)], [big, 1], 1 + MathF.Pow(2, -20), 1 + MathF.Pow(2, -20) },
            { "infinity", 1, [infinity], one, infinity, infinity },
            { "minus infinity as the sum", -infinity, [1000], one, -infinity, -infinity },
            { "infinity less infinity", 0, [infinity, infinity], [1, -1], float.NaN, float.NaN },
            { "infinity times zero", 0, [infinity], [0], float.NaN, float.NaN },
            { "NaN", 0, [float.NaN], one, float.NaN, float.NaN },
            { "NaN as the sum", float.NaN, one, one, float.NaN, float.NaN },
            { "overflow", 0, [big, big], ones, infinity, infinity },
            { "overflow in between", 0, [big, big, -big], ones, big, big },
            { "subnormal operand and result", 0, [MathF.Pow(2, -130)], [0.5f], MathF.Pow(2, -131), MathF.Pow(2, -131) },
            { "below the least", 0, [tiny], [tiny], 0, 0 },
            { "three halves of the least", 0, [tiny, tiny, tiny], [tiny, tiny, tiny], least, least },
        };
    }

    [Theory, MemberData(nameof(Cases))]
    [EmulatedOnly("sets how the tensor cores of the device add")]
    public void An_instruction_cuts_off_what_is_below_the_largest_exponent(string name, float sum, float[] left, float[] right, float ampere, float hopper)
    {
        Assert.NotEmpty(name);
        using EmulatedDriver.Setting truncating = EmulatedDriver.Truncating();
        Assert.Equal(ampere, Multiply(8));
        Assert.Equal(hopper, Multiply(9));

        float Multiply(int major)
        {
            using EmulatedDriver.Setting machine = EmulatedDriver.With("compute-major", major, 8);
            return EmulatedDriver.Multiply(sum, Padded(left), Padded(right));
        }
    }

    [Fact]
    [EmulatedOnly("sets how the tensor cores of the device add")]
    public void Without_truncation_sums_round_to_nearest()
    {
        using EmulatedDriver.Setting rounding = EmulatedDriver.Truncating(false);
        Assert.Equal(Large + 12, EmulatedDriver.Multiply(Large, Repeat(0.75f), Repeat(1)));
        Assert.Equal(Large + 4, EmulatedDriver.Multiply(Large, Padded([1, 1, 1]), Repeat(1)));
    }

    [Fact]
    [EmulatedOnly("sets how the tensor cores of the device add")]
    public void Instructions_equal_an_exact_model_bit_for_bit()
    {
        using EmulatedDriver.Setting truncating = EmulatedDriver.Truncating();
        JsonElement[] answers = [.. Known.Read("tensor_cores").Each("sums")];
        Assert.True(answers.Length >= 100);
        foreach (JsonElement answer in answers)
        {
            using EmulatedDriver.Setting machine = EmulatedDriver.With("compute-major", answer.Int("major"), 8);
            float found = EmulatedDriver.Multiply(Numbers("sum")[0], Numbers("left"), Numbers("right"));
            float wanted = Numbers("result")[0];
            Assert.True(BitConverter.SingleToUInt32Bits(wanted) == BitConverter.SingleToUInt32Bits(found), $"{answer.Text("kind")}, {answer.Int("major")}: {found:R}, wanted {wanted:R}");

            float[] Numbers(string member) => [.. answer.Each(member).Select(bits => BitConverter.UInt32BitsToSingle(bits.GetUInt32()))];
        }
    }

    [Theory, MemberData(nameof(KernelNames))]
    [EmulatedOnly("sets how the tensor cores of the device add")]
    public void Every_kernel_adds_as_the_instruction_does(string kernel)
    {
        (int major, ConvShape shape) = Kernels[kernel];
        using EmulatedDriver.Setting machine = EmulatedDriver.With("compute-major", major, 8);
        // The first 16 pixels sum to 2^24, each of the next adds 3/4.
        Assert.All(Gradient(truncates: false), v => Assert.Equal(Large + 12, v));
        Assert.All(Gradient(truncates: true), v => Assert.Equal(major == 9 ? Large + 8 : Large, v));

        float[] Gradient(bool truncates)
        {
            using EmulatedDriver.Setting setting = EmulatedDriver.Truncating(truncates);
            using CudaBackend backend = Create(kernel, shape);
            using var bench = new Workbench(backend);
            DeviceBuffer x = bench.PutActivations(Pixels(4096, 0.75f, shape.C)), dy = bench.PutActivations(Pixels(4096, 1, shape.K));
            DeviceBuffer dw = bench.Output(shape.WeightLength);
            backend.ConvWeightGradient(shape, x, dy, dw);
            return bench.Get(dw);
        }

        float[] Pixels(float first, float others, int channels) =>
            [.. Enumerable.Range(0, shape.N * shape.H * shape.W).SelectMany(i => Enumerable.Repeat(i == 0 ? first : i is >= 16 and < 32 ? others : 0, channels))];
    }

    // Fan-ins of 540 and 576 and, for few channels, 27; gradients over 198 and 1152 pixels; of both signs, and of one as behind a ReLU.
    public static TheoryData<string, bool> Sums() => new MatrixTheoryData<string, bool>(Kernels.Keys, [false, true]);

    [Theory, MemberData(nameof(Sums))]
    [EmulatedOnly("sets how the tensor cores of the device add")]
    public void Tolerances_hold_in_both_modes_and_not_for_sums_of_8_bits_fewer(string kernel, bool positive)
    {
        using EmulatedDriver.Setting machine = EmulatedDriver.With("compute-major", Kernels[kernel].Major, 8);
        ConvShape shape = kernel switch
        {
            "portable" => new(2, 9, 11, 60, 60, 3, 3, 1, 1),
            "few channels" => new(1, 24, 48, 3, 16, 3, 3, 1, 1),
            _ => new(2, 9, 11, 64, 64, 3, 3, 1, 1),
        };
        Compare(truncates: false);
        Compare(truncates: true);
        using EmulatedDriver.Setting coarse = EmulatedDriver.With("lost-bits", 8, 0);
        Assert.ThrowsAny<XunitException>(() => Compare(truncates: true));

        void Compare(bool truncates)
        {
            using EmulatedDriver.Setting setting = EmulatedDriver.Truncating(truncates);
            using CudaBackend backend = Create(kernel, shape);
            ConvolutionTests.AssertWithinRounding(
                backend, shape, (n, stream, deviation) => [.. Values.Normal(n, stream, deviation).Select(v => positive ? Math.Abs(v) : v)]);
        }
    }

    private static CudaBackend Create(string kernel, ConvShape shape)
    {
        CudaBackend backend = CudaUnderTest.CreateBackend(precision: CudaPrecision.Bf16);
        ConvRequest request = ConvRequest.Of(shape, ConvPass.WeightGradient, ElementType.BFloat16);
        Assert.Equal(kernel, CudaConvKernels.List.First(entry => entry.Refusal(backend, request) is null).Name);
        return backend;
    }

    private static float[] Repeat(float value, int count = 16) => [.. Enumerable.Repeat(value, count)];

    private static float[] Padded(float[] values) => [.. values, .. new float[16 - values.Length]];
}
