using System.Buffers.Binary;
using System.Text;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;
using FeedbackKernels.Storage;
using FeedbackKernels.Tests.Data;
using FeedbackKernels.Tests.KnownAnswers;

namespace FeedbackKernels.Tests.Runs;

/// <summary>Weights that leave the folder of a run and come back, and files that are refused.</summary>
public sealed class RunImportTests : FolderTests
{
    private static readonly FeedbackRule[] RulesWithFeedback = [new KolenPollack(), new WeightMirror(), new SignSymmetry(), new DirectFeedbackAlignment()];

    public static TheoryData<WeightFormat, string, int> Trips()
    {
        var data = new TheoryData<WeightFormat, string, int>();
        foreach (WeightFormat format in (WeightFormat[])[WeightFormat.SafetensorsTorch, WeightFormat.Safetensors])
        {
            foreach (string model in (string[])["resnet8", "resnet18", "lenet", "mlp"])
            {
                // Direct feedback has no place in a state dictionary.
                for (int rule = 0; rule < RulesWithFeedback.Length - (format == WeightFormat.SafetensorsTorch ? 1 : 0); rule++)
                {
                    if (model != "resnet18" || rule == 0) data.Add(format, model, rule);
                }
            }
        }

        return data;
    }

    [Theory, MemberData(nameof(Trips))]
    public void A_round_trip_gives_the_same_bytes(WeightFormat format, string model, int rule)
    {
        var config = new RunConfig
        {
            Model = model,
            Rule = RulesWithFeedback[rule],
            Hidden = model == "mlp" ? 8 : 0,
            Data = "mnist:/data/of/this/machine",
            NormOrder = model == "resnet8" ? NormOrder.ConvReluBn : NormOrder.ConvBnRelu,
        };
        string run = UntrainedRun.Write(Path.Combine(Folder, "run"), config, new MapShape(32, 32, 3), 10, resize: model == "resnet18" ? 36 : 0);
        string first = Export(run, "first.safetensors", format), imported = Import(first, "imported"), second = Export(imported, "second.safetensors", format);
        Assert.Equal(File.ReadAllBytes(first), File.ReadAllBytes(second));
        // The tensors of the run are those that it had, and all that evaluation needs is there.
        TensorFile before = new(Path.Combine(run, RunFiles.Model)), after = new(Path.Combine(imported, RunFiles.Model));
        Assert.Equal(before.Names, after.Names);
        Assert.All(before.Names, name => Assert.Equal(before.Values(name), after.Values(name)));
        Assert.Contains(before.Names, name => name.EndsWith("feedback", StringComparison.Ordinal));
        using StoredRun stored = StoredRun.Open(imported), original = StoredRun.Open(run);
        Assert.Equal(config with { Data = "none" }, stored.Config with { RuleFor = config.RuleFor, Training = config.Training });
        Assert.Equal(original.Preprocessing.Means, stored.Preprocessing.Means);
        Assert.Equal((original.Preprocessing.Input, original.Preprocessing.Resize), (stored.Preprocessing.Input, stored.Preprocessing.Resize));
        // Nothing in a file that travels says where the data are.
        Assert.DoesNotContain("of/this/machine", Encoding.UTF8.GetString(File.ReadAllBytes(first)));
        Assert.Contains("without data", Assert.Throws<InvalidDataException>(() => stored.OpenTest()).Message);
    }

    [Fact]
    public void Layouts_can_be_exchanged_without_loss()
    {
        string run = UntrainedRun.Write(Path.Combine(Folder, "run"), new RunConfig { Model = "resnet8", Rule = new KolenPollack() }, new MapShape(32, 32, 3), 10);
        string torch = Export(run, "torch", WeightFormat.SafetensorsTorch);
        string own = Export(Import(torch, "a"), "own", WeightFormat.Safetensors);
        Assert.Equal(File.ReadAllBytes(torch), File.ReadAllBytes(Export(Import(own, "b"), "torch-again", WeightFormat.SafetensorsTorch)));
        Assert.Equal(File.ReadAllBytes(Export(run, "own-at-once", WeightFormat.Safetensors)), File.ReadAllBytes(own));
    }

    [Fact]
    public void Counters_of_PyTorch_survive_the_own_layout()
    {
        string file = Path.Combine(Folder, "state");
        File.WriteAllBytes(file, Known.Bytes("weights/state.safetensors"));
        string run = Import(file, "run", new ImportOptions { Model = "resnet8", Means = [0, 0, 0], Deviations = [1, 1, 1] });
        string own = Export(run, "own", WeightFormat.Safetensors), torch = Export(Import(own, "again"), "torch", WeightFormat.SafetensorsTorch);
        Assert.Equal(3, new TensorFile(torch).Integer("layer2.0.downsample.1.num_batches_tracked"));
    }

    [Fact]
    public void The_model_file_of_a_run_is_imported_with_its_name_alone()
    {
        string run = UntrainedRun.Write(Path.Combine(Folder, "run"), new RunConfig { Model = "lenet", Rule = new FeedbackAlignment() }, new MapShape(28, 28, 1), 10);
        string imported = Import(Path.Combine(run, RunFiles.Model), "imported");
        using StoredRun stored = StoredRun.Open(imported);
        Assert.Equal(("lenet", new MapShape(28, 28, 1), "class 9"), (stored.Config.Model, stored.Preprocessing.Input, stored.Preprocessing.ClassNames[9]));
    }

    [Fact]
    public void What_is_missing_unexpected_or_of_another_shape_is_said_at_once_and_nothing_is_written()
    {
        string file = Path.Combine(Folder, "weights.safetensors");
        var tensors = new List<(string Name, IReadOnlyList<int> Sizes, float[] Values)>
        {
            ("conv1.weight", [6, 3, 3, 3], new float[162]), ("conv1.bias", [6], new float[6]), ("head.weight", [1], new float[1]), ("fc3.weight", [10, 84], new float[840]),
        };
        SafeTensors.Write(file, tensors, new Dictionary<string, string>());
        string message = Assert.Throws<InvalidDataException>(() => Import(file, "run", new ImportOptions { Model = "lenet", Means = [0, 0, 0], Deviations = [1, 1, 1] })).Message;
        Assert.StartsWith($"{file}: not the weights of lenet for images of 32x32x3 in 10 classes: ", message);
        Assert.Contains("missing: 'conv2.weight', 'conv2.bias', 'fc1.weight', 'fc1.bias' and 3 more", message);
        Assert.Contains("unexpected: 'head.weight'", message);
        Assert.Contains("of another shape: 'conv1.weight' is 6x3x3x3, wanted 6x3x5x5", message);
        Assert.False(Directory.Exists(Path.Combine(Folder, "run")));
    }

    [Fact]
    public void Another_type_is_refused()
    {
        string file = Path.Combine(Folder, "weights.safetensors");
        byte[] bytes = Known.Bytes("weights/state.safetensors");
        // The header says I16 instead of F16: as many bytes, which are no numbers of a model.
        int length = (int)BinaryPrimitives.ReadInt64LittleEndian(bytes);
        string header = Encoding.UTF8.GetString(bytes, 8, length).Replace("\"fc.bias\": {\"dtype\": \"F16\"", "\"fc.bias\": {\"dtype\": \"I16\"", StringComparison.Ordinal);
        File.WriteAllBytes(file, [.. bytes[..8], .. Encoding.UTF8.GetBytes(header), .. bytes[(8 + length)..]]);
        var options = new ImportOptions { Model = "resnet8", Means = [0, 0, 0], Deviations = [1, 1, 1] };
        Assert.Contains("of another type: 'fc.bias' is I16, wanted F32, F16 or BF16", Assert.Throws<InvalidDataException>(() => Import(file, "run", options)).Message);
    }

    /// <summary>BF16 is the upper half of F32.</summary>
    [Fact]
    public void Bfloat16_is_read_exactly()
    {
        string file = Path.Combine(Folder, "weights.safetensors");
        float[] values = [1.5f, -0.15625f, 3e38f, 1e-40f];
        byte[] header = Encoding.UTF8.GetBytes("""{"w":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}}""");
        File.WriteAllBytes(file, [.. BitConverter.GetBytes((long)header.Length), .. header, .. values.SelectMany(value => BitConverter.GetBytes(BitConverter.SingleToInt32Bits(value))[2..])]);
        using SafeTensorsFile tensors = SafeTensorsFile.Open(file);
        Assert.Equal(values.Select(value => BitConverter.Int32BitsToSingle(BitConverter.SingleToInt32Bits(value) & unchecked((int)0xFFFF0000))), tensors.LoadFloats("w"));
    }

    [Theory]
    [InlineData(null, "does not say which model", "--model")]
    [InlineData("resnet8", "does not say how the images", "--mean")]
    [InlineData("resnet17", "no model 'resnet17'", "resnet18")]
    public void What_the_file_does_not_say_is_asked_for(string? model, params string[] parts)
    {
        string file = Path.Combine(Folder, "state");
        File.WriteAllBytes(file, Known.Bytes("weights/state.safetensors"));
        TestFiles.Complains<InvalidDataException>(() => RunImport.Open(file, new ImportOptions { Model = model }), parts);
    }

    [Fact]
    public void A_file_of_torch_save_is_named()
    {
        string file = Path.Combine(Folder, "model.pt");
        // The beginning of what torch.save writes.
        File.WriteAllBytes(file, [.. "PK\x03\x04"u8, .. new byte[60]]);
        TestFiles.Complains<InvalidDataException>(() => RunImport.Open(file), "torch.save", "save_file");
    }

    [Fact]
    public void Photos_of_ImageNet_are_normalised_as_torchvision_does()
    {
        string run = UntrainedRun.Write(Path.Combine(Folder, "run"), new RunConfig { Model = "resnet18" }, new MapShape(64, 64, 3), 10);
        // Only the tensors: a file of another program.
        TensorFile torch = new(Export(run, "torch", WeightFormat.SafetensorsTorch));
        string foreign = Path.Combine(Folder, "foreign");
        SafeTensors.Write(foreign, [.. torch.Names.Where(name => torch.Type(name) == "F32").Select(name => (name, (IReadOnlyList<int>)torch.Sizes(name), torch.Values(name)))], new Dictionary<string, string>());
        using StoredRun stored = StoredRun.Open(Import(foreign, "imported", new ImportOptions { Model = "resnet18" }));
        Assert.Equal([0.485, 0.456, 0.406], stored.Preprocessing.Means);
        Assert.Equal([0.229, 0.224, 0.225], stored.Preprocessing.Deviations);
        Assert.Equal((new MapShape(224, 224, 3), 256, 10), (stored.Preprocessing.Input, stored.Preprocessing.Resize, stored.Preprocessing.ClassNames.Count));
        // Files of old versions of PyTorch have no counters; new ones begin at 0.
        Assert.Equal(0, new TensorFile(Export(Path.Combine(Folder, "imported"), "again", WeightFormat.SafetensorsTorch)).Integer("bn1.num_batches_tracked"));
    }

    private string Export(string run, string name, WeightFormat format)
    {
        string path = Path.Combine(Folder, name);
        using StoredRun stored = StoredRun.Open(run);
        RunExport.Write(stored, path, format);
        return path;
    }

    private string Import(string file, string folder, ImportOptions? options = null)
    {
        using RunImport import = RunImport.Open(file, options);
        return import.Write(new RunPlace(Path.Combine(Folder, folder)));
    }
}
