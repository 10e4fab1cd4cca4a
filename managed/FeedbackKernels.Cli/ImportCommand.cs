using System.CommandLine;
using FeedbackKernels.Data;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Runs;
using FeedbackKernels.Settings;

namespace FeedbackKernels.Cli;

/// <summary><c>feedback import</c>: weights from other programs as the folder of a run.</summary>
internal sealed class ImportCommand
{
    private const string OfTheFile = "as the file says";

    private readonly Argument<FileInfo> _file = new("file") { Description = "A safetensors file: a state dictionary of PyTorch, a file of `feedback export`, or the model.safetensors of a run." };
    private readonly Setting<string?> _model = new("--model", Use.Always) { Description = $"Model. {ModelCatalog.Help}. [default: {OfTheFile}]", HelpName = "name" };
    private readonly Setting<NormOrder?> _order = Names.OptionalChoice<NormOrder>(
        "--norm-order", Use.BatchNorms, "Order of batch norm and ReLU behind a convolution.", whenOmitted: $"{OfTheFile}, or conv-bn-relu");
    private readonly Setting<int?> _size = Names.OptionalNumber<int>(
        "--size", Use.Always, new Bounds(ImageOptions.LeastSize, ImageOptions.MostSize), $"Rows and columns of the images that the model takes. [default: {OfTheFile}, or those that are usual for the model]");
    private readonly Setting<int?> _resize = Names.OptionalNumber<int>(
        "--resize", Use.Always, new Bounds(ImageOptions.LeastSize, ImageOptions.MostSize), $"Length to which the shorter side of an image is resized before its centre is taken. [default: {OfTheFile}, or 8/7 of --size for photos]");
    private readonly Setting<double[]?> _mean = Numbers("--mean", new Bounds(double.MinValue, double.MaxValue), "Mean of each channel of the pixels, from 0 to 1, that is subtracted");
    private readonly Setting<double[]?> _deviation = Numbers("--std", Bounds.Positive, "Standard deviation of each channel of the pixels, which they are divided by");
    private readonly Setting<FileInfo?> _classes = new("--class-names", Use.Always)
    {
        Description = $"Text file with the name of a class on each line, in the order of the model's outputs. [default: {OfTheFile}, those of --data, or numbers]",
        HelpName = "file",
    };

    private readonly Setting<string?> _data = new("--data", Use.Always)
    {
        Description = $"The data that the model is for: `feedback evaluate` uses their test images. {SourceCatalog.Help}. [default: none]",
        HelpName = "source",
    };

    private readonly OutputFolder _output = new();

    public static Command Create()
    {
        var options = new ImportCommand();
        var command = new Command("import", "Makes the folder of a run from weights, for evaluate, predict and export. Every name and shape is checked before anything is written.")
        {
            options._file, options._model, options._order, options._size, options._resize, options._mean, options._deviation, options._classes, options._data,
        };
        foreach (Option option in options._output.All) command.Options.Add(option);
        command.SetAction(options.Run);
        return command;
    }

    private void Run(ParseResult parsed)
    {
        // Before the file is read, its model may be any that has what the options are for.
        UnusedOptions.Refuse(parsed, new RunConfig { Model = parsed.GetValue(_model) is { } name && ModelCatalog.Find(name) is not null ? name : new RunConfig().Model });
        RunPlace place = _output.Choose(parsed, "import");
        using RunImport import = RunImport.Open(parsed.GetValue(_file)!.FullName, Read(parsed));
        UnusedOptions.Refuse(parsed, import.Config);
        string folder = import.Write(place);
        string feedback = import.FeedbackLayers > 0 ? $", feedback weights of {import.FeedbackLayers} layers" : "";
        Console.WriteLine($"{import.Config.Model} for images of {import.Spec.Input} in {import.Spec.Classes} classes{feedback}");
        Console.WriteLine($"written to {folder}");
    }

    private ImportOptions Read(ParseResult parsed) => new()
    {
        Model = parsed.GetValue(_model),
        NormOrder = parsed.GetValue(_order),
        Size = parsed.GetValue(_size),
        Resize = parsed.GetValue(_resize),
        // Without the option, the parser's value is an empty array.
        Means = Settings.Given(parsed, _mean, null),
        Deviations = Settings.Given(parsed, _deviation, null),
        ClassNames = parsed.GetValue(_classes) is { } file ? ReadNames(file.FullName) : null,
        Data = parsed.GetValue(_data),
    };

    private static string[] ReadNames(string path)
    {
        string[] lines = [.. File.ReadAllLines(path).Select(line => line.Trim())];
        // Empty lines at the end are not names.
        string[] names = [.. lines.Take(Array.FindLastIndex(lines, line => line.Length > 0) + 1)];
        int empty = Array.FindIndex(names, name => name.Length == 0);
        if (empty >= 0) throw new InvalidDataException($"{path}, line {empty + 1}: expected the name of class {empty}, found an empty line");
        return names.Length > 0 ? names : throw new InvalidDataException($"{path}: no names, expected one on each line");
    }

    private static Setting<double[]?> Numbers(string name, Bounds bounds, string description) => new(name, Use.Always)
    {
        Description = $"{description}. [default: {OfTheFile}, or those of ImageNet for models of its images]",
        HelpName = "numbers",
        AllowMultipleArgumentsPerToken = true,
        Arity = ArgumentArity.OneOrMore,
        CustomParser = result => [.. result.Tokens.Select((_, i) => Names.ParseNumber<double>(result, bounds, i))],
    };
}
