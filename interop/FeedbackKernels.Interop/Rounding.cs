namespace FeedbackKernels.Interop;

/// <summary>Divisions that round up: how many pieces of one size cover another.</summary>
internal static class Rounding
{
    /// <summary>a / b, rounded up; a not negative, b positive.</summary>
    public static long DivideUp(long a, long b) => (a + b - 1) / b;

    /// <summary>The next multiple of b that is not below a; a not negative, b positive.</summary>
    public static long RoundUp(long a, long b) => DivideUp(a, b) * b;

    /// <summary>The same as <see cref="DivideUp"/> in 32 bits, for what loops ask often; the sum does not overflow.</summary>
    public static int DivideUp32(int a, int b) => (int)(((uint)a + (uint)b - 1) / (uint)b);
}
