using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;
using FeedbackKernels.Storage;
using FeedbackKernels.Tests.Data;
using FeedbackKernels.Tests.Runs;

namespace FeedbackKernels.Tests.Storage;

/// <summary>Names, layouts and checks of state dictionaries, against a reader of the format that is not the program's.</summary>
public sealed class TorchFileTests : FolderTests
{
    public static TheoryData<string> Models() => [.. ModelCatalog.Names.Where(name => name is not ("resnet101" or "resnet152"))];

    [Theory, MemberData(nameof(Models))]
    public void A_description_has_the_tensors_of_the_model(string name)
    {
        ModelSpec spec = ModelCatalog.Create(name, new MapShape(32, 32, 3), 7, new ModelOptions(Hidden: 8));
        using Backend backend = new CpuBackend();
        using var model = Model.ForEvaluation(backend, spec, 1);
        Assert.Equal(model.Tensors().Select(t => (t.Name, string.Join('x', t.Sizes))), ModelContent.Needed(spec).Select(t => (t.Name, string.Join('x', t.Sizes))));
        Assert.Equal(model.Layers.Select(layer => layer.Name), spec.Layers().Select(layer => layer.Name));
    }

    /// <summary>The names that torchvision's resnet50 has in its first block, and those of the ends; from its documentation.</summary>
    [Fact]
    public void Names_are_those_of_torchvision()
    {
        string[] names = [.. ExportedNames("resnet50", new Backprop())];
        string[] Norm(string name) => [.. ((string[])["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]).Select(part => $"{name}.{part}")];
        string[] first = ["layer1.0.conv1.weight", .. Norm("layer1.0.bn1"), "layer1.0.conv2.weight", .. Norm("layer1.0.bn2"), "layer1.0.conv3.weight", .. Norm("layer1.0.bn3"), "layer1.0.downsample.0.weight", .. Norm("layer1.0.downsample.1")];
        Assert.Equal(first.Order(), names.Where(name => name.StartsWith("layer1.0.", StringComparison.Ordinal)).Order());
        string[] ends = ["conv1.weight", .. Norm("bn1"), "fc.weight", "fc.bias"];
        Assert.Equal(ends.Order(), names.Where(name => !name.StartsWith("layer", StringComparison.Ordinal)).Order());
        // torchvision's resnet50 has 320 entries, and blocks 3, 4, 6, 3.
        Assert.Equal(320, names.Length);
        Assert.Contains("layer4.2.bn3.running_var", names);
        Assert.Contains("layer3.5.conv1.weight", names);
    }

    [Theory]
    [InlineData("resnet8", 32, 3)]
    [InlineData("lenet", 28, 1)]
    [InlineData("mlp", 6, 3)]
    public void Weights_are_in_the_layout_of_PyTorch(string name, int size, int channels)
    {
        (TensorFile own, TensorFile torch) = Export(name, new FeedbackAlignment(), new MapShape(size, size, channels));
        ModelSpec spec = ModelCatalog.Create(name, new MapShape(size, size, channels), 10, new ModelOptions(Hidden: 8));
        int feedback = 0;
        foreach (WeightedLayer layer in spec.Layers())
        {
            // A linear layer's inputs are those of its map, flattened: channels slowest in PyTorch, fastest here.
            (int k, int c, int r, int s) = (layer.K, layer.C, layer.R, layer.S);
            int[] sizes = layer.IsLinear ? [k, c * r * s] : [k, c, r, s];
            float[] w = own.Values(layer.Weight), theirs = torch.Values(layer.Weight);
            Assert.Equal(sizes, torch.Sizes(layer.Weight));
            Each(k, c, r, s, (at, o, i, row, column) => Assert.Equal(w[((row * s + column) * c + i) * k + o], theirs[at]));
            foreach (string other in layer.Channels) Assert.Equal(own.Values(other), torch.Values(other));
            if (!own.Names.Contains(layer.Feedback)) continue;
            feedback++;
            float[] b = own.Values(layer.Feedback), theirB = torch.Values($"{layer.Name}.feedback.weight");
            Assert.Equal(sizes, torch.Sizes($"{layer.Name}.feedback.weight"));
            Each(k, c, r, s, (at, o, i, row, column) =>
                Assert.Equal(b[layer.IsLinear ? ((o * r + row) * s + column) * c + i : ((row * s + column) * k + o) * c + i], theirB[at]));
        }

        Assert.Equal(spec.Layers().Count() - 1, feedback);
        Assert.Equal("pt", torch.Metadata("format"));
        Assert.All(torch.Names.Where(n => n.EndsWith("num_batches_tracked", StringComparison.Ordinal)), n => Assert.Equal(0, torch.Integer(n)));
    }

    [Fact]
    public void A_model_in_memory_is_saved_and_loaded()
    {
        using Backend backend = new CpuBackend();
        ModelSpec spec = ModelCatalog.Create("resnet8", new MapShape(32, 32, 3), 10);
        using Model model = new(backend, spec, new RuleSet(new FeedbackAlignment(), []), 2, 3), other = Model.ForEvaluation(backend, spec, 2, seed: 9);
        UntrainedRun.Randomise(model);
        string path = Path.Combine(Folder, "model.safetensors");
        TorchFile.Save(model, path);
        Assert.Contains("fc.feedback.weight", new TensorFile(path).Names);
        TorchFile.Load(other, path);
        foreach ((var first, var second) in model.Tensors().Zip(other.Tensors()))
            Assert.Equal(backend.Download(first.Buffer), backend.Download(second.Buffer));
        TorchFile.Save(model, path, feedback: false);
        Assert.DoesNotContain("fc.feedback.weight", new TensorFile(path).Names);
    }

    [Fact]
    public void Direct_feedback_has_no_place_in_a_state_dictionary()
    {
        string run = UntrainedRun.Write(Path.Combine(Folder, "run"), new RunConfig { Model = "lenet", Rule = new DirectFeedbackAlignment() }, new MapShape(28, 28, 1), 10);
        string path = Path.Combine(Folder, "exported");
        using StoredRun stored = StoredRun.Open(run);
        TestFiles.Complains<NotSupportedException>(() => { RunExport.Write(stored, path, WeightFormat.SafetensorsTorch); return null; }, "'conv1.direct_feedback'", "format safetensors");
        Assert.False(File.Exists(path));
        RunExport.Write(stored, path, WeightFormat.SafetensorsTorch, feedback: false);
        RunExport.Write(stored, path, WeightFormat.Safetensors);
        Assert.Contains("conv1.direct_feedback", new TensorFile(path).Names);
    }

    private static void Each(int k, int c, int r, int s, Action<int, int, int, int, int> check)
    {
        for (int at = 0; at < k * c * r * s; at++) check(at, at / (c * r * s), at / (r * s) % c, at / s % r, at % s);
    }

    private IReadOnlyList<string> ExportedNames(string model, FeedbackRule rule) => Export(model, rule, new MapShape(32, 32, 3)).Torch.Names;

    private (TensorFile Own, TensorFile Torch) Export(string model, FeedbackRule rule, MapShape input)
    {
        string run = UntrainedRun.Write(Path.Combine(Folder, "run"), new RunConfig { Model = model, Rule = rule, Hidden = model == "mlp" ? 8 : 0 }, input, 10);
        string path = Path.Combine(Folder, "exported.safetensors");
        using StoredRun stored = StoredRun.Open(run);
        RunExport.Write(stored, path, WeightFormat.SafetensorsTorch);
        return (new TensorFile(Path.Combine(run, RunFiles.Model)), new TensorFile(path));
    }
}
