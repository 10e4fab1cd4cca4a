using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.State;

namespace FeedbackKernels.Training;

/// <summary>
/// Turns gradients into updates: of the parameters of a model, and of B where its rule wants that (<see cref="FeedbackUpdate"/>).
/// It owns what it remembers from step to step, the number of the step, and the learning rate's schedule.
/// </summary>
public abstract class Optimiser : IState, IDisposable
{
    private readonly LearningRateSchedule _schedule;
    private readonly int _stepsPerEpoch, _epochs;
    private long _step;

    /// <summary>Prepares the updates of a model.</summary>
    /// <param name="model">Planned for training; stays the caller's.</param>
    /// <param name="options">Settings of the run.</param>
    /// <param name="stepsPerEpoch">Steps in an epoch: the schedule's unit.</param>
    /// <exception cref="ArgumentException">The model is planned for evaluation.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The number of steps is not positive.</exception>
    protected Optimiser(Model model, TrainingOptions options, int stepsPerEpoch)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(stepsPerEpoch);
        if (!model.CanTrain) throw new ArgumentException("the model is planned for evaluation, without a backward pass", nameof(model));
        Model = model;
        (_schedule, _stepsPerEpoch, _epochs) = (options.Schedule, stepsPerEpoch, options.Epochs);
    }

    /// <summary>Number of the next step, from 0.</summary>
    public int Step => (int)_step;

    /// <summary>Learning rate of the last step that <see cref="Update()"/> made; 0 before the first.</summary>
    public float LearningRate => _step == 0 ? 0 : RateOf(Step - 1);

    /// <summary>The model.</summary>
    protected Model Model { get; }

    /// <summary>Makes the next update from the gradients of the last backward pass, at the learning rate of the schedule.</summary>
    public void Update()
    {
        Update(Step, RateOf(Step));
        _step++;
    }

    /// <summary>Makes one update at a learning rate of the caller's choice; the number of the next step does not change.</summary>
    /// <param name="step">Number of the step, from 0: rules may depend on it.</param>
    /// <param name="learningRate">Its learning rate.</param>
    public abstract void Update(int step, float learningRate);

    /// <inheritdoc/>
    public virtual void Walk(IStateWalker walker)
    {
        ArgumentNullException.ThrowIfNull(walker);
        walker.Scalar("optimiser.step", ref _step);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Releases the optimiser's tensors.</summary>
    /// <param name="disposing">True from <see cref="Dispose()"/>, false from a finalizer.</param>
    protected abstract void Dispose(bool disposing);

    private float RateOf(int step) => _schedule.At(step, _stepsPerEpoch, _epochs);
}
