using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Runs;
using FeedbackKernels.Storage;

namespace FeedbackKernels.Tests.Runs;

/// <summary>The folder of a run whose model has random weights, norms and statistics, all different from those of a new model.</summary>
internal static class UntrainedRun
{
    /// <summary>Writes a folder.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="config">The configuration.</param>
    /// <param name="input">Size of the images.</param>
    /// <param name="classes">Number of classes.</param>
    /// <param name="resize">Length of the shorter side; 0 for images of one size.</param>
    public static string Write(string folder, RunConfig config, MapShape input, int classes, int resize = 0)
    {
        Directory.CreateDirectory(folder);
        using Backend backend = new CpuBackend();
        using var model = new Model(backend, config.Describe(input, classes), config.Rules, batch: 2, seed: 3);
        Randomise(model);
        config.Write(Path.Combine(folder, RunFiles.Config));
        var preprocessing = new Preprocessing(
            input, [.. Enumerable.Range(0, input.C).Select(c => 0.4 + 0.05 * c)], [.. Enumerable.Range(0, input.C).Select(c => 0.25 - 0.01 * c)],
            [.. Enumerable.Range(0, classes).Select(k => $"class {k}")], resize);
        StoredModel.Save(model, Path.Combine(folder, RunFiles.Model), preprocessing, config.Hash());
        return folder;
    }

    /// <summary>Gives biases, norms and statistics values of their own; weights have them.</summary>
    public static void Randomise(Model model)
    {
        uint stream = 0;
        foreach ((string name, IReadOnlyList<int> sizes, DeviceBuffer buffer) in model.Tensors().Where(t => t.Sizes.Count == 1))
        {
            var values = new float[sizes[0]];
            new RandomKey(5, RandomPurpose.User, stream++).FillGaussian(values, 0.25f);
            bool positive = name.EndsWith("running_var", StringComparison.Ordinal) || (name.Contains("bn", StringComparison.Ordinal) && name.EndsWith(".weight", StringComparison.Ordinal));
            if (positive) values = [.. values.Select(value => 0.5f + Math.Abs(value))];
            model.Backend.Upload<float>(values, buffer);
        }
    }
}
