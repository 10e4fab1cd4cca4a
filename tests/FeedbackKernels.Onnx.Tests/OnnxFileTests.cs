using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Storage;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace FeedbackKernels.Onnx.Tests;

/// <summary>What ONNX Runtime computes from an exported model is what the model computes.</summary>
public sealed class OnnxFileTests : IDisposable
{
    private const int Classes = 10;

    private readonly string _path = Path.GetTempFileName();

    public void Dispose() => File.Delete(_path);

    public static TheoryData<string, NormOrder, int, int, bool> Cases() => new()
    {
        { "mlp", NormOrder.ConvBnRelu, 12, 3, false },
        { "lenet", NormOrder.ConvBnRelu, 28, 1, false },
        { "lenet", NormOrder.ConvBnRelu, 32, 3, false },
        { "resnet8", NormOrder.ConvBnRelu, 32, 3, false },
        { "resnet8", NormOrder.ConvBnRelu, 32, 3, true },
        { "resnet20", NormOrder.ConvReluBn, 32, 3, false },
        { "resnet18", NormOrder.ConvBnRelu, 64, 3, false },
        { "resnet18", NormOrder.ConvBnRelu, 61, 3, true },
        { "resnet18", NormOrder.ConvReluBn, 64, 3, false },
        { "resnet50", NormOrder.ConvBnRelu, 48, 3, false },
        { "resnet50", NormOrder.ConvBnRelu, 48, 3, true },
    };

    [Theory, MemberData(nameof(Cases))]
    public void Runtime_and_model_agree(string name, NormOrder order, int size, int channels, bool fold)
    {
        using Backend backend = new CpuBackend();
        using Model model = Create(backend, name, order, size, channels);
        OnnxFile.Save(model, _path, foldNorms: fold);
        using var session = new InferenceSession(_path);
        Assert.Equal([-1, channels, size, size], session.InputMetadata[OnnxFile.InputName].Dimensions);
        Assert.Equal([-1, Classes], session.OutputMetadata[OnnxFile.OutputName].Dimensions);
        foreach (int batch in (int[])[1, 5])
        {
            float[] images = Images(batch * model.Spec.Input.Length), expected = Logits(model, images, batch);
            float[] found = Run(session, images, batch, model.Spec.Input);
            double largest = expected.Max(Math.Abs);
            Assert.Equal(expected, found, (a, b) => Math.Abs(a - b) <= 1e-4 * Math.Max(1, largest));
            for (int i = 0; i < batch; i++) Assert.Equal(Best(expected, i), Best(found, i));
            // Logits that do not depend on the image would agree whatever the layout.
            if (batch > 1) Assert.True(expected.Distinct().Count() == expected.Length);
        }
    }

    /// <summary>Every model of the catalogue has a graph that the runtime takes.</summary>
    [Fact]
    public void Every_model_is_taken()
    {
        using Backend backend = new CpuBackend();
        foreach (ModelEntry entry in ModelCatalog.All.Where(entry => entry.Name is not ("resnet101" or "resnet152")))
        {
            using Model model = Create(backend, entry.Name, NormOrder.ConvBnRelu, 32, 3);
            OnnxFile.Save(model, _path);
            using var session = new InferenceSession(_path);
            Assert.Equal(OnnxFile.OutputName, Assert.Single(session.OutputMetadata.Keys));
        }
    }

    [Fact]
    public void Metadata_say_how_images_are_prepared()
    {
        using Backend backend = new CpuBackend();
        using Model model = Create(backend, "resnet8", NormOrder.ConvBnRelu, 32, 3);
        string[] classes = [.. Enumerable.Range(0, Classes).Select(k => $"größe {k}")];
        OnnxFile.Save(model, _path, new Preprocessing(new MapShape(32, 32, 3), [0.5, 0.25, 0.125], [0.2, 0.3, 0.4], classes, 36));
        using var session = new InferenceSession(_path);
        Dictionary<string, string> metadata = session.ModelMetadata.CustomMetadataMap;
        Assert.Equal(("resnet8", "32x32x3", "36"), (metadata["model"], metadata["input"], metadata["resize"]));
        Assert.Equal(("[0.5,0.25,0.125]", "[0.2,0.3,0.4]"), (metadata["mean"], metadata["std"]));
        Assert.Equal(classes, System.Text.Json.JsonSerializer.Deserialize<string[]>(metadata["classes"]));
        Assert.Contains("RGB, NCHW", metadata["preprocessing"]);
        Assert.Equal("FeedbackKernels", session.ModelMetadata.ProducerName);
    }

    /// <summary>Pixels that are prepared by the metadata alone give the logits that the model has for them.</summary>
    [Fact]
    public void Metadata_are_enough_to_classify_images()
    {
        const int count = 5;
        DataSet data = DataSet.Open("synthetic", seed: 1);
        IImageSource test = data.Test.Take(count);
        var preprocessing = Preprocessing.Of(data, NormalisationKind.Standard);
        using Backend backend = new CpuBackend();
        using Model model = Create(backend, "resnet8", NormOrder.ConvBnRelu, 32, 3);
        OnnxFile.Save(model, _path, preprocessing, foldNorms: true);
        using var session = new InferenceSession(_path);
        double[] Numbers(string key) => System.Text.Json.JsonSerializer.Deserialize<double[]>(session.ModelMetadata.CustomMetadataMap[key])!;
        (double[] mean, double[] deviation) = (Numbers("mean"), Numbers("std"));
        var bytes = new byte[count * model.Spec.Input.Length];
        test.Read([.. Enumerable.Range(0, count)], bytes);
        float[] found = Run(session, [.. bytes.Select((value, i) => (float)((value / 255.0 - mean[i % 3]) / deviation[i % 3]))], count, model.Spec.Input);
        var images = new float[bytes.Length];
        preprocessing.CreateNormalisation().Apply(bytes, images);
        float[] expected = Logits(model, images, count);
        Assert.Equal(expected, found, (a, b) => Math.Abs(a - b) <= 1e-4 * Math.Max(1, expected.Max(Math.Abs)));
    }

    [Fact]
    public void Norms_are_folded_only_right_behind_a_convolution()
    {
        using Backend backend = new CpuBackend();
        using Model after = Create(backend, "resnet8", NormOrder.ConvReluBn, 32, 3), none = Create(backend, "lenet", NormOrder.ConvBnRelu, 32, 3);
        File.Delete(_path);
        Assert.Contains("follow a ReLU", Assert.Throws<NotSupportedException>(() => OnnxFile.Save(after, _path, foldNorms: true)).Message);
        Assert.Contains("no batch norms", Assert.Throws<NotSupportedException>(() => OnnxFile.Save(none, _path, foldNorms: true)).Message);
        Assert.False(File.Exists(_path));
    }

    /// <summary>A model whose biases, norms and statistics are all different.</summary>
    private static Model Create(Backend backend, string name, NormOrder order, int size, int channels)
    {
        ModelSpec spec = ModelCatalog.Create(name, new MapShape(size, size, channels), Classes, new ModelOptions(order, Hidden: 8));
        var model = Model.ForEvaluation(backend, spec, 5, seed: 11);
        uint stream = 0;
        foreach ((string tensor, IReadOnlyList<int> sizes, DeviceBuffer buffer) in model.Tensors().Where(t => t.Sizes.Count == 1))
        {
            var values = new float[sizes[0]];
            new RandomKey(5, RandomPurpose.User, ++stream).FillGaussian(values, 0.25f);
            if (tensor.EndsWith("running_var", StringComparison.Ordinal)) values = [.. values.Select(value => 0.5f + Math.Abs(value))];
            else if (tensor.EndsWith(".weight", StringComparison.Ordinal)) values = [.. values.Select(value => 0.75f + value)];
            backend.Upload<float>(values, buffer);
        }

        return model;
    }

    private static float[] Images(int length)
    {
        var images = new float[length];
        new RandomKey(7, RandomPurpose.User, (uint)length).FillGaussian(images, 1);
        return images;
    }

    private static float[] Logits(Model model, float[] images, int batch)
    {
        model.Load(images, new int[batch]);
        model.Forward(Pass.Evaluate(batch));
        var logits = new float[batch * Classes];
        model.ReadLogits(logits);
        return logits;
    }

    private static float[] Run(InferenceSession session, float[] images, int batch, MapShape input)
    {
        var tensor = new DenseTensor<float>([batch, input.C, input.H, input.W]);
        for (int i = 0; i < images.Length; i++)
        {
            (int channel, int column, int row, int image) = (i % input.C, i / input.C % input.W, i / (input.C * input.W) % input.H, i / input.Length);
            tensor[image, channel, row, column] = images[i];
        }

        using IDisposableReadOnlyCollection<DisposableNamedOnnxValue> results = session.Run([NamedOnnxValue.CreateFromTensor(OnnxFile.InputName, tensor)]);
        return [.. results.Single().AsEnumerable<float>()];
    }

    private static int Best(float[] logits, int image)
    {
        ReadOnlySpan<float> own = logits.AsSpan(image * Classes, Classes);
        int best = 0;
        for (int k = 1; k < Classes; k++)
        {
            if (own[k] > own[best]) best = k;
        }

        return best;
    }
}
