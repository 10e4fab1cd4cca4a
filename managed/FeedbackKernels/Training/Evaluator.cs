using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;

namespace FeedbackKernels.Training;

/// <summary>Runs a model over images and counts what it gets right.</summary>
public sealed class Evaluator(Model model)
{
    private readonly float[] _losses = new float[model.MaxBatch];
    private readonly float[] _logits = new float[checked(model.MaxBatch * model.Spec.Classes)];

    /// <summary>Evaluates with running statistics and without smoothing.</summary>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public Evaluation Run(ImageSet images, Normalisation normalisation, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(images);
        double loss = 0;
        int top1 = 0, top5 = 0;
        using BatchLoader loader = BatchLoader.Evaluate(images, normalisation, model.MaxBatch);
        while (loader.Next() is { } batch)
        {
            cancel.ThrowIfCancellationRequested();
            LoadBatch(model, batch);
            using (StepScope scope = model.Backend.BeginStep())
            {
                model.Forward(Pass.Evaluate(batch.Count));
                model.Loss(batch.Count, smoothing: 0, gradient: false);
                scope.Complete();
            }

            model.ReadLosses(_losses.AsSpan(0, batch.Count));
            for (int i = 0; i < batch.Count; i++) loss += _losses[i];
            (int first, int five) = CountRight(batch);
            top1 += first;
            top5 += five;
        }

        return new Evaluation(loss / images.Count, (double)top1 / images.Count, (double)top5 / images.Count, images.Count);
    }

    /// <summary>Puts a batch into a model's input: bytes are what goes to the backend, and it makes numbers of them.</summary>
    internal static void LoadBatch(Model model, Batch batch)
    {
        Backend backend = model.Backend;
        backend.Upload<byte>(batch.Pixels.AsSpan(0, checked(batch.Count * model.Spec.Input.Length)), model.Pixels);
        backend.Upload<int>(batch.Numbers.AsSpan(0, batch.Count), model.ImageNumbers);
        backend.Upload(batch.Normalisation.Table, model.PixelTable);
        backend.Upload<int>(batch.Labels.AsSpan(0, batch.Count), model.Labels);
        backend.AugmentImages(batch.Augmentation, batch.Count, model.Pixels, model.ImageNumbers, model.PixelTable, model.Input);
    }

    /// <summary>Images of the batch last forwarded whose class has the largest logit, and is among the five largest.</summary>
    internal (int Top1, int Top5) CountRight(Batch batch)
    {
        int classes = model.Spec.Classes, top1 = 0, top5 = 0;
        model.ReadLogits(_logits.AsSpan(0, batch.Count * classes));
        for (int i = 0; i < batch.Count; i++)
        {
            ReadOnlySpan<float> logits = _logits.AsSpan(i * classes, classes);
            int better = 0;
            float own = logits[batch.Labels[i]];
            for (int k = 0; k < classes; k++)
            {
                // Ties count against the label, and so does a NaN: a net that says the same for all classes is not right.
                if (k != batch.Labels[i] && !(logits[k] < own)) better++;
            }

            if (better < 1) top1++;
            if (better < 5) top5++;
        }

        return (top1, top5);
    }
}
