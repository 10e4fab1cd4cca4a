using System.Runtime.CompilerServices;

namespace FeedbackKernels.Interop;

/// <summary>One window of a pooling, all channels.</summary>
internal unsafe struct PoolArguments
{
    /// <summary>The image.</summary>
    public float* Image;

    /// <summary>The output pixel.</summary>
    public float* Output;
    public int* Positions;
    public PoolWindow Window;
    public int Columns, Channels;
}

internal static unsafe class PoolKernels<TVector, TOps>
    where TVector : unmanaged
    where TOps : unmanaged, IVectorOps<TVector>
{
    /// <summary>Maximum and its position. The position is kept as the bits of a float, which selections do not change.</summary>
    public static void Max(PoolArguments* a)
    {
        int channel = 0;
        for (; channel + TOps.Count <= a->Channels; channel += TOps.Count) MaxOf(a, channel);
        for (; channel < a->Channels; channel++) PoolKernels<float, ScalarOps>.MaxOf(a, channel);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void MaxOf(PoolArguments* a, int channel)
    {
        PoolWindow window = a->Window;
        TVector most = TOps.Broadcast(float.NegativeInfinity);
        TVector place = TOps.Broadcast(BitConverter.Int32BitsToSingle(window.FirstRow * a->Columns + window.FirstColumn));
        for (int h = window.FirstRow; h < window.EndRow; h++)
        {
            for (int w = window.FirstColumn; w < window.EndColumn; w++)
            {
                int pixel = h * a->Columns + w;
                TVector value = TOps.Load(a->Image + (nint)pixel * a->Channels + channel);
                place = TOps.SelectIfAbove(value, most, TOps.Broadcast(BitConverter.Int32BitsToSingle(pixel)), place);
                most = TOps.SelectIfAbove(value, most, value, most);
            }
        }

        TOps.Store(most, a->Output + channel);
        TOps.Store(place, (float*)a->Positions + channel);
    }

    /// <summary>Mean over the window.</summary>
    public static void Average(PoolArguments* a)
    {
        int channel = 0;
        for (; channel + TOps.Count <= a->Channels; channel += TOps.Count) AverageOf(a, channel);
        for (; channel < a->Channels; channel++) PoolKernels<float, ScalarOps>.AverageOf(a, channel);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AverageOf(PoolArguments* a, int channel)
    {
        PoolWindow window = a->Window;
        TVector sum = TOps.Zero;
        for (int h = window.FirstRow; h < window.EndRow; h++)
        {
            for (int w = window.FirstColumn; w < window.EndColumn; w++)
                sum = TOps.Add(sum, TOps.Load(a->Image + ((nint)h * a->Columns + w) * a->Channels + channel));
        }

        TOps.Store(TOps.Divide(sum, TOps.Broadcast(window.Pixels)), a->Output + channel);
    }

    /// <summary>Adds error / (pixels of the window) to every pixel of the window. The error is in Output.</summary>
    public static void SpreadAverage(PoolArguments* a)
    {
        int channel = 0;
        for (; channel + TOps.Count <= a->Channels; channel += TOps.Count) SpreadAverageOf(a, channel);
        for (; channel < a->Channels; channel++) PoolKernels<float, ScalarOps>.SpreadAverageOf(a, channel);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SpreadAverageOf(PoolArguments* a, int channel)
    {
        PoolWindow window = a->Window;
        TVector share = TOps.Divide(TOps.Load(a->Output + channel), TOps.Broadcast(window.Pixels));
        for (int h = window.FirstRow; h < window.EndRow; h++)
        {
            for (int w = window.FirstColumn; w < window.EndColumn; w++)
            {
                float* pixel = a->Image + ((nint)h * a->Columns + w) * a->Channels + channel;
                TOps.Store(TOps.Add(TOps.Load(pixel), share), pixel);
            }
        }
    }
}
