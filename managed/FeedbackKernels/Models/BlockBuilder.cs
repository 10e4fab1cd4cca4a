using FeedbackKernels.Interop;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Models;

/// <summary>Makes the blocks of a model from their descriptions and numbers the layers.</summary>
internal sealed class BlockBuilder(Backend backend, NormOrder order)
{
    private uint _layers;

    public Block Build(BlockSpec spec, MapShape input)
    {
        try
        {
            return spec switch
            {
                ConvSpec conv => Unit(conv, input),
                LinearSpec linear => Unit(linear, input),
                ResidualSpec residual => Residual(residual, input),
                PoolSpec pool => new PoolBlock(backend, pool.Name, pool.Kind, pool.On, input),
                _ => throw new ArgumentException($"unknown kind of block: {spec.GetType().Name}"),
            };
        }
        catch (ArgumentOutOfRangeException e)
        {
            throw new ArgumentException($"{spec.Name} cannot take a map of {input}: {e.Message}", e);
        }
    }

    private ConvUnit Unit(ConvSpec spec, MapShape input, bool isShortcut = false)
    {
        bool normed = spec.Norm is not null;
        var layer = new ConvLayer(backend, spec.Name, _layers++, spec.On(input), bias: !normed, spec.Init) { IsNormed = normed };
        BatchNorm? norm = normed ? new BatchNorm(backend, spec.Norm!, spec.K, spec.ZeroGamma) : null;
        return new ConvUnit(layer, input, norm, spec.Activation, order) { IsShortcut = isShortcut };
    }

    private ConvUnit Unit(LinearSpec spec, MapShape input)
    {
        var layer = new ConvLayer(backend, spec.Name, _layers++, spec.On(input), bias: true, spec.Init) { IsLinear = true };
        return new ConvUnit(layer, input, norm: null, spec.Activation, order);
    }

    private ResidualBlock Residual(ResidualSpec spec, MapShape input)
    {
        var main = new ConvUnit[spec.Main.Count];
        MapShape map = input;
        for (int i = 0; i < main.Length; i++)
        {
            // In conv-BN-ReLU order the last ReLU comes after the join: a unit with a residual applies it there.
            main[i] = Unit(spec.Main[i], map);
            map = main[i].Output;
        }

        return new ResidualBlock(spec.Name, main, spec.Shortcut is null ? null : Unit(spec.Shortcut, input, isShortcut: true));
    }
}
