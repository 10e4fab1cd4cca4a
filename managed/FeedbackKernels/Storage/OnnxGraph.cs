using System.Buffers.Binary;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Storage.Onnx;
using Google.Protobuf;
using AttributeType = FeedbackKernels.Storage.Onnx.AttributeProto.Types.AttributeType;

namespace FeedbackKernels.Storage;

/// <summary>The nodes and weights of a model in ONNX, in the order of the forward pass.</summary>
/// <param name="content">The model.</param>
/// <param name="foldNorms">Whether batch norms become a part of the convolution before them.</param>
internal sealed class OnnxGraph(ModelContent content, bool foldNorms)
{
    private readonly GraphProto _graph = new() { Name = content.Spec.Name };
    private readonly Dictionary<string, WeightedLayer> _layers = content.Spec.Layers().ToDictionary(layer => layer.Name);

    private bool NormFollowsActivation => content.Spec.Order == NormOrder.ConvReluBn;

    /// <summary>The graph, without its input and output.</summary>
    /// <exception cref="NotSupportedException">No norm of the model can be folded.</exception>
    public GraphProto Build()
    {
        RequireNormsToFold();
        string current = OnnxFile.InputName;
        MapShape map = content.Spec.Input;
        foreach (BlockSpec block in content.Spec.Blocks)
        {
            current = block switch
            {
                ConvSpec conv => Unit(conv, current, residual: null),
                LinearSpec linear => Linear(linear, current),
                PoolSpec pool => Pool(pool, current, map),
                ResidualSpec residual => Residual(residual, current),
                _ => throw new NotSupportedException($"{block.Name}: a block of the kind {block.GetType().Name} has no counterpart in the ONNX export"),
            };
            map = block.Output(map);
        }

        // The last block's output has one name instead of the block's.
        _graph.Node[^1].Output[0] = OnnxFile.OutputName;
        return _graph;
    }

    private void RequireNormsToFold()
    {
        if (!foldNorms) return;
        if (_layers.Values.All(layer => layer.Norm is null)) throw new NotSupportedException($"{content.Spec.Name} has no batch norms to fold");
        if (NormFollowsActivation)
            throw new NotSupportedException($"the batch norms of {content.Spec.Name} follow a ReLU, since it was trained with conv-relu-bn; only a norm right behind a convolution can be folded into it");
    }

    private string Unit(ConvSpec conv, string x, string? residual)
    {
        WeightedLayer layer = _layers[conv.Name];
        string current = Convolution(conv, layer, x);
        if (NormFollowsActivation && layer.Norm is not null) return Join(Norm(layer, Activate(conv.Activation, conv.Name, current)), conv.Name, residual);
        if (layer.Norm is not null && !foldNorms) current = Norm(layer, current);
        return Activate(conv.Activation, conv.Name, Join(current, conv.Name, residual));
    }

    private string Residual(ResidualSpec block, string x)
    {
        string residual = block.Shortcut is null ? x : Unit(block.Shortcut, x, residual: null), current = x;
        foreach (ConvSpec conv in block.Main) current = Unit(conv, current, conv == block.Main[^1] ? residual : null);
        return current;
    }

    private string Convolution(ConvSpec conv, WeightedLayer layer, string x)
    {
        float[] weights = TorchFile.WeightsTo(layer, content[layer.Weight].Load());
        float[]? bias = layer.Norm is null ? content[layer.Bias].Load() : foldNorms ? Fold(layer, weights) : null;
        Weights(layer.Weight, weights, TorchFile.SizesOf(layer));
        if (bias is not null) Weights(layer.Bias, bias, [layer.K]);
        NodeProto node = Node("Conv", conv.Name, bias is null ? [x, layer.Weight] : [x, layer.Weight, layer.Bias]);
        Window(node, conv.Filter, conv.Filter, conv.Stride, conv.Padding);
        return node.Output[0];
    }

    /// <summary>Multiplies the filters of a convolution by the factors of its norm, and returns the norm's summands. In double precision: each
    /// number is rounded once.</summary>
    private float[] Fold(WeightedLayer layer, float[] weights)
    {
        float[][] norm = [.. layer.Channels.Select(name => content[name].Load())];
        (float[] gamma, float[] beta, float[] mean, float[] variance) = (norm[0], norm[1], norm[2], norm[3]);
        var bias = new float[layer.K];
        int filter = weights.Length / layer.K;
        for (int k = 0; k < layer.K; k++)
        {
            double scale = gamma[k] / Math.Sqrt((double)variance[k] + BatchNorm.Epsilon);
            foreach (ref float weight in weights.AsSpan(k * filter, filter)) weight = (float)(weight * scale);
            bias[k] = (float)(beta[k] - mean[k] * scale);
        }

        return bias;
    }

    private string Norm(WeightedLayer layer, string x)
    {
        foreach (string name in layer.Channels) Weights(name, content[name].Load(), [layer.K]);
        NodeProto node = Node("BatchNormalization", layer.Norm!, [x, .. layer.Channels]);
        node.Attribute.Add(new AttributeProto { Name = "epsilon", Type = AttributeType.Float, F = BatchNorm.Epsilon });
        return node.Output[0];
    }

    private string Linear(LinearSpec linear, string x)
    {
        WeightedLayer layer = _layers[linear.Name];
        Weights(layer.Weight, TorchFile.WeightsTo(layer, content[layer.Weight].Load()), TorchFile.SizesOf(layer));
        Weights(layer.Bias, content[layer.Bias].Load(), [layer.K]);
        // From the first axis on: what is flat already stays as it is.
        string flat = Node("Flatten", $"{linear.Name}.flatten", [x]).Output[0];
        NodeProto node = Node("Gemm", linear.Name, [flat, layer.Weight, layer.Bias]);
        node.Attribute.Add(Number("transB", 1));
        return Activate(linear.Activation, linear.Name, node.Output[0]);
    }

    private string Pool(PoolSpec pool, string x, MapShape map)
    {
        PoolShape shape = pool.On(map);
        NodeProto node = Node(pool.Kind == PoolKind.Max ? "MaxPool" : "AveragePool", pool.Name, [x]);
        // Padding is never the maximum and never counts in a mean: ONNX's defaults.
        Window(node, shape.R, shape.S, shape.Stride, shape.Padding);
        return node.Output[0];
    }

    private string Join(string x, string name, string? residual) => residual is null ? x : Node("Add", $"{name}.add", [x, residual]).Output[0];

    private string Activate(Activation activation, string name, string x) => activation switch
    {
        Activation.None => x,
        Activation.Relu => Node("Relu", $"{name}.relu", [x]).Output[0],
        Activation.Sigmoid => Node("Sigmoid", $"{name}.sigmoid", [x]).Output[0],
        _ => throw new NotSupportedException($"{name}: the activation {activation} has no counterpart in the ONNX export"),
    };

    private NodeProto Node(string operation, string name, params string[] inputs)
    {
        var node = new NodeProto { OpType = operation, Name = name };
        node.Input.Add(inputs);
        node.Output.Add($"{name}.output");
        _graph.Node.Add(node);
        return node;
    }

    private static void Window(NodeProto node, int rows, int columns, int stride, int padding)
    {
        node.Attribute.Add(Numbers("kernel_shape", rows, columns));
        node.Attribute.Add(Numbers("strides", stride, stride));
        node.Attribute.Add(Numbers("pads", padding, padding, padding, padding));
    }

    private void Weights(string name, float[] values, IReadOnlyList<int> sizes)
    {
        var bytes = new byte[sizeof(float) * values.LongLength];
        for (int i = 0; i < values.Length; i++) BinaryPrimitives.WriteSingleLittleEndian(bytes.AsSpan(sizeof(float) * i), values[i]);
        var tensor = new TensorProto { Name = name, DataType = (int)TensorProto.Types.DataType.Float, RawData = UnsafeByteOperations.UnsafeWrap(bytes) };
        tensor.Dims.Add(sizes.Select(size => (long)size));
        _graph.Initializer.Add(tensor);
    }

    private static AttributeProto Number(string name, long value) => new() { Name = name, Type = AttributeType.Int, I = value };

    private static AttributeProto Numbers(string name, params long[] values)
    {
        var attribute = new AttributeProto { Name = name, Type = AttributeType.Ints };
        attribute.Ints.Add(values);
        return attribute;
    }
}
