using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace TorchPeer;

/// <summary>The ResNets of the comparison (He et al. 2015), equal to ours: projection shortcuts, and the stride of a bottleneck in its
/// 3x3 convolution (v1.5).</summary>
internal sealed class ResNet : Module<Tensor, Tensor>
{
    private readonly Module<Tensor, Tensor> _stem, _body;
    private readonly Linear _classifier;
    private readonly AdaptiveAvgPool2d _pool;

    private ResNet(string name, int[] blocks, int width, bool bottleneck, bool imageNet) : base(name)
    {
        (ImageSize, Classes) = imageNet ? (224, 1000) : (32, 10);
        _stem = imageNet
            ? Sequential(
                Conv2d(3, width, 7, stride: 2, padding: 3, bias: false), BatchNorm2d(width), ReLU(inplace: true),
                MaxPool2d(3, stride: 2, padding: 1))
            : Sequential(Conv2d(3, width, 3, stride: 1, padding: 1, bias: false), BatchNorm2d(width), ReLU(inplace: true));
        var body = new List<Module<Tensor, Tensor>>();
        int channels = width;
        for (int stage = 0; stage < blocks.Length; stage++, width *= 2)
        {
            for (int block = 0; block < blocks[stage]; block++)
            {
                var residual = new ResidualBlock(channels, width, stage > 0 && block == 0 ? 2 : 1, bottleneck);
                body.Add(residual);
                channels = residual.Channels;
            }
        }

        _body = Sequential(body);
        _pool = AdaptiveAvgPool2d(1);
        _classifier = Linear(channels, Classes);
        RegisterComponents();
    }

    public static IReadOnlyList<string> Names => ["resnet18", "resnet20", "resnet50"];

    /// <summary>Rows and columns of an image.</summary>
    public int ImageSize { get; }

    /// <summary>Number of logits.</summary>
    public int Classes { get; }

    public static ResNet Create(string name) => name switch
    {
        "resnet18" => new ResNet(name, [2, 2, 2, 2], 64, bottleneck: false, imageNet: true),
        "resnet50" => new ResNet(name, [3, 4, 6, 3], 64, bottleneck: true, imageNet: true),
        "resnet20" => new ResNet(name, [3, 3, 3], 16, bottleneck: false, imageNet: false),
        _ => throw new ArgumentException($"no model '{name}'; models: {string.Join(", ", Names)}", nameof(name)),
    };

    public override Tensor forward(Tensor x) =>
        _classifier.forward(_pool.forward(_body.forward(_stem.forward(x))).flatten(1));

    /// <summary>Convolutions with batch norms, plus the input or a projection of it.</summary>
    private sealed class ResidualBlock : Module<Tensor, Tensor>
    {
        private readonly Module<Tensor, Tensor> _main;
        private readonly Module<Tensor, Tensor>? _shortcut;

        public ResidualBlock(int channels, int width, int stride, bool bottleneck) : base(nameof(ResidualBlock))
        {
            Channels = bottleneck ? 4 * width : width;
            _main = bottleneck
                ? Sequential(
                    Conv2d(channels, width, 1, bias: false), BatchNorm2d(width), ReLU(inplace: true),
                    Conv2d(width, width, 3, stride: stride, padding: 1, bias: false), BatchNorm2d(width), ReLU(inplace: true),
                    Conv2d(width, Channels, 1, bias: false), BatchNorm2d(Channels))
                : Sequential(
                    Conv2d(channels, width, 3, stride: stride, padding: 1, bias: false), BatchNorm2d(width), ReLU(inplace: true),
                    Conv2d(width, width, 3, padding: 1, bias: false), BatchNorm2d(width));
            if (stride != 1 || channels != Channels)
                _shortcut = Sequential(Conv2d(channels, Channels, 1, stride: stride, bias: false), BatchNorm2d(Channels));
            RegisterComponents();
        }

        /// <summary>Output channels.</summary>
        public int Channels { get; }

        public override Tensor forward(Tensor x) =>
            functional.relu(_main.forward(x).add_(_shortcut is null ? x : _shortcut.forward(x)), inplace: true);
    }
}
