using System.Text.Json.Nodes;
using FeedbackKernels.Storage;

namespace FeedbackKernels.Runs;

/// <summary>Formats that the model of a run can be exported to.</summary>
public enum WeightFormat
{
    /// <summary>A state dictionary of PyTorch, see <see cref="TorchFile"/>.</summary>
    SafetensorsTorch,

    /// <summary>The layouts of this library, see <see cref="StoredModel"/>.</summary>
    Safetensors,

    /// <summary>ONNX, see <see cref="OnnxFile"/>.</summary>
    Onnx,
}

/// <summary>Writes the model of a run for other programs. Equal models give equal files.</summary>
public static class RunExport
{
    /// <summary>Writes a file.</summary>
    /// <param name="run">The run.</param>
    /// <param name="path">The file; one that exists is replaced.</param>
    /// <param name="format">Its format.</param>
    /// <param name="feedback">Whether B goes with it; ONNX has no place for it.</param>
    /// <param name="foldNorms">ONNX: whether batch norms become a part of the convolution before them.</param>
    /// <exception cref="InvalidDataException">The model's file lacks a tensor, has another one, or one of another shape or type.</exception>
    /// <exception cref="NotSupportedException">The format cannot hold the model; the message says why.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Write(StoredRun run, string path, WeightFormat format, bool feedback = true, bool foldNorms = false)
    {
        ArgumentNullException.ThrowIfNull(run);
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (Path.GetFullPath(path) == Path.GetFullPath(run.Model.Path)) throw new IOException($"'{path}' is the file that is exported; give another name");
        ModelContent content = run.Model.Read(run.Describe()) with { Settings = Settings(run.Config) };
        if (!feedback) content = content.WithoutFeedback();
        switch (format)
        {
            case WeightFormat.SafetensorsTorch: TorchFile.Write(path, content); break;
            case WeightFormat.Safetensors: StoredModel.Write(path, content); break;
            case WeightFormat.Onnx: OnnxFile.Write(path, content, foldNorms); break;
            default: throw new ArgumentOutOfRangeException(nameof(format), format, "not a format of weights");
        }
    }

    /// <summary>The configuration on one line, without the place of the data, which is that of this machine.</summary>
    private static string Settings(RunConfig config) => JsonNode.Parse((config with { Data = RunConfig.NoData }).ToJson())!.ToJsonString();
}
