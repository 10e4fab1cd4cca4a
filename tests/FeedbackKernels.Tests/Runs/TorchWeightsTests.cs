using System.Globalization;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Runs;
using FeedbackKernels.Tests.Data;
using FeedbackKernels.Tests.KnownAnswers;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Runs;

/// <summary>Weights that PyTorch wrote, and weights that PyTorch reads: what the other side computes is the known answer.</summary>
public sealed class TorchWeightsTests : FolderTests
{
    private static readonly double[] Zero = [0, 0, 0], One = [1, 1, 1];

    /// <summary>Half precision, which this library holds exactly; written by make_weights.py.</summary>
    [Fact]
    public void A_state_dictionary_of_PyTorch_gives_its_logits()
    {
        string file = Path.Combine(Folder, "state.safetensors");
        File.WriteAllBytes(file, Known.Bytes("weights/state.safetensors"));
        Assert.Equal("F16", new TensorFile(file).Type("conv1.weight"));
        string run = Import(file, new ImportOptions { Model = "resnet8", Size = 16, Means = Zero, Deviations = One });
        AssertLogits(run, new TensorFile(Known.Bytes("weights/answer.safetensors")));
    }

    [Theory]
    [InlineData("resnet18", 64, 3)]
    [InlineData("resnet50", 40, 3)]
    [InlineData("resnet20", 32, 3)]
    [InlineData("lenet", 32, 3)]
    [InlineData("lenet", 28, 1)]
    [InlineData("mlp", 16, 3)]
    public void A_state_dictionary_that_PyTorch_writes_now_gives_its_logits(string model, int size, int channels)
    {
        TorchScript.Run("make", Folder, model, $"{size}", $"{channels}");
        string file = Path.Combine(Folder, "state.safetensors");
        bool isImageNet = model is "resnet18" or "resnet50";
        string run = Import(file, new ImportOptions { Model = model, Size = size, Means = isImageNet ? null : Zero[..channels], Deviations = isImageNet ? null : One[..channels] });
        AssertLogits(run, new TensorFile(Path.Combine(Folder, "answer.safetensors")));

        // There and back: the tensors have the same bits, counters included, and the same names.
        string back = Path.Combine(Folder, "back.safetensors");
        using (StoredRun stored = StoredRun.Open(run)) RunExport.Write(stored, back, WeightFormat.SafetensorsTorch);
        TensorFile before = new(file), after = new(back);
        Assert.Equal(before.Names.Order(), after.Names.Order());
        foreach (string name in before.Names)
        {
            Assert.Equal(before.Sizes(name), after.Sizes(name));
            if (before.Type(name) == "I64") Assert.Equal((3, 3), (before.Integer(name), after.Integer(name)));
            else Assert.Equal(before.Values(name), after.Values(name));
        }
    }

    [Fact]
    public void PyTorch_computes_our_test_loss_from_exported_weights()
    {
        const int images = 500;
        string cifar = RealData.Require("cifar-10-batches-bin"), exported = Path.Combine(Folder, "exported.safetensors");
        foreach (string model in (string[])["resnet8", "lenet"])
        {
            string run = UntrainedRun.Write(Path.Combine(Folder, model), new RunConfig { Model = model }, new MapShape(32, 32, 3), 10);
            using StoredRun stored = StoredRun.Open(run);
            RunExport.Write(stored, exported, WeightFormat.SafetensorsTorch, feedback: false);
            double theirs = double.Parse(TorchScript.Run("loss", exported, model, cifar, $"{images}"), CultureInfo.InvariantCulture);
            using Backend backend = new CpuBackend();
            using var loaded = Model.ForEvaluation(backend, stored.Describe(), 100);
            stored.Model.LoadInto(loaded);
            Evaluation ours = new Evaluator(loaded).Run(DataSet.OpenTest($"cifar10:{cifar}", 1, images).Images, stored.Preprocessing, cancel: TestContext.Current.CancellationToken);
            Assert.Equal(1, ours.Loss / theirs, 1e-5);
            // Not the loss of a model that knows nothing.
            Assert.NotEqual(Math.Log(10), theirs, 1e-2);
        }
    }

    private string Import(string file, ImportOptions options)
    {
        using RunImport import = RunImport.Open(file, options);
        return import.Write(new RunPlace(Path.Combine(Folder, "run")));
    }

    private static void AssertLogits(string run, TensorFile answer)
    {
        int[] sizes = answer.Sizes("images");
        (int n, int c, int h, int w) = (sizes[0], sizes[1], sizes[2], sizes[3]);
        using StoredRun stored = StoredRun.Open(run);
        using Backend backend = new CpuBackend();
        using var model = Model.ForEvaluation(backend, stored.Describe(), n);
        stored.Model.LoadInto(model);
        model.Load(ChannelsLast(answer.Values("images"), n, c, h, w), new int[n]);
        model.Forward(Pass.Evaluate(n));
        var logits = new float[n * 10];
        model.ReadLogits(logits);
        float[] expected = answer.Values("logits");
        Assert.True(expected.Distinct().Count() > n * 9);
        Known.AssertClose(expected, logits, "logits", 1e-4);
    }

    // In plain loops: the conversion of the library is what the import uses.
    private static float[] ChannelsLast(float[] images, int n, int c, int h, int w)
    {
        var pixels = new float[images.Length];
        for (int i = 0; i < images.Length; i++)
        {
            (int column, int row, int channel, int image) = (i % w, i / w % h, i / (w * h) % c, i / (w * h * c));
            pixels[((image * h + row) * w + column) * c + channel] = images[i];
        }

        return pixels;
    }
}
