using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Training;

/// <summary>
/// Measures how well feedback agrees with backprop: for each layer the angle between W and Bᵀ, their norm ratio, and the angle
/// between the layer's error signal and backprop's (the matrix and delta angles of Akrout et al. 2019). Backprop's comes from a twin of the
/// model with the same weights and the same images. The running statistics of both stay as they are.
/// </summary>
public sealed class AlignmentProbe : IDisposable
{
    // The errors of all layers are held for the comparison: at most 128 MiB of floats.
    private const long MostErrorFloats = 32 * 1024 * 1024;
    private const int MostImages = 32;

    private readonly Model _model, _twin;
    private readonly ImageFeed _feed;
    private readonly Batch _images;
    private readonly float[] _losses;
    private readonly float _smoothing;

    /// <summary>Builds the twin.</summary>
    /// <param name="model">The model to measure, at the size of images that it was made for.</param>
    /// <param name="images">Images to measure with; some of them are used.</param>
    /// <param name="preprocessing">That of the test images, which are brought to the size of the model.</param>
    /// <param name="smoothing">As in training.</param>
    public AlignmentProbe(Model model, IImageSource images, Preprocessing preprocessing, float smoothing)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(images);
        ArgumentNullException.ThrowIfNull(preprocessing);
        _model = model;
        _smoothing = smoothing;
        long errorFloats = model.Layers.Sum(l => l.Shape().OutputLength);
        int most = Math.Min(Math.Min(MostImages, model.MaxBatch), images.Count);
        int count = (int)Math.Clamp(MostErrorFloats / errorFloats, Math.Min(2, most), most);
        _losses = new float[count];
        // At the size of the first epoch: rules that need one size have it, and the angles of all epochs are of the same images.
        int size = model.Spec.Input.H;
        _feed = ImageFeed.Evaluate(
            model.Backend, images.Take(count), preprocessing.CreateNormalisation(), count,
            new FeedOptions { Threads = 1, Images = new ImageOptions { TestSize = size, TestResize = ImageOptions.UsualResize(size) } });
        try
        {
            _images = _feed.Next()!;
            _twin = new Model(model.Backend, model.Spec, RuleSet.Of(new Backprop()), count, seed: 0);
        }
        catch
        {
            _feed.Dispose();
            throw;
        }
    }

    /// <summary>Measures all layers. The model's gradients are overwritten, and it is planned for the size of the probe's images.</summary>
    /// <param name="epoch">Epochs done, with a fraction within an epoch.</param>
    /// <param name="step">Steps done.</param>
    /// <param name="observer">Is told the error of each layer; optional.</param>
    public IReadOnlyList<LayerAlignment> Measure(double epoch, int step, ITrainingObserver? observer = null)
    {
        _model.Resize(_twin.Spec.Input);
        _twin.CopyFrom(_model);
        var expected = new Recorder();
        Observe(_twin, expected);
        var comparison = new Comparison(expected.Errors, observer);
        Observe(_model, comparison);
        return
        [
            .. _model.Layers.Select(layer =>
            {
                WeightAlignment? weights = layer.Feedback?.Align();
                return new LayerAlignment(
                    epoch, step, layer.Name, layer.Feedback?.RuleName ?? "", weights?.AngleDegrees ?? double.NaN,
                    weights?.NormRatio ?? double.NaN, comparison.Angles[layer.Name]);
            }),
        ];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _twin.Dispose();
        _feed.Dispose();
    }

    private void Observe(Model model, IErrorObserver observer)
    {
        _feed.Load(_images, model);
        model.Forward(Pass.Measure(_images.Count));
        model.Loss(_images.Count, _smoothing, gradient: true, _losses);
        model.Backward(_images.Count, observer);
    }

    private sealed class Recorder : IErrorObserver
    {
        public Dictionary<string, float[]> Errors { get; } = [];

        public void Observe(ConvLayer layer, BufferView error, long length)
        {
            var values = new float[length];
            layer.Backend.DownloadFloats(error, values);
            Errors[layer.Name] = values;
        }
    }

    private sealed class Comparison(Dictionary<string, float[]> expected, ITrainingObserver? observer) : IErrorObserver
    {
        public Dictionary<string, double> Angles { get; } = [];

        public void Observe(ConvLayer layer, BufferView error, long length)
        {
            using DeviceBuffer other = layer.Backend.Allocate(length, $"{layer.Name} error under backprop", error.Type);
            layer.Backend.UploadFloats(expected[layer.Name], other);
            Angles[layer.Name] = layer.Backend.Compare(length, other, error).AngleDegrees;
            observer?.OnLayerError(layer, error, length);
        }
    }
}
