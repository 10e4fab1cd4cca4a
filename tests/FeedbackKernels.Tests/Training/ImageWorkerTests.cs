using FeedbackKernels.Data;
using FeedbackKernels.Tests.Data;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Training;

/// <summary>One image on one thread.</summary>
public sealed class ImageWorkerTests
{
    /// <summary>What Pillow's convert("L") makes of the same colours.</summary>
    [Theory]
    [InlineData(255, 0, 0, 76)]
    [InlineData(0, 255, 0, 150)]
    [InlineData(0, 0, 255, 29)]
    [InlineData(10, 200, 30, 124)]
    [InlineData(255, 255, 255, 255)]
    [InlineData(7, 7, 7, 7)]
    public void Grey_is_the_luma_of_Pillow(byte red, byte green, byte blue, byte grey)
    {
        byte[] image = [.. "P6\n2 1\n255\n"u8, red, green, blue, 0, 0, 0];
        using var worker = new ImageWorker(new EncodedImages([(image, 0)]));
        var pixels = new byte[2];
        Assert.Null(worker.FillGrey(0, new Whole(), pixels));
        Assert.Equal([grey, 0], pixels);
    }

    private sealed class Whole : ICropChoice
    {
        public CropResize Choose(int image, int rows, int columns) => new(new PixelBox(0, 0, rows, columns), rows, columns, new PixelBox(0, 0, rows, columns), Flip: false);
    }
}
