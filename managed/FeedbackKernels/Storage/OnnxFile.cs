using System.Globalization;
using FeedbackKernels.Data;
using FeedbackKernels.Models;
using FeedbackKernels.Storage.Onnx;
using Google.Protobuf;

namespace FeedbackKernels.Storage;

/// <summary>
/// Models in the ONNX format, for inference by other programs. Input <c>images</c> is [N][C][H][W] with any N, normalised as the metadata say;
/// output <c>logits</c> is [N][classes]. The initializers have PyTorch's names and layouts.
/// </summary>
public static class OnnxFile
{
    /// <summary>Name of the input, [N][C][H][W].</summary>
    public const string InputName = "images";

    /// <summary>Name of the output, [N][classes].</summary>
    public const string OutputName = "logits";

    // The newest that older runtimes take too: LayerNormalization came with it, but nothing here needs more than 13.
    private const int OperatorSet = 17, IrVersion = 8;

    // Protocol buffers have at most 2 GiB; the graph itself needs little.
    private const long MostBytes = int.MaxValue - (64L << 20);

    private const string Producer = "FeedbackKernels", Batch = "N";

    /// <summary>Writes a model. The file appears whole or not at all.</summary>
    /// <param name="model">The model.</param>
    /// <param name="path">The file.</param>
    /// <param name="preprocessing">What the model's images go through, for the metadata; optional.</param>
    /// <param name="foldNorms">Whether batch norms become a part of the convolution before them. Their results then differ by rounding.</param>
    /// <exception cref="NotSupportedException">The format cannot hold the model, or no norm follows a convolution directly; the message says why.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Save(Model model, string path, Preprocessing? preprocessing = null, bool foldNorms = false)
    {
        ArgumentNullException.ThrowIfNull(model);
        Write(path, ModelContent.Of(model, preprocessing), foldNorms);
    }

    /// <summary>Writes a model.</summary>
    /// <inheritdoc cref="Save"/>
    internal static void Write(string path, ModelContent content, bool foldNorms)
    {
        ModelSpec spec = content.Spec;
        long bytes = sizeof(float) * spec.Layers().Sum(layer => layer.Length + (long)layer.K * layer.Channels.Count);
        if (bytes > MostBytes) throw new NotSupportedException($"{spec.Name} has {bytes} bytes of weights; an ONNX file without external data holds at most {MostBytes}");
        var file = new ModelProto { IrVersion = IrVersion, ProducerName = Producer, Graph = new OnnxGraph(content, foldNorms).Build() };
        file.OpsetImport.Add(new OperatorSetIdProto { Version = OperatorSet });
        foreach ((string key, string value) in Metadata(content)) file.MetadataProps.Add(new StringStringEntryProto { Key = key, Value = value });
        file.Graph.Input.Add(Tensor(InputName, spec.Input.C, spec.Input.H, spec.Input.W));
        file.Graph.Output.Add(Tensor(OutputName, spec.Classes));
        AtomicFile.Write(path, stream => file.WriteTo(stream));
    }

    private static Dictionary<string, string> Metadata(ModelContent content)
    {
        var metadata = new Dictionary<string, string> { [ModelMetadata.Model] = content.Spec.Name };
        if (content.Preprocessing is not { } preprocessing) return metadata;
        ModelMetadata.Add(metadata, preprocessing);
        string colours = preprocessing.Input.C == 3 ? "RGB, " : "";
        metadata["preprocessing"] = string.Create(CultureInfo.InvariantCulture, $"{colours}NCHW, (pixel / 255 - mean) / std of each channel");
        return metadata;
    }

    private static ValueInfoProto Tensor(string name, params int[] sizes)
    {
        var shape = new TensorShapeProto();
        shape.Dim.Add(new TensorShapeProto.Types.Dimension { DimParam = Batch });
        foreach (int size in sizes) shape.Dim.Add(new TensorShapeProto.Types.Dimension { DimValue = size });
        var tensor = new TypeProto.Types.Tensor { ElemType = (int)TensorProto.Types.DataType.Float, Shape = shape };
        return new ValueInfoProto { Name = name, Type = new TypeProto { TensorType = tensor } };
    }
}
