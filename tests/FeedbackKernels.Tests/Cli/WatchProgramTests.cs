using System.Diagnostics;
using System.Text.Json;
using FeedbackKernels.Cli;

namespace FeedbackKernels.Tests.Cli;

/// <summary>Where <c>feedback watch</c> finds its program, and what it says where there is none. The program itself is tested in
/// FeedbackKernels.Watch.Tests.</summary>
[Collection(nameof(CommandLineTests))]
public sealed class WatchProgramTests : IDisposable
{
    private static readonly string AspNet = $"{Environment.Version.Major}.{Environment.Version.Minor}";

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-find").FullName;

    private string Runtime => Path.Combine(_folder, "dotnet", "shared", "Microsoft.NETCore.App", $"{AspNet}.3");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void It_lies_beside_the_command_line()
    {
        AddRuntime(withAspNet: true);
        string program = Touch("app", "feedback-watch.dll");
        ProcessStartInfo start = WatchProgram.Find(Path.Combine(_folder, "app") + Path.DirectorySeparatorChar, Runtime);
        Assert.Equal(Path.Combine(_folder, "dotnet", "dotnet"), start.FileName);
        Assert.Equal([program], start.ArgumentList);
    }

    [Fact]
    public void In_a_checkout_it_is_what_its_project_was_built_to_in_the_same_configuration()
    {
        AddRuntime(withAspNet: true);
        Touch("managed", "FeedbackKernels.Watch", "FeedbackKernels.Watch.csproj");
        Touch("managed", "FeedbackKernels.Watch", "bin", "Debug", "net10.0", "feedback-watch.dll");
        string here = Path.Combine(_folder, "managed", "FeedbackKernels.Cli", "bin", "Release", "net10.0"), wanted = Path.Combine(_folder, "managed", "FeedbackKernels.Watch", "bin", "Release", "net10.0", "feedback-watch.dll");
        Assert.Equal(
            $"the program feedback-watch has not been built: {wanted} does not exist; dotnet build managed/FeedbackKernels.Watch -c Release builds it",
            Assert.Throws<FileNotFoundException>(() => WatchProgram.Find(here, Runtime)).Message);
        Touch("managed", "FeedbackKernels.Watch", "bin", "Release", "net10.0", "feedback-watch.dll");
        Assert.Equal([wanted], WatchProgram.Find(here, Runtime).ArgumentList);
    }

    [Fact]
    public void Where_it_is_not_the_error_says_where_it_belongs_and_what_there_is_instead()
    {
        AddRuntime(withAspNet: true);
        string message = Assert.Throws<FileNotFoundException>(() => WatchProgram.Find(Path.Combine(_folder, "app"), Runtime)).Message;
        Assert.StartsWith($"the program feedback-watch, which feedback watch starts, is not installed: it belongs into {Path.Combine(_folder, "app")}. ", message);
        Assert.Contains("report.html", message);
    }

    [Fact]
    public void Without_ASP_NET_Core_the_error_names_what_to_install()
    {
        AddRuntime(withAspNet: false);
        Touch("app", "feedback-watch.dll");
        string message = Assert.Throws<FileNotFoundException>(() => WatchProgram.Find(Path.Combine(_folder, "app"), Runtime)).Message;
        Assert.StartsWith($"feedback watch needs ASP.NET Core {AspNet}, which is not in {Path.Combine(_folder, "dotnet", "shared", "Microsoft.AspNetCore.App")}; install its runtime (package aspnetcore-runtime-{AspNet}). ", message);
        // That of another version does not serve.
        Directory.CreateDirectory(Path.Combine(_folder, "dotnet", "shared", "Microsoft.AspNetCore.App", "9.0.1"));
        Assert.Throws<FileNotFoundException>(() => WatchProgram.Find(Path.Combine(_folder, "app"), Runtime));
    }

    [Fact]
    public void A_program_that_brings_its_runtime_is_started_directly()
    {
        string program = Touch("app", "feedback-watch.dll");
        Assert.Equal(Path.ChangeExtension(program, null), WatchProgram.Find(Path.Combine(_folder, "app"), Path.Combine(_folder, "app")).FileName);
    }

    [Fact]
    public void The_options_are_those_of_the_program() =>
        Assert.Equal(["/runs", "--host", "::1", "--port", "81", "--until-input-ends"], WatchCommand.Arguments("/runs", "::1", 81));

    [Fact]
    public void A_folder_that_does_not_exist_is_an_error() =>
        Assert.Equal((1, "", $"feedback: directory '{Path.Combine(_folder, "no")}' does not exist\n"), FeedbackProgram.Run("watch", Path.Combine(_folder, "no")));

    [Fact]
    public void The_command_line_needs_no_ASP_NET_Core()
    {
        using JsonDocument needs = JsonDocument.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "feedback.runtimeconfig.json")));
        Assert.Equal("Microsoft.NETCore.App", needs.RootElement.GetProperty("runtimeOptions").GetProperty("framework").GetProperty("name").GetString());
        Assert.DoesNotContain(typeof(WatchCommand).Assembly.GetReferencedAssemblies(), name => name.Name!.StartsWith("Microsoft.AspNetCore", StringComparison.Ordinal));
    }

    private void AddRuntime(bool withAspNet)
    {
        Directory.CreateDirectory(Runtime);
        Touch("dotnet", "dotnet");
        if (withAspNet) Directory.CreateDirectory(Path.Combine(_folder, "dotnet", "shared", "Microsoft.AspNetCore.App", $"{AspNet}.3"));
    }

    private string Touch(params string[] path)
    {
        string file = Path.Combine([_folder, .. path]);
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllText(file, "");
        return file;
    }
}
