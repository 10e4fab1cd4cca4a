using FeedbackKernels.Interop;

namespace FeedbackKernels.Models;

/// <summary>A convolution of a real net, by name.</summary>
/// <param name="Name">As <c>r18_3x3s2_64-128@56</c>: net, filter, stride where it is not 1, channels, input rows.</param>
/// <param name="Shape">Its sizes.</param>
/// <param name="Count">How often it occurs in the net.</param>
public sealed record LayerShape(string Name, ConvShape Shape, int Count);

/// <summary>The distinct convolutions of the models: the one list that benchmarks and tests share.</summary>
public static class LayerShapes
{
    /// <summary>The distinct convolutions of a ResNet at its usual image size, in the order of the forward pass; the
    /// classifier is not among them.</summary>
    /// <param name="model">Name of the model.</param>
    /// <param name="batch">N.</param>
    /// <exception cref="ArgumentException">No model has that name.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The batch is not positive.</exception>
    public static IReadOnlyList<LayerShape> Of(string model, int batch)
    {
        ArgumentNullException.ThrowIfNull(model);
        MapShape image = new(ModelCatalog.UsualImageSize(model), ModelCatalog.UsualImageSize(model), 3);
        string prefix = $"r{model.Replace("resnet", "", StringComparison.Ordinal)}";
        var shapes = new List<ConvShape>();
        MapShape map = image;
        foreach (BlockSpec block in ModelCatalog.Create(model, image, 10).Blocks)
        {
            if (block is not LinearSpec) shapes.AddRange(block.Convolutions(map, batch));
            map = block.Output(map);
        }

        return [.. shapes.GroupBy(s => s).Select(g => new LayerShape(Name(prefix, g.Key), g.Key, g.Count()))];
    }

    private static string Name(string prefix, in ConvShape s) =>
        $"{prefix}_{s.R}x{s.S}{(s.Stride > 1 ? $"s{s.Stride}" : "")}_{s.C}-{s.K}@{s.H}";
}
