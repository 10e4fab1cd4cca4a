namespace FeedbackKernels.Interop;

public abstract partial class Backend
{
    /// <summary>Sets all elements of a buffer of Float32 or <see cref="ActivationType"/> to a value, which may be NaN.</summary>
    /// <param name="values">The buffer, overwritten.</param>
    /// <param name="value">The value.</param>
    public void Fill(BufferView values, float value)
    {
        using OperationScope call = new(this);
        call.WriteEither(values, 1);
        FillCore(values.Length, values, value);
    }

    internal abstract void FillCore(long length, BufferView values, float value);

    /// <summary>Fills a buffer with normally distributed numbers of mean 0 from the stream of a key (Philox4x32-10: Salmon et al. 2011; Box
    /// and Muller 1958).</summary>
    /// <param name="values">Float32, up to 2^34 numbers, the length of a stream.</param>
    /// <param name="key">Key of the stream; all values are valid.</param>
    /// <param name="standardDeviation">Not negative, finite.</param>
    /// <exception cref="ArgumentOutOfRangeException">The standard deviation is out of range.</exception>
    /// <exception cref="ArgumentException">The buffer is longer than the stream.</exception>
    public void FillGaussian(BufferView values, in RandomKey key, float standardDeviation)
    {
        using OperationScope call = new(this);
        if (!(standardDeviation >= 0) || !float.IsFinite(standardDeviation))
            throw new ArgumentOutOfRangeException(nameof(standardDeviation), standardDeviation, "wanted a finite number that is not negative");
        call.Write(values, 1);
        if (values.Length > RandomKey.MostNumbers)
            throw new ArgumentException($"has {values.Length} elements, a stream of random numbers {RandomKey.MostNumbers}", nameof(values));
        FillGaussianCore(values, key, standardDeviation);
    }

    internal abstract void FillGaussianCore(BufferView values, in RandomKey key, float standardDeviation);

    /// <summary>
    /// result = source, from Float32 or <see cref="ActivationType"/> to either, rounded to nearest: for copies of weights after they are
    /// loaded or initialised, and for images in Float32. Between equal types it is a copy.
    /// </summary>
    /// <param name="length">Number of elements.</param>
    /// <param name="source">The numbers.</param>
    /// <param name="result">Where they go, overwritten.</param>
    public void Convert(long length, BufferView source, BufferView result)
    {
        using OperationScope call = new(this);
        RequireLength(length);
        call.ReadEither(source, length);
        call.WriteEither(result, length);
        call.RequireApart();
        ConvertCore(length, source, result);
    }

    internal abstract void ConvertCore(long length, BufferView source, BufferView result);
}
