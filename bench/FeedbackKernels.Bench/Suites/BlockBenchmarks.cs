using BenchmarkDotNet.Attributes;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Bench.Suites;

/// <summary>Whole residual blocks, with convolutions, norms, ReLUs and join: the first two blocks of each stage. The first has a
/// projection if the stage changes the size of the map.</summary>
[MemoryDiagnoser]
public class BlockBenchmarks : IDisposable
{
    private const int Batch = 16;
    private const ulong Seed = 1;

    private static readonly string[] Models = ["resnet18", "resnet50", "resnet20"];

    private CpuBackend? _backend;
    private Arena? _arena;
    private Block? _block;
    private DeviceBuffer? _x, _error;

    /// <summary>Names of the blocks.</summary>
    public static IEnumerable<string> Names => Models.SelectMany(
        model => Spec(model).Blocks.OfType<ResidualSpec>().Where(b => b.Name[^2..] is ".0" or ".1").Select(b => $"{model}/{b.Name}"));

    /// <summary>The block to measure.</summary>
    [ParamsSource(nameof(Names))]
    public string Name { get; set; } = "";

    /// <summary>Creates the block and its memory.</summary>
    [GlobalSetup]
    public void Setup()
    {
        _backend = new CpuBackend();
        _arena = new Arena(_backend);
        string[] names = Name.Split('/');
        _block = Build(_backend, Spec(names[0]), names[1]);
        foreach (ConvUnit unit in _block.Units)
        {
            unit.Layer.Initialise(Seed);
            unit.Layer.Feedback = new FeedbackAlignment().Attach(unit.Layer, new LayerPlace(Seed, Classes: 10, Batch));
            unit.Layer.Feedback!.Initialise();
            unit.Layer.Weight.EnableTraining();
            unit.Norm!.Initialise();
            unit.Norm.Gamma.EnableTraining();
            unit.Norm.Beta.EnableTraining();
        }

        var plan = new MemoryPlan(_arena, Batch, _backend.ActivationType, training: true);
        _x = plan.Keep(plan.Rent(_block.Input, "input"));
        _block.PlanForward(plan, _x);
        _error = plan.Keep(plan.Rent(_block.Output, "error"));
        _block.PlanBackward(plan, _error, wantsInputError: true);
        _arena.Commit();
        _backend.FillGaussian(_x, new RandomKey(Seed, RandomPurpose.User), 1);
    }

    /// <summary>Releases everything.</summary>
    [GlobalCleanup]
    public void Dispose()
    {
        foreach (ConvUnit unit in _block?.Units ?? []) unit.Dispose();
        _arena?.Dispose();
        _backend?.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>The forward pass of a training step.</summary>
    [Benchmark]
    public void Forward() => _block!.Forward(Pass.Train(Batch));

    /// <summary>Forward and backward pass: errors, weight gradients, gradients of the norms. The backward pass works in place, so
    /// the error at the output is written each time, as the next block would do.</summary>
    [Benchmark]
    public void ForwardAndBackward()
    {
        Forward();
        _backend!.Fill(_error, 1e-3f);
        _block!.Backward(new BackwardPass(Batch, default, null));
    }

    private static ModelSpec Spec(string model)
    {
        int size = ModelCatalog.UsualImageSize(model);
        return ModelCatalog.Create(model, new MapShape(size, size, 3), ModelCatalog.UsualClasses(model));
    }

    private static Block Build(Backend backend, ModelSpec spec, string name)
    {
        var builder = new BlockBuilder(backend, spec.Order);
        MapShape map = spec.Input;
        foreach (BlockSpec block in spec.Blocks)
        {
            Block built = builder.Build(block, map);
            if (block.Name == name) return built;
            map = built.Output;
            foreach (ConvUnit unit in built.Units) unit.Dispose();
        }

        throw new ArgumentException($"{spec.Name} has no block '{name}'", nameof(name));
    }
}
