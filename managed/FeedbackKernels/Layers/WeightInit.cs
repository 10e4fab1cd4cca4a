using FeedbackKernels.Interop;

namespace FeedbackKernels.Layers;

/// <summary>The distribution that weights are drawn from before training.</summary>
public enum WeightInit
{
    /// <summary>Normal, variance 2 / (R*S*K): He et al. 2015, eq. 14, by fan-out, what ResNets are initialised with.</summary>
    He,

    /// <summary>Normal, variance 2 / (R*S*C + R*S*K): Glorot and Bengio 2010, eq. 12.</summary>
    Xavier,

    /// <summary>Uniform in ±1/sqrt(R*S*C): the usual default of linear layers (Glorot and Bengio 2010, eq. 1).</summary>
    Uniform,

    /// <summary>Normal, variance 1 / (R*S*C + R*S*K): the MLPs in the public code of Akrout et al. 2019
    /// (github.com/makrout/Deep-Learning-without-Weight-Transport).</summary>
    Paper,
}

/// <summary>Draws from the distributions of <see cref="WeightInit"/>.</summary>
public static class WeightInits
{
    /// <summary>Standard deviation of one weight.</summary>
    /// <param name="init">The distribution.</param>
    /// <param name="shape">Sizes of the layer.</param>
    /// <exception cref="ArgumentOutOfRangeException">The distribution is unknown.</exception>
    public static float StandardDeviation(this WeightInit init, in ConvShape shape)
    {
        double fanIn = shape.FanIn, fanOut = (double)shape.R * shape.S * shape.K;
        return (float)Math.Sqrt(init switch
        {
            WeightInit.He => 2 / fanOut,
            WeightInit.Xavier => 2 / (fanIn + fanOut),
            WeightInit.Uniform => 1 / (3 * fanIn),
            WeightInit.Paper => 1 / (fanIn + fanOut),
            _ => throw new ArgumentOutOfRangeException(nameof(init), init, "unknown initialisation"),
        });
    }

    /// <summary>Fills a tensor of the layer's weights, in whatever order its elements lie.</summary>
    /// <param name="init">The distribution.</param>
    /// <param name="shape">Sizes of the layer.</param>
    /// <param name="key">Where the random numbers come from.</param>
    /// <param name="weights">R*S*C*K numbers, overwritten.</param>
    /// <exception cref="ArgumentOutOfRangeException">The distribution is unknown.</exception>
    public static void Fill(this WeightInit init, in ConvShape shape, in RandomKey key, Span<float> weights)
    {
        float standardDeviation = init.StandardDeviation(shape);
        if (init == WeightInit.Uniform)
        {
            float bound = standardDeviation * MathF.Sqrt(3);
            key.FillUniform(weights, -bound, bound);
        }
        else
        {
            key.FillGaussian(weights, standardDeviation);
        }
    }
}
