using System.Diagnostics;
using System.Text.RegularExpressions;

namespace FeedbackKernels.Tests.Packages;

/// <summary>Runs the .NET SDK and programs that it built.</summary>
internal static partial class Dotnet
{
    /// <summary>Runs the SDK and returns what it printed. Skips the test where a package cannot be restored.</summary>
    /// <param name="folder">Folder to run it in.</param>
    /// <param name="packages">Where packages are unpacked; null for the usual place.</param>
    /// <param name="arguments">Command line.</param>
    public static async Task<string> Run(string folder, string? packages, params string[] arguments)
    {
        string[] always = arguments[0] == "tool" ? [] : ["-nologo", "-p:UseSharedCompilation=false"];
        (string, string)[] environment = packages is null ? [] : [("NUGET_PACKAGES", packages)];
        (int code, string output) = await Execute("dotnet", folder, [.. arguments, .. always], environment);
        Match unreachable = Unreachable().Match(output);
        Assert.SkipWhen(code != 0 && unreachable.Success, $"a package cannot be restored here: {unreachable.Value}");
        Assert.True(code == 0, $"dotnet {string.Join(' ', arguments)} ended with {code}: {output}");
        return output;
    }

    /// <summary>Runs a program that has to succeed and returns what it printed.</summary>
    public static async Task<string> RunProgram(string program, string folder, string[] arguments, params (string Name, string Value)[] environment)
    {
        (int code, string output) = await Execute(program, folder, arguments, environment);
        Assert.True(code == 0, $"{program} {string.Join(' ', arguments)} ended with {code}: {output}");
        return output;
    }

    /// <summary>The .NET runtime that this process runs on; tools are started by its host.</summary>
    public static string Root { get; } = Path.GetFullPath(Path.Combine(System.Runtime.InteropServices.RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", ".."));

    /// <summary>Whether an SDK is installed.</summary>
    public static bool HasSdk => Directory.Exists(Path.Combine(Root, "sdk"));

    private static async Task<(int Code, string Output)> Execute(
        string program, string folder, string[] arguments, params (string Name, string Value)[] environment)
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        var start = new ProcessStartInfo(program == "dotnet" ? Path.Combine(Root, "dotnet") : program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = folder,
        };
        // An SDK that started this process left its own settings, which are not those of another one.
        foreach (string name in start.Environment.Keys.Where(name => name.StartsWith("MSBUILD", StringComparison.OrdinalIgnoreCase)).ToArray()) start.Environment.Remove(name);
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        start.Environment["DOTNET_CLI_TELEMETRY_OPTOUT"] = "1";
        start.Environment["DOTNET_NOLOGO"] = "1";
        start.Environment["DOTNET_ROOT"] = Root;
        foreach ((string name, string value) in environment) start.Environment[name] = value;
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(cancel), error = process.StandardError.ReadToEndAsync(cancel);
        try
        {
            await process.WaitForExitAsync(cancel);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }

        return (process.ExitCode, await output + await error);
    }

    /// <summary>A source that does not answer, or a package of others that no source has.</summary>
    [GeneratedRegex(@"NU1301.*|NU110[123]: (?!.*FeedbackKernels).*")]
    private static partial Regex Unreachable();
}
