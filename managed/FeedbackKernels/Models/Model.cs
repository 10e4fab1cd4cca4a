using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Rules;
using FeedbackKernels.State;

namespace FeedbackKernels.Models;

/// <summary>
/// A model in a backend's memory: a list of blocks with explicit forward and backward passes. All memory of a step lies
/// in one arena, planned for the largest batch; smaller batches use part of it.
/// </summary>
public sealed class Model : IState, IDisposable
{
    private readonly List<Block> _blocks = [];
    private Arena _arena;
    private DeviceBuffer? _outputError;
    private readonly ParameterSlab? _weights, _feedback;
    private readonly StatisticsSlab? _statistics;
    private readonly MapShape _madeFor;
    private DeviceBuffer? _inputError;
    private ConvUnit[] _units = [];

    /// <summary>Allocates a model to be trained, draws its weights, and plans the memory of a step.</summary>
    /// <param name="backend">Where it lives; stays the caller's.</param>
    /// <param name="spec">What it is.</param>
    /// <param name="rules">How errors go back.</param>
    /// <param name="batch">Images of the largest batch.</param>
    /// <param name="seed">Seed of the initial weights.</param>
    /// <param name="sharedBatch">Images of the largest batch of all processes that train the model together, by which rules choose the
    /// number of their samples; 0 if this process trains it alone.</param>
    /// <param name="divides">Processes that divide the samples of rules between them; null where each process takes all samples.</param>
    /// <exception cref="ArgumentException">The rules cannot be combined, a setting of theirs is out of range, the images do not fit the
    /// model, or a batch norm would see a single value a channel in training.</exception>
    public Model(Backend backend, ModelSpec spec, RuleSet rules, int batch, ulong seed, int sharedBatch = 0, Communicator? divides = null)
        : this(backend, spec, batch, seed, rules ?? throw new ArgumentNullException(nameof(rules)), sharedBatch: sharedBatch, divides: divides)
    {
    }

    /// <param name="backend">Where it lives; stays the caller's.</param>
    /// <param name="spec">What it is.</param>
    /// <param name="batch">Images of the largest batch.</param>
    /// <param name="seed">Seed of the initial weights.</param>
    /// <param name="rules">How errors go back; null for a model without backward pass.</param>
    /// <param name="imageGradient">Whether the error goes back to the images.</param>
    /// <param name="sharedBatch">Images of the largest batch of all processes; 0 for one process.</param>
    /// <param name="divides">Processes that divide the samples of rules; or null.</param>
    private Model(
        Backend backend, ModelSpec spec, int batch, ulong seed, RuleSet? rules, bool imageGradient = false, int sharedBatch = 0, Communicator? divides = null)
    {
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentNullException.ThrowIfNull(spec);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batch);
        if (sharedBatch != 0) ArgumentOutOfRangeException.ThrowIfLessThan(sharedBatch, batch);
        Backend = backend;
        Spec = spec;
        _madeFor = spec.Input;
        MaxBatch = batch;
        CanTrain = rules is not null;
        HasImageGradient = imageGradient;
        _arena = new Arena(backend);
        try
        {
            Build();
            if (rules is not null)
            {
                if (!imageGradient) RequireStatistics(batch);
                rules.Validate(Layers);
                AttachFeedback(rules, seed, Math.Max(batch, sharedBatch), divides);
                foreach (Parameter parameter in Parameters) parameter.EnableTraining();
                foreach (ConvLayer layer in Layers.Where(l => l.Feedback?.Update == FeedbackUpdate.ByGradient)) layer.Feedback!.LearnedWeights!.EnableTraining();
            }

            _weights = new ParameterSlab(backend, [.. UnitsInBackwardOrder.SelectMany(u => u.ParametersInBackwardOrder)], "weights");
            Parameter[] feedback = [.. UnitsInBackwardOrder.SelectMany(u => u.Layer.Feedback?.Parameters ?? [])];
            if (feedback.Length > 0) _feedback = new ParameterSlab(backend, feedback, "feedback weights");
            if (Norms.Count > 0) _statistics = new StatisticsSlab(backend, Norms);
            foreach (ConvLayer layer in Layers) layer.Initialise(seed);
            foreach (BatchNorm norm in Norms) norm.Initialise();
            foreach (ConvLayer layer in Layers) layer.Feedback?.Initialise();

            Plan(CanTrain);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Allocates a model without backward pass, which needs no rule, and plans the memory of a forward pass.</summary>
    /// <param name="backend">Where it lives; stays the caller's.</param>
    /// <param name="spec">What it is.</param>
    /// <param name="batch">Images of the largest batch.</param>
    /// <param name="seed">Seed of the weights that it has until others are loaded.</param>
    /// <exception cref="ArgumentException">The images do not fit the model.</exception>
    public static Model ForEvaluation(Backend backend, ModelSpec spec, int batch, ulong seed = 0) => new(backend, spec, batch, seed, rules: null);

    /// <summary>Allocates a model whose errors go back through W, down to the images: for adversarial attacks.</summary>
    /// <param name="backend">Where it lives; stays the caller's.</param>
    /// <param name="spec">What it is.</param>
    /// <param name="batch">Images of the largest batch.</param>
    /// <exception cref="ArgumentException">The images do not fit the model.</exception>
    public static Model ForAttack(Backend backend, ModelSpec spec, int batch) =>
        new(backend, spec, batch, seed: 0, RuleSet.Of(new Backprop()), imageGradient: true);

    /// <summary>Where the model lives.</summary>
    public Backend Backend { get; }

    /// <summary>What the model is, for the size of images that its memory is planned for.</summary>
    public ModelSpec Spec { get; private set; }

    /// <summary>Images of the largest batch.</summary>
    public int MaxBatch { get; }

    /// <summary>Whether the model has rules, so that it can be trained.</summary>
    public bool CanTrain { get; }

    /// <summary>Whether a backward pass goes down to the images; see <see cref="ForAttack"/>.</summary>
    public bool HasImageGradient { get; }

    /// <summary>Whether a backward pass is planned at the present size of images.</summary>
    internal bool PlansBackward => _outputError is not null;

    /// <summary>Where the images of a batch go, normalised, NHWC, in the backend's <see cref="Backend.ActivationType"/>.</summary>
    public DeviceBuffer Input { get; private set; } = null!;

    /// <summary>Where <see cref="ImageGradient"/> leaves the gradient of the mean loss by the images, NHWC.</summary>
    internal DeviceBuffer InputError =>
        _inputError ?? throw new InvalidOperationException("the model has no gradient by its images; make it with Model.ForAttack");

    /// <summary>Where their labels go, Int32.</summary>
    public DeviceBuffer Labels { get; private set; } = null!;

    /// <summary>Where the last forward pass left its logits, [N][classes].</summary>
    internal DeviceBuffer Logits { get; private set; } = null!;

    /// <summary>Element type of the logits, which the last layer computes.</summary>
    public ElementType LogitsType => Logits.Type;

    /// <summary>Where the losses of the images are that were computed last, [N].</summary>
    internal DeviceBuffer Losses { get; private set; } = null!;

    /// <summary>The blocks, in the order of the forward pass.</summary>
    public IReadOnlyList<Block> Blocks => _blocks;

    /// <summary>All convolutions and linear layers, in the order of the forward pass (a shortcut after its block's main
    /// path).</summary>
    public IReadOnlyList<ConvLayer> Layers { get; private set; } = [];

    /// <summary>All batch norms.</summary>
    public IReadOnlyList<BatchNorm> Norms { get; private set; } = [];

    /// <summary>Everything that training changes, B excepted.</summary>
    public IReadOnlyList<Parameter> Parameters { get; private set; } = [];

    /// <summary>The parameters in memory, one block for each role.</summary>
    internal ParameterSlab Weights => _weights!;

    /// <summary>The weights that the rules keep, likewise; null where they keep none.</summary>
    internal ParameterSlab? FeedbackWeights => _feedback;

    /// <summary>The running statistics of all batch norms in memory; null where there are none.</summary>
    internal DeviceBuffer? RunningStatistics => _statistics?.Values;

    /// <summary>Elements of <see cref="Parameters"/>.</summary>
    public long ParameterCount => Parameters.Sum(p => p.Length);

    /// <summary>Floating-point operations of a forward pass of one image, convolutions and linear layers alone.</summary>
    public double ForwardFlops => Layers.Sum(l => l.Shape().Flops);

    /// <summary>Bytes of activations, errors and images of a step.</summary>
    public long ArenaBytes => _arena.Bytes;

    /// <summary>
    /// Plans the memory of a step for images of another size; weights, norms and the state of the rules stay. What the last pass
    /// computed is lost, and <see cref="Input"/>, <see cref="Labels"/> and the results are other buffers.
    /// </summary>
    /// <param name="input">Size of an image, with the channels of <see cref="ModelSpec.Input"/>.</param>
    /// <param name="backward">Whether a backward pass is planned; a model without rules has none. Without it a step needs less memory.</param>
    /// <exception cref="ArgumentException">The weights do not fit images of that size, or a rule needs those of one size. The model stays
    /// as it was.</exception>
    public void Resize(MapShape input, bool backward = true)
    {
        backward &= CanTrain;
        if (input == Spec.Input && backward == PlansBackward) return;
        SetSizes(input, backward);
        _arena.Dispose();
        _arena = new Arena(Backend);
        Plan(backward);
    }

    /// <summary>Puts a batch of numbers into <see cref="Input"/>, and its <see cref="Labels"/>.</summary>
    /// <param name="images">Normalised images, NHWC.</param>
    /// <param name="labels">Their classes.</param>
    /// <exception cref="ArgumentException">There are more images than the model is planned for, or the lengths do not fit.</exception>
    public void Load(ReadOnlySpan<float> images, ReadOnlySpan<int> labels)
    {
        CheckImages(labels.Length);
        if (images.Length != (long)labels.Length * Spec.Input.Length)
            throw new ArgumentException($"has {images.Length} numbers, wanted {(long)labels.Length * Spec.Input.Length}: {labels.Length} images of {Spec.Input}", nameof(images));
        Backend.UploadFloats(images, Input);
        Backend.Upload(labels, Labels);
    }

    /// <summary>Computes the logits of the images in <see cref="Input"/>.</summary>
    /// <param name="pass">Number of images, and whether batch norms use the statistics of the batch.</param>
    /// <exception cref="ArgumentException">There are no images or more than the model is planned for, or a batch norm would see a single
    /// value a channel in training.</exception>
    public void Forward(in Pass pass)
    {
        CheckImages(pass.Images);
        if (pass.Training) RequireStatistics(pass.Images);
        foreach (Block block in _blocks) block.Forward(pass);
    }

    /// <summary>
    /// Computes the loss of each image, for <see cref="ReadLosses"/>, and, where asked, the gradient of their mean by the
    /// logits, from which <see cref="Backward(int, IErrorObserver?)"/> starts: <see cref="Backend.CrossEntropy"/>.
    /// </summary>
    /// <param name="images">N of the last forward pass.</param>
    /// <param name="smoothing">Label smoothing (Szegedy et al. 2016, section 7), 0 to below 1.</param>
    /// <param name="gradient">Whether a backward pass follows.</param>
    /// <exception cref="ArgumentOutOfRangeException">There are no images or more than the model is planned for, the smoothing is out of
    /// range, or the host can read the labels and one is not a class.</exception>
    /// <exception cref="InvalidOperationException">A gradient is wanted, and no backward pass is planned.</exception>
    public void Loss(int images, float smoothing, bool gradient)
    {
        CheckImages(images);
        Backend.CrossEntropy(
            Spec.Loss, images, Spec.Classes, Logits, Labels, smoothing, Losses, gradient ? RequireTraining() : null);
    }

    /// <inheritdoc cref="Loss(int, float, bool)"/>
    /// <param name="images">N of the last forward pass.</param>
    /// <param name="smoothing">Label smoothing.</param>
    /// <param name="gradient">Whether a backward pass follows.</param>
    /// <param name="losses">Gets the N losses.</param>
    public void Loss(int images, float smoothing, bool gradient, Span<float> losses)
    {
        Loss(images, smoothing, gradient);
        ReadLosses(losses[..images]);
    }

    /// <summary>Copies the losses that were computed last, of as many images as the span has places.</summary>
    /// <param name="losses">Gets the losses, in nats.</param>
    /// <exception cref="ArgumentException">The span is longer than the largest batch.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A label was not a class, and the host could not read it before.</exception>
    public void ReadLosses(Span<float> losses) => Backend.Download(Losses, losses);

    /// <summary>Copies the logits of the last forward pass, [N][classes].</summary>
    /// <param name="logits">Gets the logits; its length says of how many images.</param>
    /// <exception cref="ArgumentException">The span is longer than the logits of the largest batch.</exception>
    public void ReadLogits(Span<float> logits) => Backend.DownloadFloats(Logits, logits);

    /// <summary>Computes all gradients, each layer's error under its rule.</summary>
    /// <param name="images">N of the last forward pass.</param>
    /// <param name="observer">Is shown the error of each layer; optional.</param>
    /// <exception cref="ArgumentOutOfRangeException">There are no images or more than the model is planned for.</exception>
    /// <exception cref="InvalidOperationException">The model has no rules, or no backward pass is planned.</exception>
    public void Backward(int images, IErrorObserver? observer = null) => Backward(images, observer, gradients: null);

    /// <inheritdoc cref="Backward(int, IErrorObserver?)"/>
    /// <param name="images">N of the last forward pass.</param>
    /// <param name="observer">Is shown the error of each layer; optional.</param>
    /// <param name="gradients">Is told after each block how many elements of the slab's gradients are complete; optional.</param>
    internal void Backward(int images, IErrorObserver? observer, IGradientWatcher? gradients)
    {
        CheckImages(images);
        RunBackward(new BackwardPass(images, RequireTraining(), observer), gradients);
    }

    /// <summary>Computes the gradient of the mean loss by the images, after a forward pass with running statistics and
    /// <see cref="Loss(int, float, bool)"/>. Gradients of parameters are not computed.</summary>
    /// <param name="images">N of the last forward pass.</param>
    internal void ImageGradient(int images)
    {
        CheckImages(images);
        _ = InputError;
        RunBackward(new BackwardPass(images, RequireTraining(), Observer: null, Training: false));
    }

    /// <summary>Computes the statistics of batch norms over the images of all processes, in passes between <see cref="NormSharing.Begin"/> and
    /// <see cref="NormSharing.End"/>. The caller disposes what it returns after the last of them.</summary>
    /// <param name="group">The processes.</param>
    internal NormSharing ShareNorms(Communicator group)
    {
        var sharing = new NormSharing(Backend, group, Norms.Max(norm => norm.Channels));
        foreach (BatchNorm norm in Norms) norm.Share(sharing);
        return sharing;
    }

    /// <summary>Copies weights, norms and running statistics from a model of the same kind.</summary>
    /// <param name="other">A model of the same description, on any backend.</param>
    /// <exception cref="ArgumentException">It has other tensors; the message names the first that differs.</exception>
    public void CopyFrom(Model other)
    {
        ArgumentNullException.ThrowIfNull(other);
        string[] wanted = Describe(this), found = Describe(other);
        if (!wanted.SequenceEqual(found))
        {
            string difference = wanted.Except(found).Select(tensor => $"it lacks {tensor}").Concat(found.Except(wanted).Select(tensor => $"it has {tensor}")).FirstOrDefault("the order differs");
            throw new ArgumentException($"not a model of the same description: {difference}", nameof(other));
        }

        foreach ((DeviceBuffer from, DeviceBuffer to) in other.Tensors().Zip(Tensors(), (a, b) => (a.Buffer, b.Buffer)))
            Backend.Upload<float>(other.Backend.Download(from), to);
        RefreshCopies();

        static string[] Describe(Model model) => [.. model.Tensors().Select(tensor => $"{tensor.Name} [{string.Join(", ", tensor.Sizes)}]")];
    }

    /// <summary>Makes the copies of all weights that products read anew, after something wrote into the tensors.</summary>
    public void RefreshCopies()
    {
        foreach (Parameter parameter in Parameters) parameter.RefreshCopy();
        foreach (Parameter parameter in _feedback?.Parameters ?? []) parameter.RefreshCopy();
    }

    /// <summary>Every tensor that makes the model what it is, with its name and sizes; B excepted.</summary>
    public IEnumerable<(string Name, IReadOnlyList<int> Sizes, DeviceBuffer Buffer)> Tensors() =>
    [
        .. Parameters.Select(p => (p.Name, p.Sizes, p.Value)),
        .. Norms.SelectMany(n => ((string, IReadOnlyList<int>, DeviceBuffer)[])
        [
            ($"{n.Name}.running_mean", [n.Channels], n.RunningMean), ($"{n.Name}.running_var", [n.Channels], n.RunningVariance),
        ]),
    ];

    /// <summary><see cref="Tensors"/>, and the weights that the rules keep.</summary>
    public IEnumerable<(string Name, IReadOnlyList<int> Sizes, DeviceBuffer Buffer)> TensorsAndFeedback() =>
        Tensors().Concat(Layers.SelectMany(l => l.Feedback?.Parameters ?? []).Select(p => (p.Name, p.Sizes, p.Value)));

    /// <inheritdoc/>
    public void Walk(IStateWalker walker)
    {
        ArgumentNullException.ThrowIfNull(walker);
        foreach ((string name, IReadOnlyList<int> sizes, DeviceBuffer buffer) in Tensors()) walker.Tensor(name, sizes, buffer);
        foreach (ConvLayer layer in Layers) layer.Feedback?.Walk(walker);
        if (walker.Replaces) RefreshCopies();
    }

    /// <summary>Name of the first of <see cref="TensorsAndFeedback"/> that holds a NaN or an infinity; null where there is none.</summary>
    public string? FirstTensorNotFinite()
    {
        foreach ((string name, _, DeviceBuffer buffer) in TensorsAndFeedback())
        {
            // In double precision the squares of floats that are finite have a finite sum.
            if (!double.IsFinite(Backend.Compare(buffer.Length, buffer, buffer).SquaredNorm)) return name;
        }

        return null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (ConvUnit unit in _blocks.SelectMany(b => b.Units)) unit.Dispose();
        _weights?.Dispose();
        _feedback?.Dispose();
        _statistics?.Dispose();
        _arena.Dispose();
    }

    private void RunBackward(in BackwardPass pass, IGradientWatcher? gradients = null)
    {
        long complete = 0;
        for (int i = _blocks.Count - 1; i >= 0; i--)
        {
            _blocks[i].Backward(pass);
            if (gradients is null) continue;
            foreach (ConvUnit unit in _blocks[i].Units)
                foreach (Parameter parameter in unit.ParametersInBackwardOrder) complete = Math.Max(complete, parameter.Offset + parameter.Length);
            gradients.OnComplete(complete);
        }
    }

    private void Build()
    {
        MapShape map = Spec.Input;
        var builder = new BlockBuilder(Backend, Spec.Order);
        foreach (BlockSpec block in Spec.Blocks)
        {
            _blocks.Add(builder.Build(block, map));
            map = _blocks[^1].Output;
        }

        if (map != new MapShape(1, 1, Spec.Classes))
            throw new ArgumentException($"{Spec.Name} ends in {map}, not in {Spec.Classes} logits");
        _blocks[^1].MarkAsOutput();
        _units = [.. _blocks.SelectMany(b => b.Units)];
        Layers = [.. _units.Select(u => u.Layer)];
        Norms = [.. _units.Where(u => u.Norm is not null).Select(u => u.Norm!)];
        Parameters =
        [
            .. _units.SelectMany(u => (IEnumerable<Parameter?>)[u.Layer.Weight, u.Layer.Bias, u.Norm?.Gamma, u.Norm?.Beta])
                .Where(p => p is not null).Select(p => p!),
        ];
    }

    /// <summary>Checks that <see cref="Resize"/> would take a size; plans nothing.</summary>
    internal void RequireSize(MapShape input, bool backward)
    {
        MapShape before = Spec.Input;
        SetSizes(input, backward);
        SetSizes(before);
    }

    private void SetSizes(MapShape input, bool backward)
    {
        if (input.C != Spec.Input.C) throw new ArgumentException($"images of {input}, the model takes {Spec.Input.C} channels", nameof(input));
        if (backward && input != _madeFor && Layers.FirstOrDefault(layer => layer.Feedback?.NeedsOneSize is not null) is { Feedback: var fixedSize } layer)
        {
            throw new ArgumentException(
                $"images of {input}, the model was made for {_madeFor}: {layer.Name} learns by {fixedSize!.RuleName} at one size, because {fixedSize.NeedsOneSize}",
                nameof(input));
        }

        MapShape before = Spec.Input;
        try
        {
            SetSizes(input);
            if (backward && !HasImageGradient) RequireStatistics(MaxBatch);
        }
        catch (ArgumentException e)
        {
            SetSizes(before);
            throw new ArgumentException($"{Spec.Name} cannot take images of {input}: {e.Message}", nameof(input), e);
        }
    }

    private void SetSizes(MapShape input)
    {
        Spec = Spec with { Input = input };
        foreach (Block block in _blocks)
        {
            block.Resize(input);
            input = block.Output;
        }
    }

    private void Plan(bool backward)
    {
        var plan = new MemoryPlan(_arena, MaxBatch, Backend.ActivationType, backward);
        Input = plan.Keep(plan.Rent(Spec.Input, "images"));
        Labels = plan.Rent(new MapShape(1, 1, 1), "labels", ElementType.Int32);
        Losses = plan.Rent(new MapShape(1, 1, 1), "losses", ElementType.Float32);
        // A step that is launched as a whole is read when its backward pass has ended.
        Logits = plan.Keep(PlanForward(plan));
        _outputError = null;
        if (backward)
        {
            // Direct feedback goes back to it at every layer.
            _outputError = plan.Keep(plan.Rent(new MapShape(1, 1, Spec.Classes), "output error"));
            PlanBackward(plan, _outputError);
        }

        _arena.Commit();
    }

    private IEnumerable<ConvUnit> UnitsInBackwardOrder => Enumerable.Reverse(_blocks).SelectMany(b => b.UnitsInBackwardOrder);

    private void AttachFeedback(RuleSet rules, ulong seed, int sharedBatch, Communicator? divides)
    {
        foreach (Block block in _blocks)
        {
            foreach (ConvUnit unit in block.Units)
            {
                var place = new LayerPlace(seed, Spec.Classes, sharedBatch, unit == _units[0] && !HasImageGradient, block == _blocks[^1], unit.IsShortcut, divides);
                unit.Layer.Feedback = rules.For(unit.Layer.Name).Attach(unit.Layer, place);
            }
        }
    }

    private DeviceBuffer PlanForward(MemoryPlan plan)
    {
        DeviceBuffer current = Input;
        foreach (Block block in _blocks)
        {
            DeviceBuffer output = block.PlanForward(plan, current);
            if (!plan.Training) plan.Return(current);
            current = output;
        }

        return current;
    }

    private void PlanBackward(MemoryPlan plan, DeviceBuffer outputError)
    {
        for (int i = 0; i < _blocks.Count; i++) _blocks[i].ConnectTo(i > 0 ? _blocks[i - 1] : null);
        DeviceBuffer? error = outputError;
        for (int i = _blocks.Count - 1; i >= 0; i--)
        {
            Block block = _blocks[i];
            bool wanted = i == 0 ? HasImageGradient : _blocks[i - 1].WantsError;
            if (wanted && i > 0 && block.LayerThatSendsNone is { } silent)
            {
                throw new ArgumentException(
                    $"{_blocks[i - 1].Name} learns from the error of {silent.Name}, but the rule of {silent.Name}, {silent.Feedback?.RuleName}, sends none down; "
                    + "give the layers below it the same rule");
            }

            error ??= block.HoldsError ? plan.Rent(block.Output, $"{block.Name} error") : null;
            if (error is not null) error = block.PlanBackward(plan, error, wanted);
        }

        _inputError = error;
    }

    /// <summary>Refuses a training batch in which a batch norm would see one value a channel: its variance would be 0, its output
    /// beta alone.</summary>
    internal void RequireStatistics(int images)
    {
        if (images > 1) return;
        for (int i = 0; i < _units.Length; i++)
        {
            MapShape output = _units[i].Output;
            if (_units[i].Norm is { } norm && output.H * output.W == 1)
            {
                throw new ArgumentException(
                    $"batch norm '{norm.Name}' would see one value a channel in training: N = {images}, P = {output.H}, Q = {output.W}; use a larger batch or larger images");
            }
        }
    }

    private DeviceBuffer RequireTraining() =>
        _outputError ?? throw new InvalidOperationException("the model is planned for evaluation; no backward pass has memory");

    private void CheckImages(int images)
    {
        if (images < 1 || images > MaxBatch)
            throw new ArgumentOutOfRangeException(nameof(images), images, $"the model is planned for 1 to {MaxBatch}");
    }
}
