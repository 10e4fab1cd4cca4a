using FeedbackKernels.Tests.Data.Packed;
using SkiaSharp;

namespace FeedbackKernels.Tests.Cli;

/// <summary>A folder of pictures of two classes: training and test images as JPEG and PNG.</summary>
internal static class SmallPictures
{
    public const int TrainOfClass = 6, TestOfClass = 3;

    public static readonly string[] Classes = ["left", "right"];

    /// <summary>Writes the folder.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="copies">How often each training image occurs.</param>
    /// <param name="side">Columns of the images; they have 3/4 as many rows.</param>
    public static void Write(string folder, int copies = 1, int side = 24)
    {
        for (int k = 0; k < Classes.Length; k++)
        {
            Write(Path.Combine(folder, "train", Classes[k]), TrainOfClass, 10 * k, copies, side);
            Write(Path.Combine(folder, "val", Classes[k]), TestOfClass, 10 * k + 100, 1, side);
        }
    }

    private static void Write(string folder, int count, int seed, int copies, int side)
    {
        Directory.CreateDirectory(folder);
        for (int i = 0; i < count; i++)
        {
            (SKEncodedImageFormat format, string ending) = i % 3 == 2 ? (SKEncodedImageFormat.Png, "png") : (SKEncodedImageFormat.Jpeg, "JPEG");
            byte[] bytes = PackableImages.Encoded(format, side * 3 / 4, side, seed + i);
            for (int copy = 0; copy < copies; copy++) File.WriteAllBytes(Path.Combine(folder, $"{i}-{copy:D4}.{ending}"), bytes);
        }
    }
}
