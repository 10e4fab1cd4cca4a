using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;

namespace FeedbackKernels.Training;

/// <summary>A class with its probability.</summary>
/// <param name="Class">Number of the class.</param>
/// <param name="Probability">Softmax of the logits (Bridle 1990); for a model that is trained with sigmoids, the sigmoid of the logit.</param>
public readonly record struct ClassProbability(int Class, double Probability);

/// <summary>What a model says about an image.</summary>
/// <param name="Image">Number of the image in its source.</param>
/// <param name="Best">The most probable classes, the best first; empty if the image could not be decoded.</param>
/// <param name="Damage">What is wrong with the image; null if nothing is.</param>
public sealed record Prediction(int Image, IReadOnlyList<ClassProbability> Best, string? Damage);

/// <summary>Classifies images without labels.</summary>
/// <param name="model">The model; stays the caller's.</param>
/// <param name="count">Number of classes for each image.</param>
public sealed class Predictor(Model model, int count = 5)
{
    /// <summary>Classifies the images of a source in their order, batch after batch, prepared as <see cref="Evaluator"/> does. Images of a model that was
    /// trained on one size are brought to it: the shorter side is resized, and the centre is taken. A model of one channel sees encoded images in
    /// grey (the luma of ITU-R BT.601, with Pillow's rounding).</summary>
    /// <param name="images">Encoded images of several sizes, or images of the size of the preprocessing.</param>
    /// <param name="preprocessing">The one that the model was trained with.</param>
    /// <param name="options">Threads of the feed; the sizes are those of the preprocessing.</param>
    /// <param name="cancel">Stops after the present batch.</param>
    /// <exception cref="ArgumentException">The images or the preprocessing do not fit the model; the message names both.</exception>
    /// <exception cref="IOException">A file cannot be read.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public IEnumerable<Prediction> Run(
        IImageSource images, Preprocessing preprocessing, FeedOptions? options = null, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(images);
        ArgumentNullException.ThrowIfNull(preprocessing);
        RequireFit(images, preprocessing);
        return Classify(images, ForFiles(preprocessing), options ?? FeedOptions.Default, cancel);
    }

    private void RequireFit(IImageSource images, Preprocessing preprocessing)
    {
        MapShape input = preprocessing.Input;
        bool isGrey = images.Shape is null && input.C == 1;
        if ((images.Channels != input.C && !isGrey) || (images.Shape ?? input) != input)
            throw new ArgumentException($"images of {images.Describe()}, the model takes {input}", nameof(images));
        if (images.Shape is null && input.H != input.W)
            throw new ArgumentException($"the model takes images of {input}; images of other sizes are brought to squares only", nameof(images));
        if (preprocessing.ClassNames.Count != model.Spec.Classes)
            throw new ArgumentException($"{preprocessing.ClassNames.Count} class names, the model has {model.Spec.Classes} classes", nameof(preprocessing));
    }

    // An image that has the size of the model's already stays as it is.
    private static Preprocessing ForFiles(Preprocessing preprocessing) =>
        preprocessing.Resize > 0 ? preprocessing : preprocessing with { Resize = preprocessing.Input.H };

    private IEnumerable<Prediction> Classify(IImageSource images, Preprocessing preprocessing, FeedOptions options, CancellationToken cancel)
    {
        if (preprocessing.Input != model.Spec.Input) model.Resize(preprocessing.Input, backward: false);
        int classes = model.Spec.Classes;
        var logits = new float[model.MaxBatch * classes];
        using ImageFeed feed = ImageFeed.Evaluate(
            model.Backend, images, preprocessing.CreateNormalisation(), model.MaxBatch,
            options with { Images = preprocessing.CreateImageOptions(), KeepsUnreadable = true, Grey = preprocessing.Input.C == 1 });
        while (feed.Next() is { } batch)
        {
            cancel.ThrowIfCancellationRequested();
            feed.Load(batch, model);
            using (StepScope scope = model.Backend.BeginStep())
            {
                model.Forward(Pass.Evaluate(batch.Count));
                scope.Complete();
            }

            model.ReadLogits(logits.AsSpan(0, batch.Count * classes));
            for (int i = 0; i < batch.Count; i++) yield return Describe(feed, batch.Numbers[i], logits.AsSpan(i * classes, classes));
        }
    }

    private Prediction Describe(ImageFeed feed, int image, ReadOnlySpan<float> logits)
    {
        if (feed.Unreadable.TryGetValue(image, out string? error)) return new Prediction(image, [], error);
        double[] probabilities = Probabilities(logits);
        ClassProbability[] best =
        [
            // Sorted by the logits: two probabilities may be equal after rounding. Equal logits stay in the order of the classes.
            .. logits.ToArray().Select((logit, label) => (logit, label)).OrderByDescending(pair => pair.logit).Take(count)
                .Select(pair => new ClassProbability(pair.label, probabilities[pair.label])),
        ];
        return new Prediction(image, best, feed.Damaged.GetValueOrDefault(image));
    }

    private double[] Probabilities(ReadOnlySpan<float> logits)
    {
        var values = new double[logits.Length];
        if (model.Spec.Loss == LossKind.SigmoidCrossEntropy)
        {
            for (int k = 0; k < values.Length; k++) values[k] = 1 / (1 + Math.Exp(-logits[k]));
            return values;
        }

        double largest = double.NegativeInfinity, sum = 0;
        foreach (float logit in logits) largest = Math.Max(largest, logit);
        for (int k = 0; k < values.Length; k++) sum += values[k] = Math.Exp(logits[k] - largest);
        for (int k = 0; k < values.Length; k++) values[k] /= sum;
        return values;
    }
}
