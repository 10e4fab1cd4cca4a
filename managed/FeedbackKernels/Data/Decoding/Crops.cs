using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

internal sealed class CentreCrop(int resize, int size)
{
    public CropResize Of(int rows, int columns) => throw new NotImplementedException($"{resize} {size} {rows} {columns}");
}

internal sealed class RandomResizedCrop(double a, double b, double c, double d, int size)
{
    public CropResize Draw(int rows, int columns, ref RandomSequence random) => throw new NotImplementedException($"{a}{b}{c}{d}{size}{rows}{columns}{random.NextWord()}");
}
