using System.Text.RegularExpressions;
using FeedbackKernels.Cli;
using FeedbackKernels.Reports;
using FeedbackKernels.Training;
using Spectre.Console;

namespace FeedbackKernels.Tests.Cli;

/// <summary>On terminals of every width, numbers are not cut and a run ends.</summary>
public sealed partial class TerminalWidthTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    public static TheoryData<int> Widths() => [.. Enumerable.Range(1, 200)];

    [Theory, MemberData(nameof(Widths))]
    public void A_table_has_every_number_whole_and_fits(int width)
    {
        string text = On(width, interactive: true, terminal => Tables.Print(terminal, [Run("direct-feedback-alignment", 1), Run("backprop", 0.0987)]));
        string[] wanted = ["direct-feedback-alignment", "100.00 %", "9.87 %", "12.346", "87.7", "45.7", "1234567", "86400"];
        Assert.All(wanted, number => Assert.Contains(number, text));
        AssertFits(text, width);
    }

    [Theory]
    [InlineData("resnet18")]
    [InlineData("resnet50")]
    [InlineData("resnet20")]
    public void A_table_of_layers_has_a_line_each_in_80_columns(string model)
    {
        var table = new TextTable(
            new TextColumn("layer", Left: true), new TextColumn("input"), new TextColumn("output"), new TextColumn("filter", "filt"),
            new TextColumn("parameters", "params"), new TextColumn("MFLOP"), new TextColumn("forward", "fwd", Left: true),
            new TextColumn("feedback", "back", Left: true), new TextColumn("weight gradient", "dW", Left: true));
        table.Add("layer4.0.downsample.0", "224x224x3", "112x112x64", "7x7/2", "2,359,296", "236.03", "(12)", "(12)", "(12)");
        table.Add(model, "1x1", "1x1", "1x1/1", "1", "0.00", "(1)", "-", "(3)");
        string[] lines = On(80, interactive: false, table.Write).TrimEnd('\n').Split('\n');
        Assert.Equal(3, lines.Length);
        AssertFits(string.Join('\n', lines), 80);
    }

    [Theory, MemberData(nameof(Widths))]
    public async Task A_run_ends_and_each_epoch_has_its_numbers_whole(int width)
    {
        Task<string> run = Task.Run(() => On(width, interactive: true, terminal => ConsoleProgress.Show(terminal, 100, Train)), TestContext.Current.CancellationToken);
        string text = Escapes().Replace(await run.WaitAsync(Limit, TestContext.Current.CancellationToken), "").ReplaceLineEndings("\n");
        foreach (int epoch in (int[])[1, 2])
        {
            string line = text.Split('\n').Last(l => l.Contains($"epoch {epoch}/100", StringComparison.Ordinal) && l.Contains("test", StringComparison.Ordinal));
            Assert.Contains("loss 12.346", line);
            Assert.Contains("train 100.00 %", line);
            Assert.Contains("test 98.77 %", line);
        }
    }

    [Theory]
    [InlineData(79, false)]
    [InlineData(80, true)]
    [InlineData(99, true)]
    [InlineData(100, true)]
    public void Bars_need_80_columns(int width, bool bars)
    {
        string text = On(width, interactive: true, terminal => ConsoleProgress.Show(terminal, 100, Train));
        Assert.Equal(bars, text.Contains('\u001b', StringComparison.Ordinal));
    }

    private static int Train(ITrainingObserver observer)
    {
        for (int epoch = 1; epoch <= 2; epoch++)
        {
            for (int step = 1; step <= 3; step++) observer.OnStep(new StepReport(epoch, step, 3, 12.3456, 1, 1234567, 12.3456));
            observer.OnEpoch(new EpochReport(epoch, 3 * epoch, 0.1f, 12.3456, 1, 1.2, 0.98765, 1, 1234567, 1));
        }

        return 0;
    }

    private static RunSummary Run(string rule, double top1) => new(
        "resnet20", rule, "synthetic", 100, 1, "cpu", top1, 1, 1, 12.3456, 12.3456, 87.654, 45.678, 1_000_000, 1_234_567, 86_400, false);

    private static void AssertFits(string text, int width)
    {
        string[] lines = text.TrimEnd('\n').Split('\n');
        // With one line per cell, a line is as long as its cell.
        if (lines.Any(l => l.StartsWith("rule: ", StringComparison.Ordinal))) Assert.All(lines, line => Assert.Single(Cell().Matches(line)));
        else Assert.All(lines, line => Assert.True(line.TrimEnd('\r').Length <= width, $"{line.Length} columns of {width}: {line}"));
    }

    private static string On(int width, bool interactive, Action<IAnsiConsole> write)
    {
        // Not disposed: the thread that draws the bars may write once more.
        var text = new StringWriter { NewLine = "\n" };
        IAnsiConsole terminal = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = interactive ? AnsiSupport.Yes : AnsiSupport.No,
            Interactive = interactive ? InteractionSupport.Yes : InteractionSupport.No,
            Out = new AnsiConsoleOutput(text),
        });
        terminal.Profile.Width = width;
        write(terminal);
        return text.ToString();
    }

    [GeneratedRegex("\u001b\\[[0-9;?]*[A-Za-z]")]
    private static partial Regex Escapes();

    [GeneratedRegex("^ *[^:]+: ")]
    private static partial Regex Cell();
}
