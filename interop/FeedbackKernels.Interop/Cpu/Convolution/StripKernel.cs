using System.Runtime.CompilerServices;

namespace FeedbackKernels.Interop;

/// <summary>Strips of neighbouring channels of a run of pixels. Each strip is copied to where its pixels follow one another.</summary>
internal unsafe struct StripArguments
{
    public float* Source, Destination;

    /// <summary>Floats from a pixel of the source to the next.</summary>
    public nint SourceStride;
    public int Pixels;

    /// <summary>First channel of each strip; null if the strips are adjacent.</summary>
    public int* Starts;
    public int Strips;

    /// <summary>Floats from a strip of the destination to the next.</summary>
    public nint StripStride;

    /// <summary>Floats of a pixel in a strip, a multiple of the lanes.</summary>
    public int Floats;

    /// <summary>Floats of them that the source has; the others become zeros. 0 if it has all.</summary>
    public int Valid;
}

internal static unsafe class StripKernel<TVector, TOps>
    where TVector : unmanaged
    where TOps : unmanaged, IVectorOps<TVector>
{
    // Pixels copied together: the source is read in this many streams, and each strip is written in runs of this many cache lines.
    private const int PixelBlock = 4;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Copy(StripArguments* strips)
    {
        if (strips->Valid > 0 && strips->Valid < strips->Floats)
        {
            CopyPadded(strips);
            return;
        }

        int pixels = strips->Pixels, floats = strips->Floats;
        nint stride = strips->SourceStride;
        for (int first = 0; first < pixels; first += PixelBlock)
        {
            int count = Math.Min(PixelBlock, pixels - first);
            for (int strip = 0; strip < strips->Strips; strip++)
            {
                float* source = strips->Source + first * stride + (strips->Starts == null ? strip * floats : strips->Starts[strip]);
                float* destination = strips->Destination + strip * strips->StripStride + (nint)first * floats;
                CopyPixels(source, stride, destination, floats, count);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void CopyPixels(float* source, nint stride, float* destination, int floats, int count)
    {
        // Most tiles are two or three vectors wide. A loop over them would cost as much as the copies.
        if (floats == 2 * TOps.Count)
        {
            for (; count > 0; count--, source += stride, destination += floats)
            {
                TOps.Store(TOps.Load(source), destination);
                TOps.Store(TOps.Load(source + TOps.Count), destination + TOps.Count);
            }
        }
        else if (floats == 3 * TOps.Count)
        {
            for (; count > 0; count--, source += stride, destination += floats)
            {
                TOps.Store(TOps.Load(source), destination);
                TOps.Store(TOps.Load(source + TOps.Count), destination + TOps.Count);
                TOps.Store(TOps.Load(source + 2 * TOps.Count), destination + 2 * TOps.Count);
            }
        }
        else
        {
            for (; count > 0; count--, source += stride, destination += floats)
            {
                for (int i = 0; i < floats; i += TOps.Count) TOps.Store(TOps.Load(source + i), destination + i);
            }
        }
    }

    private static void CopyPadded(StripArguments* strips)
    {
        float* source = strips->Source, destination = strips->Destination;
        for (int pixel = 0; pixel < strips->Pixels; pixel++, source += strips->SourceStride, destination += strips->Floats)
        {
            new ReadOnlySpan<float>(source, strips->Valid).CopyTo(new Span<float>(destination, strips->Valid));
            new Span<float>(destination + strips->Valid, strips->Floats - strips->Valid).Clear();
        }
    }
}
