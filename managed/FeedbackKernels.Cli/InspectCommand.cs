using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Data;

namespace FeedbackKernels.Cli;

/// <summary><c>feedback inspect</c>: what a packed file holds.</summary>
internal static class InspectCommand
{
    private const int ClassesShown = 10;

    public static Command Create()
    {
        var path = new Argument<string>("file") { Description = "A packed file." };
        var sheet = new Setting<string?>("--sheet", Use.Always) { Description = "Write a PNG file that shows some of the images, each with the name of its class.", HelpName = "file" };
        var command = new Command("inspect", "Prints what a packed file holds.") { path, sheet };
        command.SetAction(parsed =>
        {
            using PackedFile file = PackedFile.Open(parsed.GetValue(path)!);
            Print(file);
            if (parsed.GetValue(sheet) is { } target) WriteSheet(file, target);
        });
        return command;
    }

    /// <summary>A line with the mean and standard deviation of each channel.</summary>
    public static string Describe(PixelStatistics statistics)
    {
        return $"pixels of the training images, 0 to 1: mean {Numbers(statistics.Means)}, standard deviation {Numbers(statistics.Deviations)}";

        static string Numbers(IReadOnlyList<double> numbers) => string.Join(' ', numbers.Select(n => n.ToString("F4", CultureInfo.InvariantCulture)));
    }

    private static void Print(PackedFile file)
    {
        Console.WriteLine($"{file.Path}: packed file, format version {PackedFile.Version}, {Tables.Bytes(file.Length)}");
        string rest = file.ClassNames.Count > ClassesShown ? ", ..." : "";
        Console.WriteLine($"{file.Train.Count} training and {file.Test.Count} test images of {file.ClassNames.Count} classes: {string.Join(", ", file.ClassNames.Take(ClassesShown))}{rest}");
        Console.WriteLine($"{file.Preparation}; order of seed {file.Seed}");
        Console.WriteLine(Describe(file.Statistics));
        var table = new TextTable(
        [
            new TextColumn("half", Left: true), new TextColumn("images"), .. Enum.GetValues<ImageFormat>().Select(format => new TextColumn(NameOf(format))),
            new TextColumn("rows"), new TextColumn("columns"), new TextColumn("bytes an image", "bytes an\nimage"), new TextColumn("images a class", "images\na class"),
        ]);
        Add(table, "training", file.Train);
        Add(table, "test", file.Test);
        table.Write(Terminal.Open());
        Console.WriteLine("rows, columns, bytes, images a class: smallest, median, largest");
    }

    private static void Add(TextTable table, string name, PackedImages half)
    {
        PackedSummary summary = PackedSummary.Of(half);
        table.Add(
            [name, Number(half.Count), .. summary.Formats.Select(Number), Range(summary.Rows), Range(summary.Columns), Range(summary.Bytes), Range(summary.ImagesOfClass)]);
    }

    private static void WriteSheet(PackedFile file, string target)
    {
        IReadOnlyList<string> unlabelled = ContactSheet.Write(file, target);
        Console.WriteLine($"contact sheet: {target}");
        if (unlabelled.Count == 0) return;
        Console.WriteLine("this machine has no fonts, so the sheet has no labels; the classes of its images, row by row:");
        foreach (string row in unlabelled) Console.WriteLine($"  {row}");
    }

    private static string NameOf(ImageFormat format) => format switch
    {
        ImageFormat.Jpeg => "JPEG",
        ImageFormat.Png => "PNG",
        ImageFormat.WebP => "WebP",
        _ => "raw",
    };

    private static string Range(SmallestMedianLargest range) => $"{range.Smallest} {range.Median} {range.Largest}";

    private static string Number(int number) => number.ToString(CultureInfo.InvariantCulture);
}
