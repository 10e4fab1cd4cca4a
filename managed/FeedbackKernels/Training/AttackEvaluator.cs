using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;

namespace FeedbackKernels.Training;

/// <summary>Computes the accuracy of a model under an adversarial attack.</summary>
public sealed class AttackEvaluator
{
    private readonly Model _model;
    private readonly Attack _attack;

    /// <summary>Checks the attack.</summary>
    /// <param name="model">A model of <see cref="Model.ForAttack"/>; stays the caller's.</param>
    /// <param name="attack">The attack.</param>
    /// <exception cref="ArgumentException">The model has no gradient by its images.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A setting of the attack is out of range.</exception>
    public AttackEvaluator(Model model, Attack attack)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(attack);
        attack.Validate();
        if (!model.HasImageGradient) throw new ArgumentException("the model has no gradient by its images; make it with Model.ForAttack", nameof(model));
        (_model, _attack) = (model, attack);
    }

    /// <summary>Evaluates with running statistics and without smoothing, each image as it is and after the attack.</summary>
    /// <param name="images">At least one image: of the size of the preprocessing, or of several sizes.</param>
    /// <param name="preprocessing">The one that the model was trained with.</param>
    /// <param name="options">Threads and rank of the feed; the sizes are those of the preprocessing.</param>
    /// <param name="cancel">Stops the evaluation.</param>
    /// <exception cref="ArgumentException">The images or the preprocessing do not fit the model; the message names both.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public AttackResult Run(IImageSource images, Preprocessing preprocessing, FeedOptions? options = null, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(images);
        ArgumentNullException.ThrowIfNull(preprocessing);
        using ImageFeed feed = Evaluator.OpenFeed(_model, images, preprocessing, options, backward: true);
        using var results = new StepResults(_model);
        var range = new PixelRange(preprocessing.CreateNormalisation(), _attack);
        EvaluationTally clean = new(results), attacked = new(results);
        while (feed.Next() is { } batch)
        {
            cancel.ThrowIfCancellationRequested();
            feed.Load(batch, _model);
            var original = new float[batch.Count * _model.Spec.Input.Length];
            _model.Backend.DownloadFloats(_model.Input, original);
            Evaluate(batch, gradient: true);
            results.Queue(batch);
            clean.Add();
            ReadOnlySpan<float> found = Search(batch, original, range, cancel);
            _model.Backend.UploadFloats(found, _model.Input);
            Evaluate(batch, gradient: false);
            results.Queue(batch);
            attacked.Add();
        }

        return new AttackResult(clean.Over(images.Count, Communicator.Alone), attacked.Over(images.Count, Communicator.Alone));
    }

    /// <summary>The images that the attack ends at. The model has computed the loss of the original ones: FGSM goes back from there.</summary>
    private float[] Search(Batch batch, float[] original, PixelRange range, CancellationToken cancel)
    {
        float[] found = [.. original], gradient = new float[original.Length];
        for (int step = 0; step < _attack.UsedSteps; step++)
        {
            cancel.ThrowIfCancellationRequested();
            if (_attack.Kind == AttackKind.Pgd)
            {
                if (step == 0) range.Scatter(found, original, batch.Numbers.AsSpan(0, batch.Count));
                _model.Backend.UploadFloats(found, _model.Input);
                Evaluate(batch, gradient: true);
            }

            _model.ImageGradient(batch.Count);
            _model.Backend.DownloadFloats(_model.InputError, gradient);
            range.Move(found, original, gradient);
        }

        return found;
    }

    private void Evaluate(Batch batch, bool gradient)
    {
        _model.Forward(Pass.Evaluate(batch.Count));
        _model.Loss(batch.Count, smoothing: 0, gradient);
    }

    /// <summary>What the attack may do to a normalised number of each channel.</summary>
    private sealed class PixelRange
    {
        private readonly Attack _attack;
        private readonly float[] _black, _white, _epsilon, _step;

        public PixelRange(Normalisation normalisation, Attack attack)
        {
            _attack = attack;
            int channels = normalisation.Channels;
            _black = [.. Enumerable.Range(0, channels).Select(c => normalisation[0, c])];
            _white = [.. Enumerable.Range(0, channels).Select(c => normalisation[255, c])];
            _epsilon = [.. _black.Zip(_white, (black, white) => (float)(attack.Epsilon * (white - black)))];
            _step = [.. _black.Zip(_white, (black, white) => (float)(attack.UsedStepSize * (white - black)))];
        }

        /// <summary>Moves each number in the direction of its gradient, and back into what is allowed.</summary>
        public void Move(float[] images, float[] original, float[] gradient)
        {
            for (int i = 0, channel = 0; i < images.Length; i++, channel = channel + 1 == _black.Length ? 0 : channel + 1)
            {
                // Without a gradient a number stays; a NaN has no sign, and the loss that follows shows it.
                float sign = gradient[i] > 0 ? 1 : gradient[i] < 0 ? -1 : 0;
                images[i] = Allowed(images[i] + sign * _step[channel], original[i], channel);
            }
        }

        /// <summary>Moves each image to a random place of what is allowed. The place depends on the seed and the image alone.</summary>
        public void Scatter(float[] images, float[] original, ReadOnlySpan<int> numbers)
        {
            int length = images.Length / numbers.Length;
            var place = new float[length];
            for (int n = 0; n < numbers.Length; n++)
            {
                new RandomKey(_attack.Seed, RandomPurpose.AdversarialStart, Step: (uint)numbers[n]).FillUniform(place, -1, 1);
                for (int i = 0; i < length; i++)
                {
                    int channel = i % _black.Length, at = n * length + i;
                    images[at] = Allowed(original[at] + place[i] * _epsilon[channel], original[at], channel);
                }
            }
        }

        private float Allowed(float value, float original, int channel) => Math.Clamp(
            value, Math.Max(_black[channel], original - _epsilon[channel]), Math.Min(_white[channel], original + _epsilon[channel]));
    }
}
