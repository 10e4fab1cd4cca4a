using FeedbackKernels.Interop;

namespace FeedbackKernels.Models;

/// <summary>A convolution of a real net, by name.</summary>
/// <param name="Name">As <c>r18_3x3s2_64-128@56</c>: net, filter, stride where it is not 1, channels, input rows.</param>
/// <param name="Shape">Its sizes.</param>
/// <param name="Count">How often the net has it.</param>
public sealed record LayerShape(string Name, ConvShape Shape, int Count);

/// <summary>The distinct convolutions of the models: the one list that benchmarks and tests share.</summary>
public static class LayerShapes
{
    /// <summary>The distinct convolutions of a ResNet at its usual image size, in the order of the forward pass; the
    /// classifier is not among them.</summary>
    /// <param name="model">Name of the model.</param>
    /// <param name="batch">N.</param>
    public static IReadOnlyList<LayerShape> Of(string model, int batch)
    {
        ArgumentNullException.ThrowIfNull(model);
        MapShape image = new(ModelCatalog.UsualImageSize(model), ModelCatalog.UsualImageSize(model), 3);
        string prefix = $"r{model.Replace("resnet", "", StringComparison.Ordinal)}";
        var shapes = new List<ConvShape>();
        MapShape map = image;
        foreach (BlockSpec block in ModelCatalog.Create(model, image, 10).Blocks) map = Add(block, map, batch, shapes);
        return [.. shapes.GroupBy(s => s).Select(g => new LayerShape(Name(prefix, g.Key), g.Key, g.Count()))];
    }

    private static string Name(string prefix, in ConvShape s) =>
        $"{prefix}_{s.R}x{s.S}{(s.Stride > 1 ? $"s{s.Stride}" : "")}_{s.C}-{s.K}@{s.H}";

    private static MapShape Add(BlockSpec block, MapShape map, int batch, List<ConvShape> shapes)
    {
        switch (block)
        {
            case ConvSpec conv:
                var shape = new ConvShape(batch, map.H, map.W, map.C, conv.K, conv.Filter, conv.Filter, conv.Stride, conv.Padding);
                shapes.Add(shape);
                return new MapShape(shape.P, shape.Q, shape.K);
            case ResidualSpec residual:
                if (residual.Shortcut is not null) Add(residual.Shortcut, map, batch, shapes);
                return residual.Main.Aggregate(map, (current, unit) => Add(unit, current, batch, shapes));
            case PoolSpec { Window: > 0 } pool:
                var window = new PoolShape(1, map.H, map.W, map.C, pool.Window, pool.Window, pool.Stride, pool.Padding);
                return new MapShape(window.P, window.Q, map.C);
            default:
                return map;
        }
    }
}
