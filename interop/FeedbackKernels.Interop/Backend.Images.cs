namespace FeedbackKernels.Interop;

public abstract partial class Backend
{
    /// <summary>
    /// Makes activations from packed bytes: shifts and flips each image according to <see cref="ImageAugmentation.Draw"/>, and looks up
    /// each byte in a table of its channel (the augmentation of He et al. 2016, section 4.2). Pixels from outside the image are 0.
    /// </summary>
    /// <param name="augmentation">Sizes and augmentation.</param>
    /// <param name="images">N.</param>
    /// <param name="pixels">[N][H][W][C], UInt8.</param>
    /// <param name="numbers">[N], Int32: the index of each image in its data set.</param>
    /// <param name="table">[256][C]: the value of each byte.</param>
    /// <param name="x">[N][H][W][C]; overwritten.</param>
    /// <exception cref="ArgumentOutOfRangeException">A size or the reach is out of range, or an image has more than 2^31 - 1 numbers.</exception>
    public void AugmentImages(
        in ImageAugmentation augmentation, int images, BufferView pixels, BufferView numbers, BufferView table, BufferView x)
    {
        using OperationScope call = new(this);
        (int h, int w, int c, int reach, _, _) = augmentation;
        if (h < 1 || w < 1 || c < 1)
            throw new ArgumentOutOfRangeException(nameof(augmentation), augmentation, "wanted at least one row, column and channel");
        if (reach < 0 || reach > ImageAugmentation.MostReach)
            throw new ArgumentOutOfRangeException(nameof(augmentation), reach, $"wanted a reach of 0 to {ImageAugmentation.MostReach}");
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(images);
        long length = ElementCount.Of("N*H*W*C", images, h, w, c);
        // The kernels add the shift to rows and columns.
        ElementCount.Of32("H*W*C", h, w, c);
        if (Math.Max(h, w) > int.MaxValue - reach)
            throw new ArgumentOutOfRangeException(nameof(augmentation), reach, $"{h}x{w} pixels moved by as many are more than {int.MaxValue}");
        call.Read(pixels, length, ElementType.UInt8);
        call.Read(numbers, images, ElementType.Int32);
        call.Read(table, 256L * c);
        call.WriteActivations(x, length);
        call.RequireApart();
        AugmentImagesCore(augmentation, images, pixels, numbers, table, x);
    }

    internal abstract void AugmentImagesCore(
        in ImageAugmentation augmentation, int images, BufferView pixels, BufferView numbers, BufferView table, BufferView x);
}
