using System.CommandLine;
using FeedbackKernels.Data;
using FeedbackKernels.Runs;

namespace FeedbackKernels.Cli;

/// <summary><c>feedback export</c>: the model of a run for other programs.</summary>
internal static class ExportCommand
{
    private const string OnnxExtension = ".onnx";

    public static Command Create()
    {
        var folder = new Argument<DirectoryInfo>("run") { Description = "Folder of a run, with config.json and model.safetensors." };
        var destination = new Argument<string>("file") { Description = "The file to write." };
        Setting<WeightFormat?> format = Names.OptionalChoice<WeightFormat>(
            "--format", Use.Always,
            "safetensors-torch: a state dictionary for PyTorch, with torchvision's names and OIHW weights; safetensors: the layouts of this program; onnx: for ONNX Runtime and others, with input images [N][C][H][W].",
            whenOmitted: $"onnx for a file that ends in {OnnxExtension}, otherwise safetensors-torch");
        WeightFormat FormatOf(ParseResult parsed) => parsed.GetValue(format)
            ?? (parsed.GetValue(destination)!.EndsWith(OnnxExtension, StringComparison.OrdinalIgnoreCase) ? WeightFormat.Onnx : WeightFormat.SafetensorsTorch);
        Setting<bool> noFeedback = Names.Switch(
            "--no-feedback", new Use("--format safetensors-torch or safetensors", (parsed, _) => FormatOf(parsed) != WeightFormat.Onnx), false,
            "Leave the feedback weights out. PyTorch's load_state_dict refuses names that the module does not have.");
        Setting<bool> foldNorms = Names.Switch(
            "--fold-norms", new Use("--format onnx", (parsed, _) => FormatOf(parsed) == WeightFormat.Onnx), false,
            "Multiply batch norms into the convolutions before them. The file has fewer operations, and its results differ by rounding.");
        Setting<bool> overwrite = Names.Switch("--overwrite", Use.Always, false, "Replace a file of this name.");
        var command = new Command("export", "Writes the model of a run to a file for other programs.") { folder, destination, format, noFeedback, foldNorms, overwrite };
        command.SetAction(parsed =>
        {
            UnusedOptions.Refuse(parsed, new RunConfig());
            string path = parsed.GetValue(destination)!;
            Packer.RequirePlace(path, parsed.GetValue(overwrite));
            using StoredRun run = StoredRun.Open(parsed.GetValue(folder)!.FullName);
            RunExport.Write(run, path, FormatOf(parsed), !parsed.GetValue(noFeedback), parsed.GetValue(foldNorms));
            Console.WriteLine($"{path}: {run.Config.Model} for images of {run.Preprocessing.Input} in {run.Preprocessing.ClassNames.Count} classes, {Tables.Bytes(new FileInfo(path).Length)}");
        });
        return command;
    }
}
