using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;

namespace FeedbackKernels.Training;

/// <summary>Computes the loss and the accuracy of a model.</summary>
/// <param name="model">The model; stays the caller's.</param>
/// <param name="flip">Whether to take the mean of the logits of each image and of its mirror image; see
/// <see cref="TrainingOptions.TestFlip"/>.</param>
public sealed class Evaluator(Model model, bool flip = false)
{
    /// <summary>Evaluates with running statistics and without smoothing. The model is planned for the size of the images, without a
    /// backward pass if that size is not the present one.</summary>
    /// <param name="images">At least one image: of the size of the preprocessing, or of several sizes.</param>
    /// <param name="preprocessing">The one that the model was trained with.</param>
    /// <param name="options">Threads and rank of the feed; the sizes are those of the preprocessing.</param>
    /// <param name="group">Processes that divide the images between them; null for this one. Each gets the result over all images.</param>
    /// <param name="cancel">Stops the evaluation.</param>
    /// <exception cref="ArgumentException">The images or the preprocessing do not fit the model; the message names both.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public Evaluation Run(
        IImageSource images, Preprocessing preprocessing, FeedOptions? options = null, Communicator? group = null, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(images);
        ArgumentNullException.ThrowIfNull(preprocessing);
        group ??= Communicator.Alone;
        if (group.IsShared) options = (options ?? FeedOptions.Default) with { Rank = group.Rank, WorldSize = group.Size };
        using ImageFeed feed = OpenFeed(model, images, preprocessing, options, backward: false);
        using var results = new StepResults(model);
        var tally = new EvaluationTally(results);
        while (feed.Next() is { } batch)
        {
            // All processes stop at the same batch, or those that do not would wait for the others.
            if (group.Any(cancel.IsCancellationRequested)) throw new OperationCanceledException(cancel);
            // The last batch may be smaller than the number of processes.
            if (batch.Count == 0) continue;
            feed.Load(batch, model);
            using (StepScope scope = model.Backend.BeginStep())
            {
                model.Forward(Pass.Evaluate(batch.Count));
                if (flip) AverageWithMirrored(feed, batch);
                model.Loss(batch.Count, smoothing: 0, gradient: false);
                scope.Complete();
            }

            // Reads the results of the previous batch while the device computes this one.
            tally.Add();
            results.Queue(batch);
        }

        tally.Add();
        return tally.Over(images.Count, group);
    }

    /// <summary>Replaces the logits of the images by the mean of these and those of the mirror images.</summary>
    private void AverageWithMirrored(ImageFeed feed, Batch batch)
    {
        int length = batch.Count * model.Spec.Classes;
        float[] logits = new float[length], mirrored = new float[length];
        model.ReadLogits(logits);
        batch.Mirror();
        feed.Load(batch, model);
        model.Forward(Pass.Evaluate(batch.Count));
        model.ReadLogits(mirrored);
        for (int i = 0; i < length; i++) logits[i] = (logits[i] + mirrored[i]) / 2;
        model.Backend.UploadFloats(logits, model.Logits);
    }

    /// <summary>Images as the model sees them in evaluation; the model is planned for their size if that is not the present one.</summary>
    internal static ImageFeed OpenFeed(Model model, IImageSource images, Preprocessing preprocessing, FeedOptions? options, bool backward)
    {
        RequireFit(images, preprocessing.Input, model.Spec.Classes, "images", nameof(images));
        if (preprocessing.Input.C != images.Channels || preprocessing.Means.Count != images.Channels)
            throw new ArgumentException($"has {preprocessing.Means.Count} channels, the images have {images.Channels}", nameof(preprocessing));
        if (preprocessing.Input != model.Spec.Input) model.Resize(preprocessing.Input, backward);
        options ??= FeedOptions.Default;
        ImageOptions sizes = preprocessing.CreateImageOptions() with { DamagedIsFatal = options.Images.DamagedIsFatal };
        return ImageFeed.Evaluate(model.Backend, images, preprocessing.CreateNormalisation(), checked(model.MaxBatch * options.WorldSize), options with { Images = sizes });
    }

    /// <summary>Checks that a model can take the images.</summary>
    internal static void RequireFit(IImageSource images, MapShape input, int classes, string what, string argument)
    {
        if (!images.Fits(input, classes))
            throw new ArgumentException($"{what} of {images.Describe()}, the model takes {input} in {classes} classes", argument);
        if (images.Count == 0) throw new ArgumentException($"there are no {what}", argument);
    }
}
