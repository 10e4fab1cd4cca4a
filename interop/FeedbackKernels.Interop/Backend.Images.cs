namespace FeedbackKernels.Interop;

public abstract partial class Backend
{
    /// <summary>
    /// Makes activations from packed bytes: moves and turns each image as <see cref="ImageAugmentation.Draw"/> says, and looks
    /// each byte up in a table of its channel; what comes in from outside is 0.
    /// </summary>
    /// <param name="augmentation">What is done.</param>
    /// <param name="images">N.</param>
    /// <param name="pixels">[N][H][W][C], UInt8.</param>
    /// <param name="numbers">[N], Int32: each image's number in its set.</param>
    /// <param name="table">[256][C]: the number that a byte stands for.</param>
    /// <param name="x">[N][H][W][C]; overwritten.</param>
    /// <exception cref="ArgumentOutOfRangeException">A size or the reach is out of range, or an image has more than 2^31 - 1
    /// numbers.</exception>
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
        // Rows and columns that an image is moved by are added to those it has.
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
