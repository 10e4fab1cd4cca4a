using FeedbackKernels.Interop;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Models;

/// <summary>What a user may choose of a named model.</summary>
/// <param name="Order">Order of norm and activation.</param>
/// <param name="ZeroGamma">Starts the last norm of each residual block at 0.</param>
/// <param name="Hidden">Hidden units of the MLP; 0 for the paper's: 500 for one input channel, 1000 for three.</param>
public readonly record struct ModelOptions(NormOrder Order = NormOrder.ConvBnRelu, bool ZeroGamma = false, int Hidden = 0);

/// <summary>The models there are, by name.</summary>
public static class ModelCatalog
{
    /// <summary>Blocks a stage of the ResNets for small images: depth = 6 n + 2 (He et al. 2015, section 4.2).</summary>
    private static readonly Dictionary<string, int> SmallResNets = new()
    {
        ["resnet8"] = 1,
        ["resnet14"] = 2,
        ["resnet20"] = 3,
        ["resnet32"] = 5,
        ["resnet44"] = 7,
        ["resnet56"] = 9,
        ["resnet110"] = 18,
    };

    /// <summary>Blocks a stage of the ResNets for ImageNet, and whether they are bottlenecks (He et al. 2015, table 1).</summary>
    private static readonly Dictionary<string, (int[] Blocks, bool Bottleneck)> LargeResNets = new()
    {
        ["resnet18"] = ([2, 2, 2, 2], false),
        ["resnet34"] = ([3, 4, 6, 3], false),
        ["resnet50"] = ([3, 4, 6, 3], true),
        ["resnet101"] = ([3, 4, 23, 3], true),
        ["resnet152"] = ([3, 8, 36, 3], true),
    };

    /// <summary>All names.</summary>
    public static IReadOnlyList<string> Names => ["mlp", "lenet", .. SmallResNets.Keys, .. LargeResNets.Keys];

    /// <summary>Rows and columns of the images that a model is usually given: 224 for the ImageNet nets, 32 for the others.</summary>
    public static int UsualImageSize(string name) => LargeResNets.ContainsKey(name) ? 224 : 32;

    /// <summary>Classes that a model usually has: 1000 for the ImageNet nets, 10 for the others.</summary>
    public static int UsualClasses(string name) => LargeResNets.ContainsKey(name) ? 1000 : 10;

    /// <summary>Describes a model for a size of image and a number of classes.</summary>
    /// <exception cref="ArgumentException">There is no model of that name, or an option is out of range.</exception>
    public static ModelSpec Create(string name, MapShape input, int classes, ModelOptions options = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(classes, 2);
        ArgumentOutOfRangeException.ThrowIfNegative(options.Hidden, nameof(options.Hidden));
        if (!Enum.IsDefined(options.Order)) throw new ArgumentOutOfRangeException(nameof(options), options.Order, "unknown order of batch norm and ReLU");
        LossKind loss = name == "mlp" ? LossKind.SigmoidCrossEntropy : LossKind.SoftmaxCrossEntropy;
        IReadOnlyList<BlockSpec> blocks = name switch
        {
            "mlp" => Mlp(input, classes, options),
            "lenet" => LeNet(input, classes),
            _ when SmallResNets.TryGetValue(name, out int n) => SmallResNet(n, classes, options),
            _ when LargeResNets.TryGetValue(name, out var net) => LargeResNet(net.Blocks, net.Bottleneck, classes, options),
            _ => throw new ArgumentException($"no model '{name}'; there are {string.Join(", ", Names)}", nameof(name)),
        };
        return new ModelSpec(name, input, classes, loss, options.Order, blocks);
    }

    /// <summary>The paper's small nets, 784-500-10 and 3072-1000-10: sigmoids everywhere, the last one inside the loss.</summary>
    private static BlockSpec[] Mlp(MapShape input, int classes, ModelOptions options)
    {
        int hidden = options.Hidden > 0 ? options.Hidden : input.C == 1 ? 500 : 1000;
        return
        [
            new LinearSpec("fc1", hidden, Activation.Sigmoid, WeightInit.Paper),
            new LinearSpec("fc2", classes, Activation.None, WeightInit.Paper),
        ];
    }

    /// <summary>LeNet-5 (LeCun et al. 1998) with ReLU and mean pooling; its first filter is padded on 28x28 images.</summary>
    private static BlockSpec[] LeNet(MapShape input, int classes) =>
    [
        new ConvSpec("conv1", 6, 5, 1, input.H <= 28 ? 2 : 0, Norm: null),
        new PoolSpec("pool1", PoolKind.Average, 2, 2),
        new ConvSpec("conv2", 16, 5, 1, 0, Norm: null),
        new PoolSpec("pool2", PoolKind.Average, 2, 2),
        new LinearSpec("fc1", 120, Activation.Relu, WeightInit.He),
        new LinearSpec("fc2", 84, Activation.Relu, WeightInit.He),
        new LinearSpec("fc3", classes, Activation.None, WeightInit.Uniform),
    ];

    /// <summary>Three stages of 16, 32, 64 channels, projection shortcuts (option B).</summary>
    private static BlockSpec[] SmallResNet(int blocksPerStage, int classes, ModelOptions options) =>
    [
        new ConvSpec("conv1", 16, 3, 1, 1, "bn1"),
        .. Stages([blocksPerStage, blocksPerStage, blocksPerStage], 16, 16, bottleneck: false, options),
        new PoolSpec("avgpool", PoolKind.Average, 0),
        new LinearSpec("fc", classes, Activation.None, WeightInit.Uniform),
    ];

    /// <summary>Four stages from 64 channels behind a 7x7 stem. A bottleneck strides in its 3x3 convolution (v1.5).</summary>
    private static BlockSpec[] LargeResNet(int[] blocks, bool bottleneck, int classes, ModelOptions options) =>
    [
        new ConvSpec("conv1", 64, 7, 2, 3, "bn1"),
        new PoolSpec("maxpool", PoolKind.Max, 3, 2, 1),
        .. Stages(blocks, 64, 64, bottleneck, options),
        new PoolSpec("avgpool", PoolKind.Average, 0),
        new LinearSpec("fc", classes, Activation.None, WeightInit.Uniform),
    ];

    private static IEnumerable<ResidualSpec> Stages(int[] blocks, int width, int inputChannels, bool bottleneck, ModelOptions options)
    {
        int channels = inputChannels;
        for (int stage = 0; stage < blocks.Length; stage++, width *= 2)
        {
            for (int block = 0; block < blocks[stage]; block++)
            {
                string name = $"layer{stage + 1}.{block}";
                int stride = stage > 0 && block == 0 ? 2 : 1;
                int output = bottleneck ? 4 * width : width;
                ConvSpec? shortcut = stride == 1 && channels == output ? null
                    : new ConvSpec($"{name}.downsample.0", output, 1, stride, 0, $"{name}.downsample.1", Activation.None);
                yield return new ResidualSpec(name, bottleneck ? Bottleneck(name, width, stride, options) : Basic(name, width, stride, options), shortcut);
                channels = output;
            }
        }
    }

    private static ConvSpec[] Basic(string name, int width, int stride, ModelOptions options) =>
    [
        new ConvSpec($"{name}.conv1", width, 3, stride, 1, $"{name}.bn1"),
        new ConvSpec($"{name}.conv2", width, 3, 1, 1, $"{name}.bn2", ZeroGamma: options.ZeroGamma),
    ];

    private static ConvSpec[] Bottleneck(string name, int width, int stride, ModelOptions options) =>
    [
        new ConvSpec($"{name}.conv1", width, 1, 1, 0, $"{name}.bn1"),
        new ConvSpec($"{name}.conv2", width, 3, stride, 1, $"{name}.bn2"),
        new ConvSpec($"{name}.conv3", 4 * width, 1, 1, 0, $"{name}.bn3", ZeroGamma: options.ZeroGamma),
    ];
}
