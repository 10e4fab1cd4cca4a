using System.Text.Json;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.KnownAnswers;
using PixelBox = FeedbackKernels.Data.PixelBox;

namespace FeedbackKernels.Tests.Data.Decoding;

/// <summary>Decoding, resizing and cropping compared with Pillow and with the formulas of torchvision (make_images.py).</summary>
public class ImageAnswerTests
{
    public static TheoryData<SimdLevel> Levels => [.. SimdLevels.Supported];

    /// <summary>Equal bit for bit, JPEGs too: Pillow and Skia use the same libjpeg-turbo. Transposed images may differ by 1, because their passes come in the
    /// other order.</summary>
    [Theory, MemberData(nameof(Levels))]
    public void Boxes_are_resized_as_Pillow_does(SimdLevel level)
    {
        using var decoder = new ImageDecoder(level);
        foreach (JsonElement answer in KnownImages.Answers.Each("resized"))
        {
            string name = answer.Text("file");
            byte[] encoded = KnownImages.Read(name), expected = Convert.FromBase64String(answer.Text("pixels"));
            int[] box = answer.Ints("box"), size = answer.Ints("size");
            ImageHeader header = ImageDecoder.ReadHeader(encoded);
            Assert.Equal((answer.Int("imageRows"), answer.Int("imageColumns")), (header.Rows, header.Columns));
            CropResize crop = KnownImages.Resize(new PixelBox(box[0], box[1], box[2], box[3]), size[0], size[1]);
            bool transposed = StoredImage.Read(encoded).Orientation.IsTransposed;
            Assert.Equal(transposed, name.StartsWith("orientation", StringComparison.Ordinal) && name["orientation-".Length] >= '5');
            KnownImages.AssertEqual(expected, KnownImages.Decode(decoder, encoded, crop), $"{name}, {crop}", transposed ? 1 : 0);
        }
    }

    [Fact]
    public void Every_image_has_an_answer() =>
        Assert.Equal(KnownImages.Names, KnownImages.Answers.Each("resized").Select(a => a.Text("file")).Distinct().Order());

    [Fact]
    public void Random_crops_are_those_of_torchvision()
    {
        foreach (JsonElement answer in KnownImages.Answers.Each("randomCrops"))
        {
            float[] scale = answer.Floats("scale");
            double[] ratio = [.. answer.Each("ratio").Select(r => r.GetDouble())];
            var crop = new RandomResizedCrop(answer.Each("scale").First().GetDouble(), scale[1], ratio[0], ratio[1], size: 96);
            var random = new RandomSequence(new RandomKey(77, RandomPurpose.Augmentation, 3, answer.UInt("step")));
            CropResize found = crop.Draw(answer.Int("rows"), answer.Int("columns"), ref random);
            int[] box = answer.Ints("box");
            Assert.Equal(KnownImages.Resize(new PixelBox(box[0], box[1], box[2], box[3]), 96, 96), found);
        }
    }

    [Fact]
    public void Centre_crops_are_those_of_torchvision()
    {
        foreach (JsonElement answer in KnownImages.Answers.Each("centreCrops"))
        {
            int rows = answer.Int("rows"), columns = answer.Int("columns"), size = answer.Int("size");
            int[] resized = answer.Ints("resized"), window = answer.Ints("window");
            Assert.Equal(
                new CropResize(new PixelBox(0, 0, rows, columns), resized[0], resized[1], new PixelBox(window[0], window[1], size, size), Flip: false),
                new CentreCrop(answer.Int("resize"), size).Of(rows, columns));
        }
    }

    [Fact]
    public void Crops_that_do_not_fit_are_refused()
    {
        Assert.Contains("wanted at most 128", Assert.Throws<ArgumentException>(() => new CentreCrop(128, 160)).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => new CentreCrop(128, 0));
        Assert.Contains("2147483647", Assert.Throws<InvalidDataException>(() => new CentreCrop(256, 224).Of(1, 1 << 24)).Message);
        foreach ((double least, double most) in new[] { (0, 1), (0.5, 0.4), (0.5, 1.1), (double.NaN, 1), (0.5, double.NaN) })
            Assert.Contains("share", Assert.Throws<ArgumentException>(() => new RandomResizedCrop(least, most, 0.75, 1.3, 8)).Message);
        foreach ((double least, double most) in new[] { (0, 1), (0.5, 0.4), (0.5, double.PositiveInfinity), (double.NaN, 1) })
            Assert.Contains("ratio", Assert.Throws<ArgumentException>(() => new RandomResizedCrop(0.08, 1, least, most, 8)).Message);
    }
}
