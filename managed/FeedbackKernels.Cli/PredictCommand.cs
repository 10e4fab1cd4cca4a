using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Runs;
using FeedbackKernels.Settings;
using FeedbackKernels.Training;

namespace FeedbackKernels.Cli;

/// <summary><c>feedback predict</c>: the most probable classes of images.</summary>
internal static class PredictCommand
{
    private const int Shown = 5, Damaged = 1;

    public static Command Create()
    {
        var folder = new Argument<DirectoryInfo>("run") { Description = "Folder of a run, with config.json and model.safetensors." };
        var paths = new Argument<string[]>("images") { Description = "Image files, and folders with images in them.", Arity = ArgumentArity.OneOrMore };
        Setting<bool> json = Names.Switch("--json", Use.Always, false, "Print a JSON object on a line for each image instead of a table.");
        Setting<int> batch = Names.Number("--batch", Use.Always, 64, Bounds.AtLeast(1), "Images at a time. More need more memory.");
        var choice = new BackendOptions(new RunConfig(), training: false);
        var command = new Command("predict", $"Prints the {Shown} most probable classes of images. Exit code 1 if one of them is damaged.") { folder, paths, json, batch };
        foreach (Option option in choice.All) command.Options.Add(option);
        command.SetAction(parsed =>
        {
            RunConfig chosen = choice.Apply(parsed, new RunConfig());
            using Backend backend = BackendOptions.Open(parsed, chosen);
            using StoredRun run = StoredRun.Open(parsed.GetValue(folder)!.FullName);
            IImageSource images = ListedImages.Open(parsed.GetValue(paths)!, out IReadOnlyList<string> notes);
            using var model = Model.ForEvaluation(backend, run.Describe(), Math.Min(parsed.GetValue(batch), images.Count));
            run.Model.LoadInto(model);
            using var interrupt = new Interrupt();
            IEnumerable<Prediction> predictions = new Predictor(model, Shown).Run(images, run.Preprocessing, cancel: interrupt.Token);
            if (parsed.GetValue(json)) return PrintLines(predictions, images, run.Preprocessing.ClassNames);
            Tables.PrintBackend(chosen.Backend, backend);
            Tables.PrintNotes(notes);
            return PrintTable(predictions, images, run.Preprocessing.ClassNames);
        });
        return command;
    }

    /// <summary>Prints each image when it has been classified.</summary>
    private static int PrintLines(IEnumerable<Prediction> predictions, IImageSource images, IReadOnlyList<string> classes)
    {
        int code = 0;
        foreach (Prediction prediction in predictions)
        {
            Console.WriteLine(Json(prediction, images.NameOf(prediction.Image), classes));
            code = Math.Max(code, Complain(prediction));
        }

        return code;
    }

    private static int PrintTable(IEnumerable<Prediction> predictions, IImageSource images, IReadOnlyList<string> classes)
    {
        int code = 0, count = Math.Min(Shown, classes.Count);
        var table = new TextTable([new TextColumn("image", Left: true), .. Enumerable.Range(1, count).Select(rank => new TextColumn(rank.ToString(CultureInfo.InvariantCulture), Left: true))]);
        foreach (Prediction prediction in predictions)
        {
            IEnumerable<string> cells = Enumerable.Range(0, count).Select(rank => prediction.Best.Count > rank ? Cell(prediction.Best[rank], classes) : "-");
            table.Add([images.NameOf(prediction.Image), .. cells]);
            code = Math.Max(code, Complain(prediction));
        }

        table.Write(Terminal.Open());
        return code;
    }

    private static string Cell(ClassProbability best, IReadOnlyList<string> classes) =>
        string.Create(CultureInfo.InvariantCulture, $"{classes[best.Class]} {100 * best.Probability:F1} %");

    private static string Json(Prediction prediction, string name, IReadOnlyList<string> classes)
    {
        using var bytes = new MemoryStream();
        using (var json = new Utf8JsonWriter(bytes))
        {
            json.WriteStartObject();
            json.WriteString("image", name);
            json.WriteStartArray("best");
            foreach (ClassProbability best in prediction.Best)
            {
                json.WriteStartObject();
                json.WriteString("class", classes[best.Class]);
                json.WriteNumber("number", best.Class);
                // JSON has no NaN, which the probabilities of a model that diverged are.
                if (double.IsFinite(best.Probability)) json.WriteNumber("probability", best.Probability);
                else json.WriteNull("probability");
                json.WriteEndObject();
            }

            json.WriteEndArray();
            if (prediction.Damage is { } damage) json.WriteString("damage", damage);
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(bytes.ToArray());
    }

    private static int Complain(Prediction prediction)
    {
        if (prediction.Damage is null) return 0;
        Console.Error.WriteLine($"feedback: {prediction.Damage}");
        return Damaged;
    }
}
