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

/// <summary>A pooling of one window, for as many channels as a vector holds.</summary>
internal unsafe interface IPoolPass
{
    static abstract void Run<TVector, TOps>(PoolArguments* a, int channel) where TOps : unmanaged, IVectorOps<TVector>;
}

/// <summary>The loop over the channels of a window: whole vectors, then single channels.</summary>
internal static unsafe class PoolKernel<TVector, TOps, TPass>
    where TVector : unmanaged
    where TOps : unmanaged, IVectorOps<TVector>
    where TPass : unmanaged, IPoolPass
{
    public static void Run(PoolArguments* a)
    {
        int channel = 0;
        for (; channel + TOps.Count <= a->Channels; channel += TOps.Count) TPass.Run<TVector, TOps>(a, channel);
        for (; channel < a->Channels; channel++) TPass.Run<float, ScalarOps>(a, channel);
    }
}

internal static unsafe class PoolPasses
{
    /// <summary>Maximum and its position. The position is kept as the bits of a float, which selections do not change.</summary>
    public readonly struct Max : IPoolPass
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public static void Run<TVector, TOps>(PoolArguments* a, int channel) where TOps : unmanaged, IVectorOps<TVector>
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
    }

    /// <summary>Mean over the window.</summary>
    public readonly struct Average : IPoolPass
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public static void Run<TVector, TOps>(PoolArguments* a, int channel) where TOps : unmanaged, IVectorOps<TVector>
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
    }

    /// <summary>Adds error / (pixels of the window) to every pixel of the window. The error is in Output.</summary>
    public readonly struct SpreadAverage : IPoolPass
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public static void Run<TVector, TOps>(PoolArguments* a, int channel) where TOps : unmanaged, IVectorOps<TVector>
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
}
