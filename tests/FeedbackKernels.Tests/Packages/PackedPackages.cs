using System.IO.Compression;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Docs;

namespace FeedbackKernels.Tests.Packages;

/// <summary>The packages of this repository, packed once into a temporary folder, and projects that install them.</summary>
public sealed partial class PackedPackages : IDisposable
{
    /// <summary>Each package and the folder of its project.</summary>
    internal static readonly (string Id, string Project)[] All =
    [
        ("FeedbackKernels.Interop", "interop/FeedbackKernels.Interop"),
        ("FeedbackKernels", "managed/FeedbackKernels"),
        ("FeedbackKernels.TorchSharp", "managed/FeedbackKernels.TorchSharp"),
        ("FeedbackKernels.Tool", "managed/FeedbackKernels.Cli"),
    ];

    private readonly string _folder = Path.Combine(Path.GetTempPath(), "feedback-packages-" + Guid.NewGuid().ToString("N"));
    private readonly Lazy<Task<string>> _packed;

    /// <summary>Packs nothing yet.</summary>
    public PackedPackages() => _packed = new(PackAll);

    /// <summary>Folder of the packages.</summary>
    internal string Folder => Path.Combine(_folder, "packed");

    /// <summary>The repository.</summary>
    internal static string Root => NamedFiles.Root!;

    /// <summary>The packages that the projects install are unpacked here. Those of others stay for the next run.</summary>
    private static string Installed => Path.Combine(Root, "tests", "FeedbackKernels.Tests", "obj", "installed-packages");

    /// <summary>Packs, if that has not happened yet, with CUDA kernels if the tested build has them.</summary>
    /// <returns>What the SDK printed.</returns>
    internal Task<string> Pack()
    {
        Assert.SkipWhen(NamedFiles.Root is null, "the tests run outside the repository");
        Assert.SkipUnless(Dotnet.HasSdk, $"there is no .NET SDK in {Dotnet.Root}");
        return _packed.Value;
    }

    /// <summary>Opens a package.</summary>
    /// <param name="id">Its name.</param>
    /// <param name="extension">nupkg, or snupkg for its symbols.</param>
    internal ZipArchive Open(string id, string extension = "nupkg") => ZipFile.OpenRead(Path.Combine(Folder, $"{id}.{Version}.{extension}"));

    /// <summary>The manifest of a package, without its namespace.</summary>
    internal XElement Manifest(string id)
    {
        using ZipArchive package = Open(id);
        using Stream stream = package.GetEntry($"{id}.nuspec")!.Open();
        XElement root = XElement.Load(stream);
        foreach (XElement element in root.DescendantsAndSelf()) element.Name = element.Name.LocalName;
        return root.Element("metadata")!;
    }

    /// <summary>The first C# program in the README of a package.</summary>
    internal static string ProgramOf(string id) =>
        CSharp().Match(File.ReadAllText(Path.Combine(Root, All.Single(package => package.Id == id).Project, "README.md"))).Groups[1].Value;

    /// <summary>A new project with the program of a package's README, which references that package alone.</summary>
    /// <param name="id">The package.</param>
    /// <param name="name">Name of the project and of its folder.</param>
    /// <param name="others">Packages of others that the project also references, in the versions of this repository.</param>
    internal string NewProject(string id, string name, params string[] others)
    {
        // Native libraries of others are looked for where they lie in a portable program.
        string runtime = others.Length > 0 ? "" : $"<RuntimeIdentifier>{System.Runtime.InteropServices.RuntimeInformation.RuntimeIdentifier}</RuntimeIdentifier>";
        string folder = Directory.CreateDirectory(Path.Combine(_folder, name)).FullName;
        File.WriteAllText(Path.Combine(folder, "Program.cs"), ProgramOf(id));
        File.WriteAllText(Path.Combine(folder, $"{name}.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                {runtime}
                <ImplicitUsings>enable</ImplicitUsings>
                <Nullable>enable</Nullable>
                <InvariantGlobalization>true</InvariantGlobalization>
                <TreatWarningsAsErrors>true</TreatWarningsAsErrors>
              </PropertyGroup>
              <ItemGroup>
                <PackageReference Include="{id}" Version="{Version}" />
                {string.Concat(others.Select(other => $"<PackageReference Include=\"{other}\" Version=\"{VersionOf(other)}\" />"))}
                <TrimmerRootAssembly Condition="'$(KeepAll)' == 'true'" Include="FeedbackKernels;FeedbackKernels.Interop" />
              </ItemGroup>
            </Project>
            """);
        return folder;
    }

    /// <summary>Whether a package of others has been unpacked on this machine.</summary>
    internal static bool IsUnpacked(string id) => Directory.Exists(Path.Combine(Unpacked, id.ToLowerInvariant(), VersionOf(id)));

    private static string VersionOf(string id) => XElement.Load(Path.Combine(Root, "Directory.Packages.props"))
        .Descendants("PackageVersion").Single(package => package.Attribute("Include")!.Value == id).Attribute("Version")!.Value;

    private static string Unpacked => Environment.GetEnvironmentVariable("NUGET_PACKAGES")
        ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");

    /// <summary>Runs the SDK in a folder of <see cref="NewProject"/>.</summary>
    internal static Task<string> Sdk(string folder, params string[] arguments) => Dotnet.Run(folder, Installed, arguments);

    /// <summary>The sources of the machine, and the folder of the packages.</summary>
    internal string Sources => Path.Combine(_folder, "nuget.config");

    /// <summary>Deletes everything.</summary>
    public void Dispose()
    {
        if (Directory.Exists(_folder)) Directory.Delete(_folder, recursive: true);
    }

    /// <summary>The version of all packages.</summary>
    internal static string Version { get; } = typeof(Backend).Assembly.GetName().Version!.ToString(3);

    private async Task<string> PackAll()
    {
        Directory.CreateDirectory(Folder);
        if (Directory.Exists(Installed))
        {
            foreach (string own in Directory.GetDirectories(Installed, "feedbackkernels*")) Directory.Delete(own, recursive: true);
        }

        // What the machine has unpacked already is used from there, if none of it is ours: that could be of an earlier build.
        bool useOthers = Directory.Exists(Unpacked) && Directory.GetDirectories(Unpacked, "feedbackkernels*").Length == 0;
        new XElement(
            "configuration",
            new XElement("packageSources", new XElement("add", new XAttribute("key", "packed"), new XAttribute("value", Folder))),
            new XElement("fallbackPackageFolders", useOthers ? new XElement("add", new XAttribute("key", "others"), new XAttribute("value", Unpacked)) : null)).Save(Sources);
        return await Dotnet.Run(
            Root, packages: null, "pack", "Kernels.sln", "-c", "Release", "-o", Folder, $"-p:BuildCudaKernels={(CudaKernels.Exist ? "true" : "false")}");
    }

    [GeneratedRegex("^```csharp\n(.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex CSharp();
}

/// <summary>The tests of the packages share them, and run one after the other.</summary>
[CollectionDefinition(nameof(PackedPackages))]
public sealed class PackageTests : ICollectionFixture<PackedPackages>;
