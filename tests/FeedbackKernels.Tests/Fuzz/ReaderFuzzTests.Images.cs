using CsCheck;
using FeedbackKernels.Data;
using FeedbackKernels.Tests.Data.Decoding;
using PixelBox = FeedbackKernels.Data.PixelBox;

namespace FeedbackKernels.Tests.Fuzz;

/// <summary>Encoded images.</summary>
public sealed partial class ReaderFuzzTests
{
    [Fact]
    public void Encoded_images() => ChildProcess.RunTest(GetType(), nameof(Encoded_images_in_a_process_of_its_own));

    // Native code decodes: a fault in it ends the process.
    [Fact]
    public void Encoded_images_in_a_process_of_its_own()
    {
        ChildProcess.Require();
        byte[][] images = [.. KnownImages.Names.Select(KnownImages.Read), KnownImages.Pnm(7, 9, new byte[7 * 9 * 3]), KnownImages.Pnm(3, 4, new byte[12], kind: '5')];
        Gen<(byte[] File, string Name)> files = Mutated(images).Select(file => (file, "image"));
        // Whatever a header promises: at most 2^26 pixels of four bytes each are held, in each of two calls.
        Sample(files, _ => { }, DecodeImage, memory: 10L << 26);
    }

    private static void DecodeImage(string folder, string name, byte[] file)
    {
        ImageHeader header = ImageDecoder.ReadHeader(file);
        Assert.InRange(header.Rows, 1, int.MaxValue);
        Assert.InRange(header.Columns, 1, int.MaxValue);
        using var decoder = new ImageDecoder();
        var middle = new PixelBox(header.Rows / 4, header.Columns / 4, (header.Rows + 1) / 2, (header.Columns + 1) / 2);
        // What is not written stays as no image has it in every pixel.
        byte[] first = Decode(middle, 0), second = Decode(middle, 255);
        Assert.Equal(first, second);
        if ((long)header.Rows * header.Columns > 1 << 20) return;
        int rows = 0;
        decoder.DecodeRows(file, (row, pixels) =>
        {
            Assert.Equal((rows++, 3 * header.Columns), (row, pixels.Length));
        });
        Assert.Equal(header.Rows, rows);

        byte[] Decode(PixelBox box, byte before)
        {
            var pixels = new byte[3 * 8 * 6];
            Array.Fill(pixels, before);
            decoder.Decode(file, new CropResize(box, 8, 6, new PixelBox(0, 0, 8, 6), Flip: true), pixels);
            return pixels;
        }
    }
}
