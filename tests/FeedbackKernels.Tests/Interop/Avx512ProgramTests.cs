using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Interop;

public sealed class Avx512ProgramTests
{
    [Theory]
    [InlineData("flags\t\t: fpu avx2 fma avx512f avx512dq avx512cd avx512bw avx512vl", true)]
    [InlineData("flags\t\t: fpu avx2 fma avx512f avx512cd avx512er avx512pf", false)]
    [InlineData("flags\t\t: fpu avx2 fma", false)]
    [InlineData("Features\t: fp asimd", false)]
    public void A_processor_needs_all_of_x86_64_v4(string flags, bool supported) =>
        Assert.Equal(supported, Avx512Program.IsSupported(["processor\t: 0", "vendor_id\t: AuthenticAMD", flags, "bugs\t\t: "]));

    /// <summary>A program that the JIT compiler compiles has no second version to start.</summary>
    [Fact]
    public void A_jit_compiled_program_goes_on() => Avx512Program.Start();
}
