using System.Buffers.Binary;
using System.Globalization;
using System.Text.Json;
using FeedbackKernels.Tests.Runs;

namespace FeedbackKernels.Tests.Cli;

/// <summary>The results of a run of the program.</summary>
/// <param name="Command">Its command.</param>
/// <param name="Folder">The folder that it wrote; for <c>compare</c>, that of one rule. Does not exist for commands that write
/// nothing.</param>
/// <param name="Output">Its output.</param>
internal sealed record Trial(string Command, string Folder, string Output)
{
    /// <summary>Name of the file that <c>pack</c> writes to the folder.</summary>
    public const string PackedFile = "out.packed";

    /// <summary>The file that <c>pack</c> wrote.</summary>
    public byte[] Packed => File.ReadAllBytes(Path.Combine(Folder, PackedFile));

    /// <summary>The numbers of the trained model, without the header of the file: it contains a hash of the configuration, which
    /// differs even if an option has no effect.</summary>
    public byte[] Model => ModelFile[HeaderLength..];

    /// <summary>The tensors of the model by name; includes feedback weights if the rule has them.</summary>
    public Dictionary<string, byte[]> Tensors
    {
        get
        {
            byte[] file = ModelFile;
            int header = HeaderLength;
            return JsonDocument.Parse(file.AsMemory(8, header - 8)).RootElement.EnumerateObject().Where(t => t.Name != "__metadata__").ToDictionary(
                t => t.Name,
                t => file[(header + t.Value.GetProperty("data_offsets")[0].GetInt32())..(header + t.Value.GetProperty("data_offsets")[1].GetInt32())]);
        }
    }

    /// <summary>The lines of metrics.csv below its header.</summary>
    public string[][] Metrics => [.. File.ReadAllLines(Path.Combine(Folder, "metrics.csv")).Skip(1).Select(l => l.Split(','))];

    /// <summary>The lines of alignment.csv below its header.</summary>
    public string[][] Alignment => [.. File.ReadAllLines(Path.Combine(Folder, "alignment.csv")).Skip(1).Select(l => l.Split(','))];

    /// <summary>The files for TensorBoard.</summary>
    public string[] Events => RecordedEvents.FilesIn(Folder);

    private byte[] ModelFile => File.ReadAllBytes(Path.Combine(Folder, "model.safetensors"));

    private int HeaderLength => 8 + (int)BinaryPrimitives.ReadInt64LittleEndian(ModelFile);

    /// <summary>The last learning rate.</summary>
    public double LearningRate => double.Parse(Metrics[^1][2], CultureInfo.InvariantCulture);

    /// <summary>Training steps of the whole run.</summary>
    public int Steps => int.Parse(Metrics[^1][1], CultureInfo.InvariantCulture);

    /// <summary>A value of summary.json, as text.</summary>
    public string Summary(string name) => FeedbackProgram.Json(Folder, "summary.json").GetProperty(name).ToString();

    /// <summary>A value of config.json by its path, as text; arrays by number.</summary>
    public string Config(string path)
    {
        JsonElement element = FeedbackProgram.Json(Folder, "config.json");
        foreach (string name in path.Split('.'))
            element = element.ValueKind == JsonValueKind.Array ? element[int.Parse(name, CultureInfo.InvariantCulture)] : element.GetProperty(name);
        return element.ToString();
    }
}
