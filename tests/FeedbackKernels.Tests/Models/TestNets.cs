using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;

namespace FeedbackKernels.Tests.Models;

/// <summary>Small models with every kind of block, and batches for them.</summary>
internal static class TestNets
{
    public const int Classes = 5;

    public static readonly MapShape Images = new(12, 12, 3);

    /// <summary>Stem, max pool, a basic block, a strided one with projection, a bottleneck, mean pool, classifier.</summary>
    public static ModelSpec Residual(NormOrder order = NormOrder.ConvBnRelu) => new(
        "residual", Images, Classes, LossKind.SoftmaxCrossEntropy, order,
        [
            new ConvSpec("conv1", 6, 3, 1, 1, "bn1"),
            new PoolSpec("maxpool", PoolKind.Max, 3, 2, 1),
            new ResidualSpec("a", [new ConvSpec("a.conv1", 6, 3, 1, 1, "a.bn1"), new ConvSpec("a.conv2", 6, 3, 1, 1, "a.bn2")], null),
            new ResidualSpec(
                "b",
                [new ConvSpec("b.conv1", 9, 3, 2, 1, "b.bn1"), new ConvSpec("b.conv2", 9, 3, 1, 1, "b.bn2")],
                new ConvSpec("b.downsample.0", 9, 1, 2, 0, "b.downsample.1", Activation.None)),
            new ResidualSpec(
                "c",
                [new ConvSpec("c.conv1", 4, 1, 1, 0, "c.bn1"), new ConvSpec("c.conv2", 4, 3, 1, 1, "c.bn2"), new ConvSpec("c.conv3", 16, 1, 1, 0, "c.bn3")],
                new ConvSpec("c.downsample.0", 16, 1, 1, 0, "c.downsample.1", Activation.None)),
            new PoolSpec("avgpool", PoolKind.Average, 0),
            new LinearSpec("fc", Classes, Activation.None, WeightInit.Uniform),
        ]);

    /// <summary>Convolutions with bias, mean pooling, sigmoid layers.</summary>
    public static ModelSpec Plain(LossKind loss = LossKind.SoftmaxCrossEntropy) => new(
        "plain", Images, Classes, loss, NormOrder.ConvBnRelu,
        [
            new ConvSpec("conv1", 5, 3, 2, 1, Norm: null),
            new PoolSpec("pool1", PoolKind.Average, 2, 2),
            new LinearSpec("fc1", 13, Activation.Sigmoid, WeightInit.Xavier),
            new LinearSpec("fc2", Classes, Activation.None, WeightInit.Paper),
        ]);

    public static ModelSpec ByName(string name) => name switch
    {
        "residual" => Residual(),
        "residual-relu-bn" => Residual(NormOrder.ConvReluBn),
        "plain" => Plain(),
        _ => Plain(LossKind.SigmoidCrossEntropy),
    };

    public static void LoadBatch(Model model, int images, uint stream = 1)
    {
        var pixels = new float[images * Images.Length];
        new RandomKey(99, RandomPurpose.User, stream).FillGaussian(pixels, 1);
        model.Load(pixels, [.. Enumerable.Range(0, images).Select(i => (i + (int)stream) % Classes)]);
    }

    /// <summary>Forward, loss and backward; returns the mean loss.</summary>
    public static double Step(Model model, int images)
    {
        var losses = new float[images];
        model.Forward(Pass.Train(images));
        model.Loss(images, 0.1f, gradient: true, losses);
        model.Backward(images);
        return losses.Average(l => (double)l);
    }

    public static float[] Gradients(Model model) => [.. model.Parameters.SelectMany(p => model.Backend.Download(p.Gradient))];

    public static float[] Weights(Model model) => [.. model.Tensors().SelectMany(t => model.Backend.Download(t.Buffer))];
}
