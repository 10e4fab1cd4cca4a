using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;
using FeedbackKernels.Storage;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Training;

public sealed class StorageTests : IDisposable
{
    private readonly string _file = Path.GetTempFileName();

    public void Dispose() => File.Delete(_file);

    [Fact]
    public void Tensors_come_back_as_they_were()
    {
        SafeTensors.Write(
            _file, [("a", [2, 3], [1, 2, 3, 4, 5, float.NaN]), ("b.c", [1], [-0f]), ("empty", [0], [])], new Dictionary<string, string> { ["k"] = "v \"quoted\"" });
        var (tensors, metadata) = SafeTensors.Read(_file);
        Assert.Equal(["a", "b.c", "empty"], tensors.Keys.Order());
        Assert.Equal([2, 3], tensors["a"].Sizes);
        Assert.Equal([1, 2, 3, 4, 5, float.NaN], tensors["a"].Values);
        Assert.Equal(BitConverter.SingleToUInt32Bits(-0f), BitConverter.SingleToUInt32Bits(tensors["b.c"].Values[0]));
        Assert.Equal("v \"quoted\"", metadata["k"]);
        // A rule of the format: the elements start on a multiple of 8.
        Assert.Equal(0, (8 + BitConverter.ToInt64(File.ReadAllBytes(_file), 0)) % 8);
    }

    [Theory]
    [InlineData("""{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}""", "F16")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}""", "expected 8")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", "goes on to")]
    [InlineData("""{"a":{"dtype":"F32","data_offsets":[0,8]}}""", "header")]
    [InlineData("""{"a":""", "header")]
    public void Wrong_headers_are_refused(string header, string part)
    {
        File.WriteAllBytes(_file, [.. BitConverter.GetBytes((long)header.Length), .. header.Select(c => (byte)c), 0, 0, 0, 0]);
        string message = Assert.Throws<InvalidDataException>(() => SafeTensors.Read(_file)).Message;
        Assert.Contains(part, message);
        Assert.Contains(_file, message);
    }

    [Fact]
    public void A_run_that_lacks_settings_gets_their_defaults()
    {
        File.WriteAllText(
            _file,
            """{"model":"lenet","rule":{"rule":"weight-mirror","samples":7},"training":{"epochs":3,"schedule":{"kind":"constant","peak":0.5}}}""");
        RunConfig config = RunConfig.Read(_file), standard = new();
        var expected = standard with
        {
            Model = "lenet",
            Rule = new WeightMirror(Samples: 7),
            Training = standard.Training with { Epochs = 3, Schedule = new LearningRateSchedule(ScheduleKind.Constant, 0.5f) },
            RuleFor = config.RuleFor,
        };
        Assert.Equal(expected, config);
        Assert.Empty(config.RuleFor);
        Assert.True(config.CudaGraphs);
        Assert.Equal(0, config.Device);

        var full = new RunConfig
        {
            Simd = SimdLevel.Avx2,
            Device = 3,
            CudaGraphs = false,
            Rule = new KolenPollack(Decay: 0.1f),
            LimitTest = 5,
            Training = new TrainingOptions { Nesterov = false, Momentum = 0, Augmentation = Augmentation.Crop },
        };
        full.Write(_file);
        Assert.Equal(full with { RuleFor = [] }, RunConfig.Read(_file) with { RuleFor = [] });
    }

    [Theory]
    [InlineData("""{"modle":"lenet"}""", "modle")]
    [InlineData("""{"training":null}""", "training")]
    [InlineData("""{"training":{"epochs":"many"}}""", "epochs")]
    [InlineData("""{"model":"lenet","model":"mlp"}""", "model")]
    [InlineData("""{"ruleFor":[null]}""", "ruleFor")]
    [InlineData("""{"ruleFor":[{"rule":{"rule":"backprop"}}]}""", "pattern")]
    [InlineData("""{"dataFingerprint":{"train":null,"test":null}}""", "kind")]
    [InlineData("""[1]""", "not a JSON object")]
    [InlineData("""{"model":""", "not a run's configuration")]
    public void A_configuration_that_is_none_is_refused_by_name(string text, string part)
    {
        File.WriteAllText(_file, text);
        string message = Assert.Throws<InvalidDataException>(() => RunConfig.Read(_file)).Message;
        Assert.Contains(part, message);
        Assert.Contains(_file, message);
    }
}
