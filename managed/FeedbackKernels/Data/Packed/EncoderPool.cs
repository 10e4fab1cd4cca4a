using System.Collections.Concurrent;

namespace FeedbackKernels.Data;

/// <summary>Encoders for threads that come and go: each thread takes one that is free.</summary>
internal sealed class EncoderPool(ImagePreparation preparation, ulong seed) : IDisposable
{
    private readonly ConcurrentBag<PackEncoder> _free = [];

    /// <summary>Prepares an image, as <see cref="PackEncoder.Encode"/> does.</summary>
    public EncodedImage Encode(byte[] bytes, long number)
    {
        if (!_free.TryTake(out PackEncoder? encoder)) encoder = new PackEncoder(preparation, seed);
        try
        {
            return encoder.Encode(bytes, number);
        }
        finally
        {
            _free.Add(encoder);
        }
    }

    /// <summary>Frees all encoders. None may be in use.</summary>
    public void Dispose()
    {
        foreach (PackEncoder encoder in _free) encoder.Dispose();
    }
}
