namespace FeedbackKernels.Interop;

/// <summary>How many pieces cover something.</summary>
internal static class Rounding
{
    /// <summary>a / b, rounded up; a not negative, b positive.</summary>
    public static long DivideUp(long a, long b) => (a + b - 1) / b;
}
