using System.Runtime.CompilerServices;

namespace FeedbackKernels.Interop;

/// <summary>Functions of one element that several kernels share.</summary>
internal static class Elementwise
{
    /// <summary>1 / (1 + exp(-x)). For very negative x, exp overflows to infinity and the quotient is 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Sigmoid<TVector, TOps>(TVector x) where TOps : unmanaged, IVectorOps<TVector>
    {
        TVector one = TOps.Broadcast(1);
        return TOps.Divide(one, TOps.Add(one, TOps.Exp(TOps.Subtract(TOps.Zero, x))));
    }
}
