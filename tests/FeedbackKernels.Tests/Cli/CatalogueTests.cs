using System.CommandLine;
using FeedbackKernels.Cli;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Runs;
using FeedbackKernels.Tests.Data;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Cli;

/// <summary>What is in a catalogue can be chosen on the command line, and its help names it.</summary>
public sealed class CatalogueTests
{
    private static readonly string[] Trainers = ["train", "compare", "study"];

    [Fact]
    public void Every_model_can_be_chosen()
    {
        foreach (ModelEntry entry in ModelCatalog.All)
        {
            foreach (string command in (string[])[.. Trainers, "info"]) AssertChoice(command, "--model", entry.Name, entry.Name, entry.Help);
            new RunConfig { Model = entry.Name }.Validate();
            var images = new MapShape(entry.UsualImageSize, entry.UsualImageSize, 3);
            ModelSpec spec = ModelCatalog.Create(entry.Name, images, entry.UsualClasses);
            // The shapes that follow from the description end in one logit for each class.
            Assert.Equal(new MapShape(1, 1, entry.UsualClasses), spec.Blocks.Aggregate(images, (map, block) => block.Output(map)));
        }

        Assert.Equal(ModelCatalog.All.Count, ModelCatalog.Names.Distinct().Count());
    }

    [Fact]
    public void Every_schedule_can_be_chosen()
    {
        foreach (ScheduleKind kind in ScheduleCatalog.All)
        {
            foreach (string command in Trainers) AssertChoice(command, "--schedule", kind.Name, $"{kind.Name}: {kind.Help}");
            var schedule = new LearningRateSchedule(kind, 0.5f);
            schedule.Validate(epochs: 3);
            Assert.Equal(0.5f, Enumerable.Range(0, 300).Max(step => schedule.At(step, 100, 3)), 1e-3f);
        }
    }

    [Fact]
    public void Every_source_can_be_chosen()
    {
        foreach (SourceKind kind in SourceCatalog.All)
        {
            foreach (string command in (string[])[.. Trainers, "evaluate"])
                AssertChoice(command, "--data", kind.HasPlace ? $"{kind.Name}:dir" : kind.Name, kind.Form, kind.Help);
            Assert.Contains(kind.Form, SourceCatalog.Forms);
            foreach (string variant in kind.Variants) Assert.Equal((kind, "dir", variant), Parts(DataSource.Parse($"{kind.Name}:dir:{variant}")));
            if (kind.HasPlace)
            {
                // The kind's own reader is what finds that there is no such place.
                string place = string.Join(',', kind.Place.Split(',').Select(_ => "/not/there/either"));
                Assert.Contains("/not/there/either", Assert.ThrowsAny<IOException>(() => DataSet.Open($"{kind.Name}:{place}", 1)).Message);
                Assert.Contains("/not/there/either", Assert.ThrowsAny<IOException>(() => DataSet.OpenTest($"{kind.Name}:{place}", 1)).Message);
            }
            else
            {
                Assert.Equal(1, DataSet.Open(kind.Name, 1, 1, 1).Train.Count);
                Assert.Equal(kind.Name, DataSet.OpenTest(kind.Name, 1, 1).Fingerprint.Kind);
            }
        }

        Assert.Null(SourceCatalog.Find("none"));
        TestFiles.Complains<ArgumentException>(() => DataSet.Open("none", 1), SourceCatalog.Forms);

        static (SourceKind, string, string) Parts(DataSource source) => (source.Kind, source.Place, source.Variant);
    }

    private static void AssertChoice(string command, string option, string argument, params string[] help)
    {
        Option described = FeedbackProgram.OptionsOf(FeedbackProgram.Commands.Single(c => c.Name == command)).Single(o => o.Name == option);
        Assert.All(help, text => Assert.Contains(text, described.Description));
        string[] line = command switch { "evaluate" => [command, "run", option, argument], "study" => [command, option, argument, "--out", "study"], _ => [command, option, argument] };
        Assert.Null(Complaint.Of(Program.CreateRoot().Parse(line)));
    }
}
