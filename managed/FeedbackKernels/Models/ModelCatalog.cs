using FeedbackKernels.Interop;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Models;

/// <summary>Options of the named models.</summary>
/// <param name="Order">Order of norm and activation.</param>
/// <param name="ZeroGamma">Start the last batch norm of each residual block at 0 (Goyal et al. 2017, section 5.1).</param>
/// <param name="Hidden">Hidden units of the MLP; 0 for those in the public code of Akrout et al. 2019: 500 for one input channel, otherwise
/// 1000.</param>
public readonly record struct ModelOptions(NormOrder Order = NormOrder.ConvBnRelu, bool ZeroGamma = false, int Hidden = 0);

/// <summary>A named model, as an entry of <see cref="ModelCatalog"/>.</summary>
/// <param name="Name">Name on the command line and in config.json.</param>
/// <param name="Help">What the model is, for help texts: a noun phrase without a full stop.</param>
/// <param name="Blocks">Its pieces for a size of image, a number of classes and options.</param>
public sealed record ModelEntry(string Name, string Help, Func<MapShape, int, ModelOptions, IReadOnlyList<BlockSpec>> Blocks)
{
    /// <summary>What training minimises.</summary>
    public LossKind Loss { get; init; } = LossKind.SoftmaxCrossEntropy;

    /// <summary>Rows and columns of the usual images.</summary>
    public int UsualImageSize { get; init; } = 32;

    /// <summary>Usual number of classes.</summary>
    public int UsualClasses { get; init; } = 10;

    /// <summary>Whether the model uses <see cref="ModelOptions.Hidden"/>.</summary>
    public bool HasHiddenUnits { get; init; }
}

/// <summary>All named models: ResNets (He et al. 2016), LeNet-5 (LeCun et al. 1998) and the MLPs in the public code of Akrout et al. 2019. A
/// new one is one function that lists its blocks, and one line here.</summary>
public static class ModelCatalog
{
    /// <summary>The entries, in the order of the help texts.</summary>
    public static IReadOnlyList<ModelEntry> All { get; } =
    [
        new("mlp", "sigmoid layers 784-500-10 or 3072-1000-10", Mlp) { Loss = LossKind.SigmoidCrossEntropy, HasHiddenUnits = true },
        new("lenet", "LeNet-5 with ReLU", (input, classes, _) => LeNet(input, classes)),
        Small("resnet8", 1),
        Small("resnet14", 2),
        Small("resnet20", 3),
        Small("resnet32", 5),
        Small("resnet44", 7),
        Small("resnet56", 9),
        Small("resnet110", 18),
        Large("resnet18", [2, 2, 2, 2], bottleneck: false),
        Large("resnet34", [3, 4, 6, 3], bottleneck: false),
        Large("resnet50", [3, 4, 6, 3], bottleneck: true),
        Large("resnet101", [3, 4, 23, 3], bottleneck: true),
        Large("resnet152", [3, 8, 36, 3], bottleneck: true),
    ];

    /// <summary>All names.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. All.Select(entry => entry.Name)];

    /// <summary>All names with what they are, for help texts.</summary>
    public static string Help { get; } = string.Join(
        "; ", All.GroupBy(entry => entry.Help).Select(group => $"{string.Join(", ", group.Select(entry => entry.Name))}: {group.Key}"));

    /// <summary>The entry of a name; null if there is none.</summary>
    /// <param name="name">The name.</param>
    public static ModelEntry? Find(string name) => All.FirstOrDefault(entry => entry.Name == name);

    /// <summary>Rows and columns of the usual images of a model.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <exception cref="ArgumentException">No model has that name.</exception>
    public static int UsualImageSize(string name) => Require(name).UsualImageSize;

    /// <summary>Usual number of classes of a model.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <exception cref="ArgumentException">No model has that name.</exception>
    public static int UsualClasses(string name) => Require(name).UsualClasses;

    /// <summary>Describes a model for a size of image and a number of classes.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="input">Size of an image.</param>
    /// <param name="classes">Number of classes, at least 2.</param>
    /// <param name="options">Options of the model.</param>
    /// <exception cref="ArgumentException">No model has that name, or an option is out of range.</exception>
    public static ModelSpec Create(string name, MapShape input, int classes, ModelOptions options = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(classes, 2);
        ArgumentOutOfRangeException.ThrowIfNegative(options.Hidden, nameof(options.Hidden));
        if (!Enum.IsDefined(options.Order)) throw new ArgumentOutOfRangeException(nameof(options), options.Order, "unknown order of batch norm and ReLU");
        ModelEntry entry = Require(name);
        return new ModelSpec(name, input, classes, entry.Loss, options.Order, entry.Blocks(input, classes, options));
    }

    private static ModelEntry Require(string name) =>
        Find(name) ?? throw new ArgumentException($"no model '{name}'; there are {string.Join(", ", Names)}", nameof(name));

    /// <summary>A ResNet for small images with n blocks a stage: depth = 6 n + 2 (He et al. 2016, section 4.2).</summary>
    private static ModelEntry Small(string name, int blocks) =>
        new(name, "ResNets for images of 32x32", (_, classes, options) => SmallResNet(blocks, classes, options));

    /// <summary>A ResNet for ImageNet with the blocks of each stage (He et al. 2016, table 1).</summary>
    private static ModelEntry Large(string name, int[] blocks, bool bottleneck) =>
        new(name, "ResNets for ImageNet", (_, classes, options) => LargeResNet(blocks, bottleneck, classes, options))
        {
            UsualImageSize = 224,
            UsualClasses = 1000,
        };

    /// <summary>The MLPs of the weight-mirror paper, 784-500-10 and 3072-1000-10. All units are sigmoids; the loss contains the last ones.</summary>
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
