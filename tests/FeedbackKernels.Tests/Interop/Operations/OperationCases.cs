using System.Reflection;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Interop.Operations;

/// <summary>
/// A valid call of every public operation of a backend. <see cref="OperationTests"/> derives the wrong calls from it, and fails if a
/// public method or one of its parameters is missing here.
/// </summary>
internal static class OperationCases
{
    private const int Rows = 4, Channels = 6;
    private const long Elements = Rows * Channels;

    private static readonly ConvShape Shape = new(2, 5, 5, 4, 6, 3, 3, 1, 1);
    private static readonly PoolShape Pool = new(2, 4, 4, 2, 2, 2, 2, 0);
    private static readonly ImageAugmentation Images = new(4, 4, 2, 1, true, new RandomKey(5, RandomPurpose.Augmentation));
    private static readonly MirrorStep Mirror = new(Shape, new MirrorNoise(NoiseKind.Gaussian, Shape.FanIn, 1, 5, 1), 3, 4);
    private static readonly RandomKey Key = new(5, RandomPurpose.User);

    // With a gap between the two; the second is the one that wrong calls change.
    private static readonly SlabSegment[] Segments = [new(0, 5, 0.01f), new(8, Elements - 8, 0, 0.5f)];
    private static readonly ConvShape Small = new(1, 3, 3, 3, 2, 1, 1, 1, 0);
    private static readonly CoupledSegment[] Coupled = [new(Small, 0, 8, 0.01f), new(Small, 10, 16, 0, 0.5f)];
    private static readonly long CoupledLength = 10 + Small.WeightLength;

    // Wrong sizes of rows by channels.
    private static readonly object[] WrongRows = [0L, -1L, long.MaxValue, 1L << 61], WrongChannels = [0, -1, int.MinValue];
    private static readonly object[] WrongLengths = [0L, -1L, long.MaxValue];

    public static IReadOnlyList<OperationCase> All { get; } =
    [
        new("ConvForward", (b, a) => Void(() => b.ConvForward(
                a.Get<ConvShape>("shape"), a["x"], a["w"], a["y"],
                new ConvEpilogue(
                    a["epilogue.Scale"], a["epilogue.Bias"], a["epilogue.Residual"], a.Get<Activation>("epilogue.Activation"),
                    StatisticsOf(a, "epilogue.Statistics")))),
            Of(Shape), In("x", Shape.InputLength), In("w", Shape.WeightLength, Holds.Either),
            Out("y", Shape.OutputLength, Holds.Either) with { MayBe = ["epilogue.Residual"] },
            In("epilogue.Scale", Shape.K, Holds.Floats) with { Optional = true }, In("epilogue.Bias", Shape.K, Holds.Floats) with { Optional = true },
            In("epilogue.Residual", Shape.OutputLength, Holds.Floats) with { Optional = true }, new Setting("epilogue.Activation", Activation.Relu),
            StatisticsOperands("epilogue.Statistics", Shape.K, optional: true)),
        new("ConvFeedback", (b, a) => Void(() => b.ConvFeedback(
                a.Get<ConvShape>("shape"), a["dy"], a["weights"], a.Get<FeedbackLayout>("layout"), a["dx"], a.Get<bool>("accumulate"))),
            Of(Shape), In("dy", Shape.OutputLength), In("weights", Shape.WeightLength, Holds.Either), new Setting("layout", FeedbackLayout.Forward),
            Out("dx", Shape.InputLength), new Setting("accumulate", false)),
        new("ConvWeightGradient", (b, a) => Void(() => b.ConvWeightGradient(a.Get<ConvShape>("shape"), a["x"], a["dy"], a["dw"])),
            Of(Shape), In("x", Shape.InputLength), In("dy", Shape.OutputLength), Out("dw", Shape.WeightLength, Holds.Floats)),
        new("MirrorCorrelate", (b, a) => Void(() => b.MirrorCorrelate(a.Get<MirrorStep>("step"), a["w"], a["correlation"], a.Get<bool>("accumulate"))),
            new Setting(
                "step", Mirror, default(MirrorStep), Mirror with { Samples = 0 }, Mirror with { FirstSample = -1 }, Mirror with { FirstSample = 1L << 32 },
                Mirror with { FirstSample = long.MaxValue }, Mirror with { Form = (MirrorForm)9 }, Mirror with { Form = MirrorForm.FullMap },
                Mirror with { Noise = default }, FullMap(int.MaxValue)),
            In("w", Shape.WeightLength, Holds.Either), Out("correlation", Shape.WeightLength, Holds.Floats), new Setting("accumulate", false)),
        new("MirrorCorrect", (b, a) => Void(() => b.MirrorCorrect(a.Get<MirrorStep>("step"), a["w"], a.Get<float>("rate"), a["b"], a["copy"])),
            new Setting(
                "step", Mirror, default(MirrorStep), Mirror with { Samples = 0 }, Mirror with { FirstSample = -1 }, Mirror with { FirstSample = 1L << 32 },
                Mirror with { Form = (MirrorForm)9 }, Mirror with { ReluResponse = true }, Mirror with { Noise = default }, FullMap(2)),
            In("w", Shape.WeightLength, Holds.Floats), new Setting("rate", 0.5f), Out("b", Shape.WeightLength, Holds.Floats), Copy("copy", Shape.WeightLength)),
        new("TransposedCombine", (b, a) => Void(() => b.TransposedCombine(
                a.Get<ConvShape>("shape"), a.Get<float>("alpha"), a["w"], a.Get<float>("beta"), a["r"], a["b"], a["copy"])),
            Of(Shape), new Setting("alpha", 0.5f), In("w", Shape.WeightLength, Holds.Floats), new Setting("beta", 2f),
            In("r", Shape.WeightLength, Holds.Floats), Out("b", Shape.WeightLength, Holds.Floats) with { MayBe = ["r"] }, Copy("copy", Shape.WeightLength)),
        new("SignTransposed", (b, a) => Void(() => b.SignTransposed(
                a.Get<ConvShape>("shape"), a["w"], a["magnitudes"], a.Get<float>("scale"), a["b"], a["copy"])),
            Of(Shape), In("w", Shape.WeightLength, Holds.Floats), In("magnitudes", Shape.WeightLength, Holds.Floats) with { Optional = true },
            new Setting("scale", 0.5f), Out("b", Shape.WeightLength, Holds.Floats) with { MayBe = ["magnitudes"] }, Copy("copy", Shape.WeightLength)),
        new("BatchNormStatistics", (b, a) => Void(() => b.BatchNormStatistics(
                a.Get<long>("rows"), a.Get<int>("channels"), a["x"], StatisticsOf(a, "statistics"))),
            RowsOfChannels, In("x", Elements), StatisticsOperands("statistics", Channels, optional: false)),
        new("BatchNormFold", (b, a) => Void(() => b.BatchNormFold(
                a.Get<int>("channels"), a["gamma"], a["beta"], a["mean"], a["variance"], a.Get<float>("epsilon"), a["scale"], a["bias"])),
            new Setting("channels", Channels, WrongChannels), In("gamma", Channels, Holds.Floats), In("beta", Channels, Holds.Floats),
            In("mean", Channels, Holds.Floats), In("variance", Channels, Holds.Floats), new Setting("epsilon", 1e-5f, 0f, -1f),
            Out("scale", Channels, Holds.Floats), Out("bias", Channels, Holds.Floats)),
        new("ChannelAffine", (b, a) => Void(() => b.ChannelAffine(
                a.Get<long>("rows"), a.Get<int>("channels"), a["x"], a["scale"], a["bias"], a["residual"], a.Get<Activation>("activation"), a["y"])),
            RowsOfChannels, In("x", Elements), In("scale", Channels, Holds.Floats), In("bias", Channels, Holds.Floats),
            In("residual", Elements) with { Optional = true }, new Setting("activation", Activation.Relu, Activation.Sigmoid),
            Out("y", Elements) with { MayBe = ["x", "residual"] }),
        new("BatchNormBackward", (b, a) => Void(() => b.BatchNormBackward(
                a.Get<long>("rows"), a.Get<int>("channels"), a["x"],
                new BatchNormState(a["state.Mean"], a["state.Variance"], a["state.Scale"], a["state.Bias"], a.Get<float>("state.Epsilon")),
                a.Get<ReluPosition>("relu"), a["y"], a["dy"], a["dx"], a["dGamma"], a["dBeta"], a["dResidual"])),
            RowsOfChannels, In("x", Elements), In("state.Mean", Channels, Holds.Floats), In("state.Variance", Channels, Holds.Floats),
            In("state.Scale", Channels, Holds.Floats), In("state.Bias", Channels, Holds.Floats), new Setting("state.Epsilon", 1e-5f, 0f, -1f),
            new Setting("relu", ReluPosition.After), In("y", Elements) with { Optional = true }, In("dy", Elements),
            Out("dx", Elements) with { MayBe = ["x", "y", "dy"] }, Out("dGamma", Channels, Holds.Floats), Out("dBeta", Channels, Holds.Floats),
            Out("dResidual", Elements) with { Optional = true, MayBe = ["dy"] }),
        new("BatchNormBackwardSums", (b, a) => Void(() => b.BatchNormBackwardSums(
                a.Get<long>("rows"), a.Get<int>("channels"), a["x"],
                new BatchNormState(a["state.Mean"], a["state.Variance"], a["state.Scale"], a["state.Bias"], a.Get<float>("state.Epsilon")),
                a.Get<ReluPosition>("relu"), a["y"], a["dy"], a["dGamma"], a["dBeta"])),
            RowsOfChannels, In("x", Elements), In("state.Mean", Channels, Holds.Floats), In("state.Variance", Channels, Holds.Floats),
            In("state.Scale", Channels, Holds.Floats), In("state.Bias", Channels, Holds.Floats), new Setting("state.Epsilon", 1e-5f, 0f, -1f),
            new Setting("relu", ReluPosition.After), In("y", Elements) with { Optional = true }, In("dy", Elements),
            Out("dGamma", Channels, Holds.Floats), Out("dBeta", Channels, Holds.Floats)),
        new("BatchNormBackwardErrors", (b, a) => Void(() => b.BatchNormBackwardErrors(
                a.Get<long>("rows"), a.Get<int>("channels"), a["x"],
                new BatchNormState(a["state.Mean"], a["state.Variance"], a["state.Scale"], a["state.Bias"], a.Get<float>("state.Epsilon")),
                a.Get<ReluPosition>("relu"), a["y"], a["dy"], a["dGamma"], a["dBeta"], a["dx"], a["dResidual"])),
            RowsOfChannels, In("x", Elements), In("state.Mean", Channels, Holds.Floats), In("state.Variance", Channels, Holds.Floats),
            In("state.Scale", Channels, Holds.Floats), In("state.Bias", Channels, Holds.Floats), new Setting("state.Epsilon", 1e-5f, 0f, -1f),
            new Setting("relu", ReluPosition.After), In("y", Elements) with { Optional = true }, In("dy", Elements),
            In("dGamma", Channels, Holds.Floats), In("dBeta", Channels, Holds.Floats), Out("dx", Elements) with { MayBe = ["x", "y", "dy"] },
            Out("dResidual", Elements) with { Optional = true, MayBe = ["dy"] }),
        new("BatchNormMerge", (b, a) => Void(() => b.BatchNormMerge(a.Get<SharedRows>("rows"), a.Get<int>("channels"), a["parts"], StatisticsOf(a, "statistics"))),
            new Setting("rows", new SharedRows(5, 2, 3), new SharedRows(1, 2, 3), new SharedRows(5, 0, 3), new SharedRows(5, 2, 0)),
            new Setting("channels", Channels, WrongChannels), In("parts", 4 * Channels, Holds.Floats), StatisticsOperands("statistics", Channels, optional: false)),
        new("BiasGradient", (b, a) => Void(() => b.BiasGradient(a.Get<long>("rows"), a.Get<int>("channels"), a["dy"], a["db"])),
            RowsOfChannels, In("dy", Elements), Out("db", Channels, Holds.Floats)),
        new("ActivationForward", (b, a) => Void(() => b.ActivationForward(a.Get<Activation>("activation"), a.Get<long>("length"), a["x"], a["y"])),
            new Setting("activation", Activation.Sigmoid), new Setting("length", Elements, WrongLengths), In("x", Elements),
            Out("y", Elements) with { MayBe = ["x"] }),
        new("ActivationBackward", (b, a) => Void(() => b.ActivationBackward(
                a.Get<Activation>("activation"), a.Get<long>("length"), a["y"], a["dy"], a["dx"])),
            new Setting("activation", Activation.Relu), new Setting("length", Elements, WrongLengths), In("y", Elements), In("dy", Elements),
            Out("dx", Elements) with { MayBe = ["y", "dy"] }),
        new("MaxPoolForward", (b, a) => Void(() => b.MaxPoolForward(a.Get<PoolShape>("shape"), a["x"], a["y"], a["positions"])),
            new Setting("shape", Pool), In("x", Pool.InputLength), Out("y", Pool.OutputLength), Out("positions", Pool.OutputLength, Holds.Ints)),
        new("MaxPoolBackward", (b, a) => Void(() => b.MaxPoolBackward(a.Get<PoolShape>("shape"), a["dy"], a["positions"], a["dx"])),
            new Setting("shape", Pool), In("dy", Pool.OutputLength),
            In("positions", Pool.OutputLength, Holds.Ints) with { Outside = [-1, Pool.H * Pool.W, int.MinValue, int.MaxValue] },
            Out("dx", Pool.InputLength)),
        new("AveragePoolForward", (b, a) => Void(() => b.AveragePoolForward(a.Get<PoolShape>("shape"), a["x"], a["y"])),
            new Setting("shape", Pool), In("x", Pool.InputLength), Out("y", Pool.OutputLength)),
        new("AveragePoolBackward", (b, a) => Void(() => b.AveragePoolBackward(a.Get<PoolShape>("shape"), a["dy"], a["dx"])),
            new Setting("shape", Pool), In("dy", Pool.OutputLength), Out("dx", Pool.InputLength)),
        new("CrossEntropy", (b, a) => Void(() => b.CrossEntropy(
                a.Get<LossKind>("kind"), a.Get<int>("rows"), a.Get<int>("classes"), a["logits"], a["labels"], a.Get<float>("smoothing"), a["losses"],
                a["dLogits"])),
            new Setting("kind", LossKind.SoftmaxCrossEntropy), new Setting("rows", Rows, 0, -1, int.MaxValue),
            new Setting("classes", Channels, 0, -1, int.MaxValue), In("logits", Elements, Holds.Either),
            In("labels", Rows, Holds.Ints) with { Outside = [-1, Channels, int.MinValue, int.MaxValue] }, new Setting("smoothing", 0.1f, 1f, -0.1f),
            Out("losses", Rows, Holds.Floats), Out("dLogits", Elements) with { Optional = true, MayBe = ["logits"] }),
        new("SgdUpdate", (b, a) => Void(() => b.SgdUpdate(a.Get<long>("length"), a["parameter"], a["gradient"], a["velocity"], StepOf(a), a["copy"])),
            new Setting("length", Elements, WrongLengths), Out("parameter", Elements, Holds.Floats), In("gradient", Elements, Holds.Floats),
            Out("velocity", Elements, Holds.Floats), StepParameters, Copy("copy", Elements)),
        new("SgdUpdateTransposed", (b, a) => Void(() => b.SgdUpdateTransposed(
                a.Get<ConvShape>("shape"), a["b"], a["dw"], a["velocity"], StepOf(a), a["copy"])),
            Of(Shape), Out("b", Shape.WeightLength, Holds.Floats), In("dw", Shape.WeightLength, Holds.Floats),
            Out("velocity", Shape.WeightLength, Holds.Floats), StepParameters, Copy("copy", Shape.WeightLength)),
        new("SgdUpdateBoth", (b, a) => Void(() => b.SgdUpdateBoth(
                a.Get<ConvShape>("shape"), a["w"], a["dw"], a["velocity"], a["b"], a["bVelocity"], StepOf(a), a["wCopy"], a["bCopy"])),
            Of(Shape), Out("w", Shape.WeightLength, Holds.Floats), In("dw", Shape.WeightLength, Holds.Floats),
            Out("velocity", Shape.WeightLength, Holds.Floats), Out("b", Shape.WeightLength, Holds.Floats),
            Out("bVelocity", Shape.WeightLength, Holds.Floats), StepParameters, Copy("wCopy", Shape.WeightLength), Copy("bCopy", Shape.WeightLength)),
        new("SgdUpdateSlab", (b, a) => Void(() => b.SgdUpdateSlab(
                a.Get<SlabSegment[]>("segments"), a["values"], a["gradients"], a["velocities"], StepOf(a), a["copies"])),
            new Setting(
                "segments", Segments, Array.Empty<SlabSegment>(), Changed(Segments, s => s with { Length = 0 }), Changed(Segments, s => s with { Length = -1 }),
                Changed(Segments, s => s with { Length = long.MaxValue }), Changed(Segments, s => s with { Offset = -1 }), Changed(Segments, s => s with { Offset = 4 }),
                Changed(Segments, s => s with { Offset = long.MaxValue }), Changed(Segments, s => s with { WeightDecay = float.NaN }),
                Changed(Segments, s => s with { Shrink = float.PositiveInfinity })),
            Out("values", Elements, Holds.Floats), In("gradients", Elements, Holds.Floats), Out("velocities", Elements, Holds.Floats), StepParameters,
            Copy("copies", Elements)),
        new("SgdUpdateCoupledSlab", (b, a) => Void(() => b.SgdUpdateCoupledSlab(
                a.Get<CoupledSegment[]>("segments"), a["values"], a["gradients"], a["velocities"], a["feedback"], a["feedbackVelocities"], StepOf(a),
                a["copies"], a["feedbackCopies"])),
            new Setting(
                "segments", Coupled, Array.Empty<CoupledSegment>(), Changed(Coupled, s => s with { Shape = default }), Changed(Coupled, s => s with { Offset = -1 }),
                Changed(Coupled, s => s with { Offset = 4 }), Changed(Coupled, s => s with { FeedbackOffset = -1 }), Changed(Coupled, s => s with { FeedbackOffset = 4 }),
                Changed(Coupled, s => s with { Offset = long.MaxValue }), Changed(Coupled, s => s with { WeightDecay = float.PositiveInfinity }),
                Changed(Coupled, s => s with { Shrink = float.NaN })),
            Out("values", CoupledLength, Holds.Floats), In("gradients", CoupledLength, Holds.Floats), Out("velocities", CoupledLength, Holds.Floats),
            Out("feedback", CoupledLength + 6, Holds.Floats), Out("feedbackVelocities", CoupledLength + 6, Holds.Floats), StepParameters,
            Copy("copies", CoupledLength), Copy("feedbackCopies", CoupledLength + 6)),
        new("ClipFactor", (b, a) => Void(() => b.ClipFactor([a["gradients"], a["gradients"]], a.Get<float>("most"), a["factor"])),
            In("gradients", Elements, Holds.Floats) with { Needs = 1 }, new Setting("most", 1f, 0f, -1f), Out("factor", 1, Holds.Floats)),
        new("Convert", (b, a) => Void(() => b.Convert(a.Get<long>("length"), a["source"], a["result"])),
            new Setting("length", Elements, WrongLengths), In("source", Elements, Holds.Either), Out("result", Elements, Holds.Either)),
        new("Fill", (b, a) => Void(() => b.Fill(a["values"], a.Get<float>("value"))),
            Out("values", Elements, Holds.Either) with { Needs = 1 }, new Setting("value", 3f) { Any = true }),
        new("FillGaussian", (b, a) => Void(() => b.FillGaussian(a["values"], a.Get<RandomKey>("key"), a.Get<float>("standardDeviation"))),
            Out("values", Elements, Holds.Floats) with { Needs = 1 }, new Setting("key", Key) { Any = true }, new Setting("standardDeviation", 1f, -1f)),
        new("Align", (b, a) => b.Align(a.Get<ConvShape>("shape"), a["w"], a["b"]),
            Of(Shape), In("w", Shape.WeightLength, Holds.Floats), In("b", Shape.WeightLength, Holds.Floats)),
        new("Compare", (b, a) => b.Compare(a.Get<long>("length"), a["a"], a["b"]),
            new Setting("length", Elements, WrongLengths), In("a", Elements, Holds.Either), In("b", Elements, Holds.Floats)),
        new("AugmentImages", (b, a) => Void(() => b.AugmentImages(
                a.Get<ImageAugmentation>("augmentation"), a.Get<int>("images"), a["pixels"], a["numbers"], a["table"], a["x"])),
            new Setting(
                "augmentation", Images, default(ImageAugmentation), Images with { H = -1 }, Images with { Reach = -1 }, Images with { Reach = int.MaxValue },
                new ImageAugmentation(1 << 30, 1 << 30, 4), new ImageAugmentation(1 << 16, 1 << 16, 1), new ImageAugmentation(int.MaxValue, 1, 1, 1)),
            new Setting("images", 2, 0, -1), In("pixels", 2 * Images.ImageLength, Holds.Bytes), In("numbers", 2, Holds.Ints),
            In("table", 256L * Images.C, Holds.Floats), Out("x", 2 * Images.ImageLength)),

        new("Upload", (b, a) => Void(() => b.Upload<float>(new float[Elements], a["destination"])),
            new Setting("source", new float[1]) { Any = true }, Out("destination", Elements, Holds.Floats))
            { WrongTypeArguments = [(b, a) => b.Upload<double>(new double[Elements], a["destination"])] },
        new("UploadFloats", (b, a) => Void(() => b.UploadFloats(new float[Elements], a["destination"])),
            new Setting("source", new float[1]) { Any = true }, Out("destination", Elements, Holds.Numbers)),
        new("Download(source, destination)", (b, a) => Void(() => b.Download<float>(a["source"], new float[Elements])),
            In("source", Elements, Holds.Floats), new Setting("destination", new float[1]) { Any = true })
            { WrongTypeArguments = [(b, a) => b.Download<double>(a["source"], new double[Elements])] },
        new("DownloadFloats", (b, a) => Void(() => b.DownloadFloats(a["source"], new float[Elements])),
            In("source", Elements, Holds.Numbers), new Setting("destination", new float[1]) { Any = true }),
        new("Download(source)", (b, a) => b.Download(a["source"]), In("source", Elements, Holds.Numbers) with { Needs = 0 }),

        new("Allocate", (b, a) => b.Allocate(a.Get<long>("length"), a.Get<string>("name"), a.Get<ElementType>("type")),
            new Setting("length", 8L, WrongLengths), new Setting("name", "new"), new Setting("type", ElementType.BFloat16)),
        new("CreateReadback", (b, a) => b.CreateReadback(a.Get<int>("length"), a.Get<string>("name"), a.Get<ElementType>("type")),
            new Setting("length", 8, 0, -1), new Setting("name", "new"), new Setting("type", ElementType.BFloat16)),
        new("Explain(shape, pass)", (b, a) => b.Explain(a.Get<ConvShape>("shape"), a.Get<ConvPass>("pass")), Of(Shape), new Setting("pass", ConvPass.Feedback)),
        new("Explain(shape, pass, y)", (b, a) => b.Explain(a.Get<ConvShape>("shape"), a.Get<ConvPass>("pass"), a.Get<ElementType>("y")),
            Of(Shape), new Setting("pass", ConvPass.Forward), new Setting("y", ElementType.Float32)),
        new("BeginStep", (b, _) => b.BeginStep()),
        new("Synchronize", (b, _) => Void(b.Synchronize)),

        new("LoadKernels", (b, _) => Void(((CudaBackend)b).LoadKernels)),
        new("RecordEvent", (b, _) => ((CudaBackend)b).RecordEvent()),
        new("WaitFor", (b, a) => Void(() => ((CudaBackend)b).WaitFor(a.Get<CudaEvent>("place"))), new Setting("place", typeof(CudaEvent))),
        new("WaitForEvent", (b, a) => Void(() => ((CudaBackend)b).WaitForEvent(a.Get<nint>("cudaEvent"))), new Setting("cudaEvent", typeof(nint), (nint)0)),
        new("WaitForStream", (b, a) => Void(() => ((CudaBackend)b).WaitForStream(a.Get<nint>("stream"))),
            new Setting("stream", CudaBackend.LegacyStream) { Any = true }),
        new("MakeStreamWait", (b, a) => Void(() => ((CudaBackend)b).MakeStreamWait(a.Get<nint>("stream"))),
            new Setting("stream", CudaBackend.LegacyStream) { Any = true }),
    ];

    /// <summary>Public methods that are not operations, with the reason.</summary>
    public static IReadOnlyDictionary<string, string> Others { get; } = new Dictionary<string, string>
    {
        ["Dispose"] = "takes any number of calls from any thread",
    };

    /// <summary>The public methods that a type of backend adds to those of its base class.</summary>
    public static IEnumerable<MethodInfo> MethodsOf(Type type) => type
        .GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly)
        .Where(m => !m.IsSpecialName && m.GetBaseDefinition() == m && !Others.ContainsKey(m.Name));

    /// <summary>The name of a method's case.</summary>
    public static string NameOf(MethodInfo method)
    {
        bool single = method.DeclaringType!.GetMethods().Count(m => m.Name == method.Name) == 1;
        return single ? method.Name : $"{method.Name}({string.Join(", ", method.GetParameters().Select(p => p.Name))})";
    }

    public static OperationCase Find(string name) => All.Single(c => c.Name == name);

    private static object[] RowsOfChannels => [new Setting("rows", (long)Rows, WrongRows), new Setting("channels", Channels, WrongChannels)];

    private static object[] StepParameters =>
    [
        new Setting("step.LearningRate", 0.1f), new Setting("step.Momentum", 0.9f, 1f, -0.1f), new Setting("step.WeightDecay", 0.01f),
        new Setting("step.Nesterov", true), new Setting("step.GradientScale", 1f), new Setting("step.Shrink", 1f),
        In("step.GradientFactor", 1, Holds.Floats) with { Optional = true },
    ];

    private static object[] StatisticsOperands(string path, long length, bool optional) =>
    [
        // Where statistics are optional, an absent mean means that none are computed.
        Out($"{path}.Mean", length, Holds.Floats) with { Optional = optional }, Out($"{path}.Variance", length, Holds.Floats),
        Out($"{path}.RunningMean", length, Holds.Floats) with { Optional = true },
        Out($"{path}.RunningVariance", length, Holds.Floats) with { Optional = true }, new Setting($"{path}.Momentum", 0.1f, -0.1f, 1.1f),
    ];

    private static BatchStatistics StatisticsOf(Arguments a, string path) => new(
        a[$"{path}.Mean"], a[$"{path}.Variance"], a[$"{path}.RunningMean"], a[$"{path}.RunningVariance"], a.Get<float>($"{path}.Momentum"));

    private static SgdStep StepOf(Arguments a) => new(
        a.Get<float>("step.LearningRate"), a.Get<float>("step.Momentum"), a.Get<float>("step.WeightDecay"), a.Get<bool>("step.Nesterov"),
        a.Get<float>("step.GradientScale"), a.Get<float>("step.Shrink"), a["step.GradientFactor"]);

    private static MirrorStep FullMap(int samples)
    {
        // 2^31 maps of 2^18 numbers.
        var layer = new ConvShape(1, 1 << 9, 1 << 9, 1, 1, 1, 1, 1, 0);
        return new MirrorStep(layer, new MirrorNoise(NoiseKind.Sign, 1 << 18, 1, 5, 1), 0, samples, MirrorForm.FullMap);
    }

    private static T[] Changed<T>(T[] segments, Func<T, T> change) => [segments[0], change(segments[1])];

    private static Setting Of(ConvShape shape) => new("shape", shape);

    private static Operand In(string path, long length, Holds holds = Holds.Activations) => new(path, length, holds);

    private static Operand Out(string path, long length, Holds holds = Holds.Activations) => new(path, length, holds) { Written = true };

    private static Operand Copy(string path, long length) => new(path, length, Holds.Copy) { Written = true, Optional = true };

    private static object? Void(Action action)
    {
        action();
        return null;
    }
}
