using System.Globalization;
using System.Reflection;
using System.Text.Json;
using System.Text.RegularExpressions;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Reports;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Runs;

/// <summary>Reported numbers are in the right places. All values differ, so that a swapped number is noticed.</summary>
public sealed partial class ReportedNumberTests : IDisposable
{
    private static readonly RunConfig Config = new()
    {
        Model = "mlp",
        Hidden = 12,
        Rule = new FeedbackAlignment(),
        Data = "synthetic",
        Training = new TrainingOptions
        {
            Epochs = 3,
            Batch = 20,
            Seed = 6,
            Schedule = new LearningRateSchedule(ScheduleKind.Cosine, 0.05f),
            Normalisation = NormalisationKind.Unit,
        },
    };

    // The best top-1 is neither the first nor the last; angles of layers and epochs differ, and the first layer has none.
    private static readonly TrainingResult Result = new(
        [
            new EpochReport(1, 10, 0.11, 2.25, 0.125, 2.5, 0.21, 0.515, 1001, 11),
            new EpochReport(2, 20, 0.12, 1.75, 0.375, 1.9, 0.43, 0.725, 1003, 22),
            new EpochReport(3, 30, 0.13, 1.25, 0.625, 1.4, 0.32, 0.615, 1002, 33),
        ],
        [
            new LayerAlignment(0, 0, "fc1", "", double.NaN, double.NaN, 81), new LayerAlignment(0, 0, "fc2", "feedback-alignment", 90, 1.25, 79),
            new LayerAlignment(3, 30, "fc1", "", double.NaN, double.NaN, 41), new LayerAlignment(3, 30, "fc2", "feedback-alignment", 60, 1.5, 37),
        ],
        1002.5, 33.5, false);

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-numbers").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Each_column_of_the_tables_is_the_property_of_its_name()
    {
        DataSet data = DataSet.Open("synthetic", 6, 100, 60);
        using var backend = new CpuBackend(2);
        var observer = new Keeper();
        FinishedRun run = Experiment.Train(Config, data, backend, new RunPlace(Path.Combine(_folder, "run"), false), observer, cancel: TestContext.Current.CancellationToken);
        CheckTable("metrics.csv", observer.Epochs, run.Result.Epochs);
        CheckTable("alignment.csv", observer.Alignment, run.Result.Alignment);

        void CheckTable<T>(string file, IReadOnlyList<T> observed, IReadOnlyList<T> kept)
        {
            Assert.Equal(kept, observed);
            string[][] lines = [.. File.ReadAllLines(Path.Combine(run.Folder, file)).Select(l => l.Split(','))];
            Assert.Equal(observed.Count, lines.Length - 1);
            PropertyInfo[] properties = typeof(T).GetProperties();
            Assert.Equal(properties.Select(p => JsonNamingPolicy.CamelCase.ConvertName(p.Name)), lines[0]);
            for (int column = 0; column < properties.Length; column++)
            {
                for (int row = 0; row < observed.Count; row++) CheckCell(properties[column].GetValue(observed[row])!, lines[row + 1][column], lines[0][column]);
                // If two columns were equal, a test could not notice that they are swapped.
                for (int other = 0; other < column; other++)
                {
                    // Nothing waits for images in memory; the test below tells these columns apart.
                    if (lines[0][other].StartsWith("waiting", StringComparison.Ordinal)) continue;
                    Assert.False(lines.Skip(1).All(l => l[column] == l[other]), $"{file}: {lines[0][column]} and {lines[0][other]} are equal in every row");
                }
            }
        }

        static void CheckCell(object expected, string cell, string column)
        {
            if (expected is not double number) Assert.Equal(Convert.ToString(expected, CultureInfo.InvariantCulture), cell);
            else if (!double.IsFinite(number)) Assert.Equal("", cell);
            else Assert.Equal(number, double.Parse(cell, CultureInfo.InvariantCulture), column switch { "imagesPerSecond" => 0.051, "seconds" => 0.0051, _ when column.StartsWith("waiting", StringComparison.Ordinal) => 1e-3, _ => 1e-5 * Math.Max(1e-3, Math.Abs(number)) });
        }
    }

    [Fact]
    public void Each_stage_that_is_waited_for_has_its_column()
    {
        string path = Path.Combine(_folder, "waiting.csv");
        using (var table = new MetricsTable(path))
        {
            table.OnStart(Result with { Epochs = [] }, 0);
            table.OnEpoch(new EpochReport(1, 2, 0.1, 1, 0.5, 1, 0.5, 0.9, 100, 2, 0.01, 0.02, 0.03, 0.04));
        }

        string[][] lines = [.. File.ReadAllLines(path).Select(line => line.Split(','))];
        Assert.Equal(
            [("waitingRead", "0.01"), ("waitingDecode", "0.02"), ("waitingResize", "0.03"), ("waitingUpload", "0.04")],
            lines[0].Zip(lines[1]).Where(cell => cell.First.StartsWith("waiting", StringComparison.Ordinal)));
    }

    [Fact]
    public void A_summary_takes_the_last_epoch_the_best_accuracy_and_the_last_angles()
    {
        using var backend = new CpuBackend(1);
        using Model model = NewModel(backend);
        RunSummary summary = Config.Summarise(model, Result);
        Assert.Equal(("mlp", "feedback-alignment", "synthetic"), (summary.Model, summary.Rule, summary.Data));
        Assert.Equal((3, 6ul, false), (summary.Epochs, summary.Seed, summary.Cancelled));
        Assert.Equal(0.32, summary.TestTop1);
        Assert.Equal(0.615, summary.TestTop5);
        Assert.Equal(0.43, summary.BestTestTop1);
        Assert.Equal(1.25, summary.FinalLoss);
        Assert.Equal(1.4, summary.TestLoss);
        Assert.Equal(60, summary.WeightAngle);
        Assert.Equal(39, summary.DeltaAngle);
        Assert.Equal((60, 41), (summary.LargestWeightAngle, summary.LargestDeltaAngle));
        RunSummary higher = Config.Summarise(model, Result with { Alignment = [.. Result.Alignment.Take(2), new LayerAlignment(1.5, 15, "fc1", "", double.NaN, double.NaN, 22), new LayerAlignment(1.5, 15, "fc2", "", 72, 1, 55), .. Result.Alignment.Skip(2)] });
        Assert.Equal((72, 55, 60, 39), (higher.LargestWeightAngle, higher.LargestDeltaAngle, higher.WeightAngle, higher.DeltaAngle));
        Assert.Equal(12 * 3072 + 12 + 10 * 12 + 10, summary.Parameters);
        Assert.Equal((1002.5, 33.5), (summary.ImagesPerSecond, summary.Seconds));
        Assert.Contains("cpu", summary.Backend);
        Assert.True(Config.Summarise(model, Result with { Cancelled = true }).Cancelled);

        RunSummary empty = Config.Summarise(model, Result with { Epochs = [], Alignment = [] });
        Assert.Equal(0, empty.Epochs);
        Assert.All((double?[])[empty.TestTop1, empty.TestTop5, empty.BestTestTop1, empty.FinalLoss, empty.TestLoss, empty.WeightAngle, empty.DeltaAngle, empty.LargestWeightAngle, empty.LargestDeltaAngle], v => Assert.Null(v));
    }

    [Fact]
    public void A_summary_file_has_each_number_under_its_name()
    {
        DataSet data = DataSet.Open("synthetic", 6, 100, 60);
        using var backend = new CpuBackend(2);
        FinishedRun run = Experiment.Train(Config, data, backend, new RunPlace(Path.Combine(_folder, "run"), false), cancel: TestContext.Current.CancellationToken);
        JsonElement file = JsonDocument.Parse(File.ReadAllText(Path.Combine(run.Folder, "summary.json"))).RootElement;
        foreach (PropertyInfo property in typeof(RunSummary).GetProperties().Where(p => p.PropertyType == typeof(double?) || p.PropertyType == typeof(double)))
        {
            object? value = property.GetValue(run.Summary);
            JsonElement written = file.GetProperty(JsonNamingPolicy.CamelCase.ConvertName(property.Name));
            if (value is double number) Assert.Equal(number, written.GetDouble());
            else Assert.Equal(JsonValueKind.Null, written.ValueKind);
        }
    }

    [Fact]
    public void Each_cell_of_a_report_stands_under_its_heading()
    {
        RunSummary summary = new(
            "mlp", "feedback-alignment", "synthetic", 3, 6, "cpu: test", 0.32, 0.615, 0.43, 1.25, 1.4, 60.25, 39.5, 1000, 1002.5, 33.5, false, LargestWeightAngle: 71.5, LargestDeltaAngle: 52.25);
        RunSummary other = summary with { Rule = "backprop", TestTop1 = 0.33, TestTop5 = 0.625, BestTestTop1 = 0.44, FinalLoss = 1.125, TestLoss = 1.5, WeightAngle = null, LargestWeightAngle = null, DeltaAngle = 0.25, LargestDeltaAngle = 7.5, ImagesPerSecond = 905, Seconds = 44 };
        Dictionary<string, string> row = Rows(HtmlReport.OfRun(Reported(summary))).Single();
        Check(summary, row);
        Dictionary<string, string>[] rows = [.. Rows(HtmlReport.OfComparison([Reported(summary), Reported(other)]))];
        Assert.Equal(2, rows.Length);
        Check(summary, rows[0]);
        Check(other, rows[1]);

        static void Check(RunSummary run, Dictionary<string, string> row)
        {
            Assert.Equal(run.Rule, row["rule"]);
            Same(100 * run.TestTop1, row["top-1"]);
            Same(100 * run.TestTop5, row["top-5"]);
            Same(100 * run.BestTestTop1, row["best top-1"]);
            Same(run.FinalLoss, row["train loss"]);
            Same(run.TestLoss, row["test loss"]);
            Same(run.WeightAngle, row["W–B angle"], 0.06);
            Same(run.DeltaAngle, row["error angle"], 0.06);
            Same(run.LargestWeightAngle, row["largest W–B"], 0.06);
            Same(run.LargestDeltaAngle, row["largest error"], 0.06);
            Same(run.ImagesPerSecond, row["images/s"], 0.6);
            Same(run.Seconds, row["seconds"], 0.6);
        }

        static void Same(double? expected, string cell, double tolerance = 0.006)
        {
            if (expected is { } number) Assert.Equal(number, double.Parse(cell.Split(' ', '°')[0], CultureInfo.InvariantCulture), tolerance);
            else Assert.Equal("–", cell);
        }
    }

    [Fact]
    public void The_curves_of_a_report_are_the_results_they_are_named_after()
    {
        string html = HtmlReport.OfRun(Reported(RunSummaryOf(Result)));
        // Curves are drawn in the order of the legend.
        AssertCurves(Chart(html, ">Loss<", "train", "test"), e => e.TrainLoss, e => e.TestLoss);
        AssertCurves(Chart(html, ">Accuracy<", "train top-1", "test top-1", "test top-5"), e => e.TrainTop1, e => e.TestTop1, e => e.TestTop5);

        static void AssertCurves(double[][] curves, params Func<EpochReport, double>[] values)
        {
            Assert.Equal(values.Length, curves.Length);
            // One linear axis for all: y = a + b * value, from two points, holds for every point of every curve.
            (double low, double high) = (values[0](Result.Epochs[0]), values[0](Result.Epochs[2]));
            double slope = (curves[0][2] - curves[0][0]) / (high - low);
            Assert.True(slope < 0);
            for (int curve = 0; curve < curves.Length; curve++)
            {
                for (int epoch = 0; epoch < 3; epoch++)
                    Assert.Equal(curves[0][0] + slope * (values[curve](Result.Epochs[epoch]) - low), curves[curve][epoch], 0.5);
            }
        }

        // The y of the points of each curve with three points.
        static double[][] Chart(string html, string title, params string[] names)
        {
            string figure = html.Split("<figure>").Single(f => f.Contains(title, StringComparison.Ordinal));
            Assert.Equal(names, LegendEntry().Matches(figure).Select(m => m.Groups[1].Value));
            return [.. Curves(Over(figure, "epochs"), points: 3).Select(curve => curve.Select(p => p.Y).ToArray())];
        }
    }

    [Fact]
    public void A_chart_is_drawn_over_epochs_steps_and_time_and_a_switch_without_a_script_shows_one()
    {
        // Epochs of different lengths, so that the three drawings differ.
        TrainingResult uneven = Result with { Epochs = [.. Result.Epochs.Zip([(10, 11.0), (40, 99.0), (50, 3600 * 6.0)], (e, at) => e with { Step = at.Item1, Seconds = at.Item2 })] };
        string html = HtmlReport.OfRun(new ReportedRun(RunSummaryOf(uneven), uneven, 3, "{}"));
        string figure = html.Split("<figure>").Single(f => f.Contains(">Loss<", StringComparison.Ordinal));
        AssertAcross("epochs", "epoch", e => e.Epoch);
        AssertAcross("steps", "step", e => e.Step);
        AssertAcross("time", "time, hours", e => e.Seconds);
        Assert.DoesNotContain("<script", html);
        Assert.Equal(3, html.Split("type=\"radio\" name=\"axis\"").Length - 1);
        Assert.Contains("id=\"over-epochs\" checked>", html);
        // All drawings are hidden but those of the checked button.
        Assert.Contains(".charts > figure > div, .multiples div { display: none; }", html);
        Assert.Contains("#over-time:checked ~ .charts .by-time, #over-time:checked ~ .multiples .by-time { display: block; }", html);
        Assert.Contains("time, minutes", HtmlReport.OfRun(new ReportedRun(RunSummaryOf(Result), WithDuration(1000), 3, "{}")));

        void AssertAcross(string axis, string title, Func<EpochReport, double> value)
        {
            string svg = Over(figure, axis);
            Assert.Contains($">{title}<", svg);
            (double X, double Y)[][] curves = Curves(svg, points: 3);
            Assert.Equal(2, curves.Length);
            double slope = (curves[0][2].X - curves[0][0].X) / (value(uneven.Epochs[2]) - value(uneven.Epochs[0]));
            Assert.True(slope > 0);
            foreach ((double X, double Y)[] curve in curves)
                Assert.Equal(curve[0].X + slope * (value(uneven.Epochs[1]) - value(uneven.Epochs[0])), curve[1].X, 0.5);
        }

        static TrainingResult WithDuration(double seconds) => Result with { Epochs = [.. Result.Epochs.Select(e => e with { Seconds = seconds * e.Epoch / 3 })] };
    }

    [Fact]
    public void Each_layer_has_a_small_chart_of_its_angles_and_all_have_the_same_axes()
    {
        string html = HtmlReport.OfRun(Reported(RunSummaryOf(Result)));
        string multiples = html[html.IndexOf("<div class=\"multiples\">", StringComparison.Ordinal)..];
        string[] figures = multiples.Split("<figure>")[1..];
        Assert.Equal(2, figures.Length);
        (double X, double Y)[] first = Assert.Single(Layer(figures[0], ">fc1<", 1));
        (double X, double Y)[][] second = Layer(figures[1], ">fc2<", 2);
        // The weight angles are 90 and 60, the error angles 79 and 37; those of the first layer 81 and 41.
        double slope = (second[0][1].Y - second[0][0].Y) / (60 - 90);
        Assert.True(slope < 0);
        Assert.Equal(second[0][0].Y + slope * (79 - 90), second[1][0].Y, 0.2);
        Assert.Equal(second[0][0].Y + slope * (37 - 90), second[1][1].Y, 0.2);
        Assert.Equal(second[0][0].Y + slope * (81 - 90), first[0].Y, 0.2);
        Assert.Equal(second[0][0].Y + slope * (41 - 90), first[1].Y, 0.2);
        Assert.Equal((second[0][0].X, second[0][1].X), (first[0].X, first[1].X));
        string without = HtmlReport.OfRun(Reported(RunSummaryOf(Result)) with { Result = Result with { Alignment = [] } });
        Assert.Equal(2, without.Split("<figure>").Length - 1);

        static (double X, double Y)[][] Layer(string figure, string name, int curves)
        {
            Assert.Contains(name, figure);
            (double X, double Y)[][] found = Curves(Over(figure, "steps"), points: 2, width: "1.8");
            Assert.Equal(curves, found.Length);
            return found;
        }
    }

    [Fact]
    public void No_two_elements_of_a_page_have_the_same_name()
    {
        string html = HtmlReport.OfRun(Reported(RunSummaryOf(Result)));
        string[] names = [.. ElementName().Matches(html).Select(m => m.Groups[1].Value)];
        Assert.Equal(names.Distinct(), names);
        string[] used = [.. Reference().Matches(html).Select(m => m.Groups[1].Value).Distinct()];
        Assert.NotEmpty(used);
        Assert.Subset(names.ToHashSet(), used.ToHashSet());
    }

    [Fact]
    public void The_report_is_written_anew_after_each_epoch()
    {
        DataSet data = DataSet.Open("synthetic", 6, 100, 60);
        using var backend = new CpuBackend(2);
        string folder = Path.Combine(_folder, "run"), report = Path.Combine(folder, "report.html");
        var reader = new ReportReader(report);
        Experiment.Train(Config, data, backend, new RunPlace(folder), reader, cancel: TestContext.Current.CancellationToken);
        Assert.Equal(3, reader.Pages.Count);
        Assert.Contains("1 of 3 epochs so far", reader.Pages[0]);
        Assert.Contains("2 of 3 epochs so far", reader.Pages[1]);
        Assert.Contains("<p class=\"sub\">3 epochs, seed 6", reader.Pages[2]);
        Assert.Equal([1, 2, 3], reader.Pages.Select((page, i) => Curves(Over(page.Split("<figure>").Single(f => f.Contains(">Loss<", StringComparison.Ordinal)), "epochs"), points: i + 1, width: "1.8").Length / 2 * (i + 1)));
        // Its last state, with the duration of the whole run.
        Assert.Equal(["report.html"], Directory.GetFiles(folder, "report*").Select(f => Path.GetFileName(f)));
        Assert.Contains("<p class=\"sub\">3 epochs, seed 6", File.ReadAllText(report));
    }

    [Fact]
    public void The_report_of_a_long_run_of_a_deep_model_stays_small()
    {
        // ResNet-50 has 54 layers.
        TrainingResult result = Result with
        {
            Epochs = [.. Enumerable.Range(1, 90).Select(e => Result.Epochs[0] with { Epoch = e, Step = 5004 * e, TrainLoss = 5.0 / e, Seconds = 3217.5 * e })],
            Alignment = [.. Enumerable.Range(0, 91).SelectMany(e => Enumerable.Range(0, 54).Select(layer => new LayerAlignment(e, 5004 * e, $"layer{layer}", "wm", 90.0 / (e + 1), 1 + layer, 80.0 / (e + layer + 1))))],
        };
        string html = HtmlReport.OfRun(new ReportedRun(RunSummaryOf(result), result, 90, "{}"));
        Assert.InRange(html.Length, 500_000, 3_000_000);
    }

    [Theory]
    [InlineData(true, null, "stopped before its end, after 3 of 7 epochs, seed 6")]
    [InlineData(false, "step 4 (epoch 4): fc2", "diverged after 3 of 7 epochs, seed 6")]
    [InlineData(false, null, "3 of 7 epochs so far, seed 6")]
    public void A_report_says_how_far_the_run_came(bool cancelled, string? diverged, string wanted)
    {
        RunSummary summary = RunSummaryOf(Result) with { Cancelled = cancelled, Diverged = diverged };
        Assert.Contains(wanted, HtmlReport.OfRun(new ReportedRun(summary, Result, 7, "{}")));
    }

    /// <summary>The drawing of a figure over an axis.</summary>
    private static string Over(string figure, string axis) =>
        Assert.Single(figure.Split("<div class=\"by-")[1..], part => part.StartsWith($"{axis}\"", StringComparison.Ordinal)).Split("</svg>")[0];

    /// <summary>The curves of a drawing with some number of points; those with a stroke of a width, if one is given.</summary>
    private static (double X, double Y)[][] Curves(string svg, int points, string? width = null) =>
    [
        .. Polyline().Matches(svg).Where(m => width is null || m.Value.Contains($"stroke-width:{width}", StringComparison.Ordinal))
            .Select(m => m.Groups[1].Value.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Where(found => found.Length == points)
            .Select(found => found.Select(p => (Coordinate(p, 0), Coordinate(p, 1))).ToArray()),
    ];

    private static double Coordinate(string point, int index) => double.Parse(point.Split(',')[index], CultureInfo.InvariantCulture);

    private static ReportedRun Reported(RunSummary summary) => new(summary, Result, 3, "{}");

    private static RunSummary RunSummaryOf(TrainingResult result)
    {
        using var backend = new CpuBackend(1);
        using Model model = NewModel(backend);
        return Config.Summarise(model, result);
    }

    private static Model NewModel(CpuBackend backend) => new(
        backend, ModelCatalog.Create("mlp", new MapShape(32, 32, 3), 10, new ModelOptions(Hidden: 12)), RuleSet.Of(new FeedbackAlignment()), 4, seed: 1);

    private static IEnumerable<Dictionary<string, string>> Rows(string html)
    {
        string table = html[html.IndexOf("<table>", StringComparison.Ordinal)..html.IndexOf("</table>", StringComparison.Ordinal)];
        string[] headings = [.. Heading().Matches(table).Select(m => m.Groups[1].Value)];
        foreach (string line in table.Split("<tr>").Where(l => l.Contains("<td>", StringComparison.Ordinal)))
        {
            string[] cells = [.. Cell().Matches(line).Select(m => m.Groups[1].Value)];
            Assert.Equal(headings.Length, cells.Length);
            yield return headings.Zip(cells).ToDictionary(p => p.First, p => p.Second);
        }
    }

    [GeneratedRegex("<th>(.*?)</th>")]
    private static partial Regex Heading();

    [GeneratedRegex("<td>(.*?)</td>")]
    private static partial Regex Cell();

    [GeneratedRegex("</i>(.*?)</span>")]
    private static partial Regex LegendEntry();

    [GeneratedRegex("id=\"([^\"]*)\"")]
    private static partial Regex ElementName();

    [GeneratedRegex("url\\(#([^)]*)\\)")]
    private static partial Regex Reference();

    [GeneratedRegex("<polyline points=\"([^\"]*)\"[^>]*>")]
    private static partial Regex Polyline();

    /// <summary>Reads the report after each epoch; it is called after the files of the run.</summary>
    private sealed class ReportReader(string path) : ITrainingObserver
    {
        public List<string> Pages { get; } = [];

        public void OnEpoch(EpochReport report) => Pages.Add(File.ReadAllText(path));
    }

    private sealed class Keeper : ITrainingObserver
    {
        public List<EpochReport> Epochs { get; } = [];

        public List<LayerAlignment> Alignment { get; } = [];

        public void OnStep(in StepReport report)
        {
        }

        public void OnEpoch(EpochReport report) => Epochs.Add(report);

        public void OnAlignment(IReadOnlyList<LayerAlignment> layers) => Alignment.AddRange(layers);
    }
}
