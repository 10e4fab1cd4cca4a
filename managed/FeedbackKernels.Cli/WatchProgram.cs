using System.Diagnostics;
using System.Runtime.InteropServices;

namespace FeedbackKernels.Cli;

/// <summary>
/// Finds the program <c>feedback-watch</c>. It is a program of its own because it needs ASP.NET Core, which machines with the .NET runtime
/// alone lack. It lies beside <c>feedback</c>; in a checkout, it is what the project beside that of <c>feedback</c> was built to, in the
/// same configuration.
/// </summary>
internal static class WatchProgram
{
    private const string Name = "feedback-watch", OwnProject = "FeedbackKernels.Cli", Project = "FeedbackKernels.Watch";

    private const string Instead = "The report.html in the folder of a run, written anew after each epoch, needs a browser only";

    /// <summary>How to start it, without its arguments.</summary>
    /// <param name="here">Folder of this program.</param>
    /// <param name="runtime">Folder of the .NET runtime that runs this program.</param>
    /// <exception cref="FileNotFoundException">It is not there, or ASP.NET Core is not; the message says what is missing and how to get
    /// it.</exception>
    public static ProcessStartInfo Find(string here, string runtime)
    {
        string program = FindProgram(Path.TrimEndingDirectorySeparator(Path.GetFullPath(here)));
        // .../shared/Microsoft.NETCore.App/VERSION/ lies below the host, dotnet. A program that brings its own runtime needs none.
        string shared = Path.GetFullPath(Path.Combine(runtime, "..", "..")), host = Path.Combine(shared, "..", OperatingSystem.IsWindows() ? "dotnet.exe" : "dotnet");
        if (!File.Exists(host)) return new ProcessStartInfo(Path.ChangeExtension(program, OperatingSystem.IsWindows() ? ".exe" : null));
        string wanted = $"{Environment.Version.Major}.{Environment.Version.Minor}", aspNet = Path.Combine(shared, "Microsoft.AspNetCore.App");
        if (!Directory.Exists(aspNet) || !Directory.EnumerateDirectories(aspNet, $"{wanted}.*").Any())
        {
            throw new FileNotFoundException(
                $"feedback watch needs ASP.NET Core {wanted}, which is not in {aspNet}; install its runtime (package aspnetcore-runtime-{wanted}). {Instead}");
        }

        return new ProcessStartInfo(Path.GetFullPath(host), [program]);
    }

    /// <summary>How to start it with this program's runtime.</summary>
    /// <inheritdoc cref="Find(string, string)"/>
    public static ProcessStartInfo Find() => Find(AppContext.BaseDirectory, RuntimeEnvironment.GetRuntimeDirectory());

    private static string FindProgram(string here)
    {
        string beside = Path.Combine(here, $"{Name}.dll");
        if (File.Exists(beside)) return beside;
        for (string? folder = here; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            string project = Path.Combine(Path.GetDirectoryName(folder) ?? folder, Project);
            if (Path.GetFileName(folder) != OwnProject || !File.Exists(Path.Combine(project, $"{Project}.csproj"))) continue;
            string built = Path.Combine(project, Path.GetRelativePath(folder, here), $"{Name}.dll");
            if (File.Exists(built)) return built;
            throw new FileNotFoundException($"the program {Name} has not been built: {built} does not exist; dotnet build {Path.Combine("managed", Project)} -c Release builds it");
        }

        throw new FileNotFoundException($"the program {Name}, which feedback watch starts, is not installed: it belongs into {here}. {Instead}");
    }
}
