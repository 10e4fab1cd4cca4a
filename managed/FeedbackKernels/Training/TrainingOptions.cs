using FeedbackKernels.Data;

namespace FeedbackKernels.Training;

/// <summary>How a model is trained.</summary>
public sealed record TrainingOptions
{
    /// <summary>Passes over the training images.</summary>
    public int Epochs { get; init; } = 10;

    /// <summary>Images in a step.</summary>
    public int Batch { get; init; } = 128;

    /// <summary>Parts in which a step computes the gradients of its images, one after the other: gradient accumulation. The step is that
    /// of the whole batch up to rounding, except that batch norm sees each part alone, and updates its running statistics with each.</summary>
    public int Accumulate { get; init; } = 1;

    /// <summary>Whether several processes compute the statistics of batch norms over all their images, as one process with the whole batch
    /// would; otherwise each computes those of its own images. Costs a sum over the processes in each direction for each norm.</summary>
    public bool SyncBatchNorm { get; init; }

    /// <summary>Whether several processes divide the noise of weight mirrors between them and sum what they find: each takes as many samples as one
    /// process would, so that a step has that many for each process. Otherwise all take the same samples, and nothing is sent.</summary>
    public bool MirrorSplit { get; init; }

    /// <summary>Decay of the average of the weights that is evaluated and saved in place of the weights themselves, 0 to below 1; 0 for none.
    /// After step t, from 0, average = d * average + (1 - d) * weights, where d is the least of the decay and (1 + t) / (10 + t), as in
    /// TensorFlow's ExponentialMovingAverage; the first step copies the weights (averaging: Polyak and Juditsky 1992).</summary>
    public float Ema { get; init; }

    /// <summary>The learning rate.</summary>
    public LearningRateSchedule Schedule { get; init; } = new(ScheduleKind.Cosine, 0.1f);

    /// <summary>Momentum of SGD (Polyak 1964), 0 to below 1.</summary>
    public float Momentum { get; init; } = 0.9f;

    /// <summary>Whether the momentum is Nesterov's (Sutskever et al. 2013).</summary>
    public bool Nesterov { get; init; } = true;

    /// <summary>L2 decay of weights (Krogh and Hertz 1992), 0 or more; biases and batch norms do not decay.</summary>
    public float WeightDecay { get; init; } = 5e-4f;

    /// <summary>Label smoothing (Szegedy et al. 2016, section 7), 0 to below 1.</summary>
    public float LabelSmoothing { get; init; }

    /// <summary>Largest norm of all gradients together (Pascanu, Mikolov and Bengio 2013, algorithm 1); 0 for no limit.</summary>
    public float ClipNorm { get; init; }

    /// <summary>Standard deviation of normal noise that is added to each update, times the learning rate (Kunin et al. 2020, section 5); 0 for
    /// none.</summary>
    public float UpdateNoise { get; init; }

    /// <summary>Which updates get that noise.</summary>
    public NoisyUpdates UpdateNoiseOn { get; init; }

    /// <summary>Steps of training on noise, with random labels, before the training on data (Cheon, Lee and Paik 2024); 0 for none.</summary>
    public int NoisePretraining { get; init; }

    /// <summary>Learning rate of those steps; null for the peak of the schedule.</summary>
    public float? NoisePretrainingRate { get; init; }

    /// <summary>What is done to training images.</summary>
    public Augmentation Augmentation { get; init; }

    /// <summary>Whether each epoch takes the training images in a random order (Durstenfeld 1964); otherwise in that of their source.</summary>
    public bool Shuffle { get; init; } = true;

    /// <summary>How pixels become numbers.</summary>
    public NormalisationKind Normalisation { get; init; }

    /// <summary>Whether the test takes the mean of the logits of each image and of its mirror image (as Krizhevsky, Sutskever and Hinton 2012,
    /// section 4.1, who take that of the softmax, over crops too).</summary>
    public bool TestFlip { get; init; }

    /// <summary>Sizes and crops of the images, if they come in several sizes.</summary>
    public ImageOptions Images { get; init; } = new();

    /// <summary>Threads and rank of the feed. Its <see cref="FeedOptions.Images"/> are not used.</summary>
    [System.Text.Json.Serialization.JsonIgnore]
    public FeedOptions Feed { get; init; } = FeedOptions.Default;

    /// <summary>Seed of the random number generator: initial weights, feedback weights, order of images, noise.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>Epochs from one measurement of the alignment to the next, also a fraction of one; 0 for none.</summary>
    public double AlignEvery { get; init; } = 1;

    /// <summary>Images that a model is planned for: those of a part of a step.</summary>
    [System.Text.Json.Serialization.JsonIgnore]
    public int PartBatch => Batch / Accumulate;

    /// <summary>Checks the settings.</summary>
    /// <exception cref="ArgumentOutOfRangeException">One of them is out of range.</exception>
    /// <exception cref="ArgumentNullException">The schedule, the sizes of images or the settings of the feed are null.</exception>
    public void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(Epochs);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(Batch);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(Accumulate);
        if (Batch % Accumulate != 0) throw new ArgumentOutOfRangeException("accumulate", Accumulate, $"wanted a divisor of the batch, {Batch}");
        RequireFinite(AlignEvery, "align every");
        ArgumentNullException.ThrowIfNull(Schedule);
        Schedule.Validate(Epochs);
        ArgumentNullException.ThrowIfNull(Images);
        Images.Validate();
        ArgumentNullException.ThrowIfNull(Feed);
        Feed.Validate();
        RequireFinite(WeightDecay, "weight decay");
        RequireFinite(ClipNorm, "clip norm");
        RequireFinite(UpdateNoise, "update noise");
        if (!Enum.IsDefined(UpdateNoiseOn))
            throw new ArgumentOutOfRangeException("update noise on", UpdateNoiseOn, $"wanted one of {string.Join(", ", Enum.GetNames<NoisyUpdates>())}");
        if (NoisePretraining < 0) throw new ArgumentOutOfRangeException("noise pretraining", NoisePretraining, "wanted 0 or more");
        RequireFinite(NoisePretrainingRate ?? 0, "noise pretraining rate");
        RequireBelowOne(Momentum, "momentum");
        RequireBelowOne(Ema, "ema");
        RequireBelowOne(LabelSmoothing, "label smoothing");
        if ((Augmentation & ~Augmentation.CropFlip) != 0)
            throw new ArgumentOutOfRangeException("augmentation", Augmentation, $"wanted one of {string.Join(", ", Enum.GetNames<Augmentation>())}");
        if (!Enum.IsDefined(Normalisation))
            throw new ArgumentOutOfRangeException("normalisation", Normalisation, $"wanted one of {string.Join(", ", Enum.GetNames<NormalisationKind>())}");
    }

    private static void RequireFinite(double value, string name)
    {
        if (!(value >= 0) || !double.IsFinite(value)) throw new ArgumentOutOfRangeException(name, value, "wanted a finite number, 0 or more");
    }

    private static void RequireBelowOne(float value, string name)
    {
        if (!(value >= 0 && value < 1)) throw new ArgumentOutOfRangeException(name, value, "wanted 0 to below 1");
    }
}
