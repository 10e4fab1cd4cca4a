using System.Buffers.Binary;
using System.IO.Compression;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Text;
using System.Text.Json;
using System.Xml.Linq;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Packages;

/// <summary>What is in the packages.</summary>
[Collection(nameof(PackedPackages))]
public sealed class PackageContentTests(PackedPackages packages)
{
    public static readonly TheoryData<string> Ids = [.. PackedPackages.All.Select(package => package.Id)];

    [Theory]
    [MemberData(nameof(Ids))]
    public async Task HasReadmeIconLicenceAndDescription(string id)
    {
        await packages.Pack();
        XElement manifest = packages.Manifest(id);
        Assert.Equal("MIT", manifest.Element("license")!.Value);
        Assert.Equal("expression", manifest.Element("license")!.Attribute("type")!.Value);
        Assert.True(manifest.Element("description")!.Value.Length > 50);
        using ZipArchive package = packages.Open(id);
        string readme = Encoding.UTF8.GetString(Content(package, manifest.Element("readme")!.Value));
        Assert.Equal(File.ReadAllText(Path.Combine(PackedPackages.Root, PackedPackages.All.Single(p => p.Id == id).Project, "README.md")), readme);
        byte[] icon = Content(package, manifest.Element("icon")!.Value);
        Assert.Equal((128, 128), (BinaryPrimitives.ReadInt32BigEndian(icon.AsSpan(16)), BinaryPrimitives.ReadInt32BigEndian(icon.AsSpan(20))));
        Assert.True(icon.Length < 10_000);
    }

    [Theory]
    [MemberData(nameof(Ids))]
    public async Task HasDocumentationAndSymbolsOfItsAssemblies(string id)
    {
        await packages.Pack();
        using ZipArchive package = packages.Open(id), symbols = packages.Open(id, "snupkg");
        string[] assemblies = [.. OwnAssemblies(package).Select(entry => entry.FullName)];
        Assert.NotEmpty(assemblies);
        foreach (string assembly in assemblies.Where(name => !name.EndsWith("feedback-watch.dll", StringComparison.Ordinal)))
        {
            XDocument documentation = XDocument.Load(new MemoryStream(Content(package, Path.ChangeExtension(assembly, ".xml"))));
            Assert.Equal(Path.GetFileNameWithoutExtension(assembly), documentation.Root!.Element("assembly")!.Element("name")!.Value);
            Assert.NotEmpty(documentation.Descendants("member"));
            Assert.NotNull(symbols.GetEntry(Path.ChangeExtension(assembly, ".pdb")));
        }
    }

    /// <summary>The same sources give the same bits in every folder.</summary>
    [Theory]
    [MemberData(nameof(Ids))]
    public async Task AssembliesDoNotKnowWhereTheyWereBuilt(string id)
    {
        await packages.Pack();
        using ZipArchive package = packages.Open(id), symbols = packages.Open(id, "snupkg");
        // The page of feedback watch is no package: it is part of the tool.
        foreach (ZipArchiveEntry entry in OwnAssemblies(package).Where(e => e.Name != "feedback-watch.dll"))
        {
            byte[] bytes = Content(package, entry.FullName);
            foreach (byte[] path in new[] { Encoding.UTF8.GetBytes(PackedPackages.Root), Encoding.Unicode.GetBytes(PackedPackages.Root) })
                Assert.True(bytes.AsSpan().IndexOf(path) < 0, $"{entry.FullName} names {PackedPackages.Root}");
            using var reader = new PEReader(new MemoryStream(bytes));
            Assert.Contains(reader.ReadDebugDirectory(), e => e.Type == DebugDirectoryEntryType.Reproducible);
            using MetadataReaderProvider pdb = MetadataReaderProvider.FromPortablePdbStream(new MemoryStream(Content(symbols, Path.ChangeExtension(entry.FullName, ".pdb"))));
            MetadataReader documents = pdb.GetMetadataReader();
            Assert.All(documents.Documents.Select(handle => documents.GetString(documents.GetDocument(handle).Name)), name => Assert.StartsWith("/_/", name));
        }
    }

    [Fact]
    public async Task InteropDependsOnTensorsAlone()
    {
        await packages.Pack();
        (string id, string version) = Assert.Single(Dependencies("FeedbackKernels.Interop"));
        Assert.Equal("System.Numerics.Tensors", id);
        Assert.StartsWith("10.0.", version);
        Assert.Contains(("FeedbackKernels.Interop", PackedPackages.Version), Dependencies("FeedbackKernels"));
        Assert.DoesNotContain(Dependencies("FeedbackKernels"), d => d.Id is "Grpc.Tools" or "Microsoft.CodeAnalysis.PublicApiAnalyzers");
        Assert.Empty(Dependencies("FeedbackKernels.Tool"));
    }

    [Theory]
    [InlineData("FeedbackKernels.Interop")]
    [InlineData("FeedbackKernels.Tool")]
    public async Task CudaKernelsAreInside(string id)
    {
        string output = await packages.Pack();
        using ZipArchive package = packages.Open(id);
        using var reader = new PEReader(new MemoryStream(Content(package, OwnAssemblies(package).Single(e => e.Name == "FeedbackKernels.Interop.dll").FullName)));
        MetadataReader metadata = reader.GetMetadataReader();
        string[] resources = [.. metadata.ManifestResources.Select(handle => metadata.GetString(metadata.GetManifestResource(handle).Name))];
        Assert.Equal(CudaKernels.Exist, resources.Contains("cuda/kernels.zip"));
        if (!CudaKernels.Exist) Assert.Contains("warning FKPACK1: The package FeedbackKernels.Interop has no CUDA kernels", output);
        else Assert.DoesNotContain("FKPACK1", output);
    }

    /// <summary>feedback watch needs ASP.NET Core; no other command may.</summary>
    [Fact]
    public async Task ToolCarriesThePageAndNeedsNoAspNet()
    {
        await packages.Pack();
        using ZipArchive package = packages.Open("FeedbackKernels.Tool");
        ZipArchiveEntry program = package.Entries.Single(e => e.Name == "feedback.dll");
        string folder = program.FullName[..^program.Name.Length];
        Assert.Equal(["Microsoft.NETCore.App"], Frameworks(package, folder + "feedback.runtimeconfig.json"));
        Assert.Contains("Microsoft.AspNetCore.App", Frameworks(package, folder + "feedback-watch.runtimeconfig.json"));
        Assert.NotNull(package.GetEntry(folder + "feedback-watch.dll"));
        Assert.NotNull(package.GetEntry(folder + "feedback-watch.deps.json"));
        foreach (string platform in new[] { "linux-x64", "linux-arm64", "win-x64", "osx" })
            Assert.Contains(package.Entries, e => e.FullName.StartsWith($"{folder}runtimes/{platform}/native/libSkiaSharp", StringComparison.Ordinal));
        Assert.DoesNotContain(package.Entries, e => e.FullName.Contains("/native/", StringComparison.Ordinal) && e.Name.EndsWith(".pdb", StringComparison.Ordinal));
    }

    private (string Id, string Version)[] Dependencies(string id) =>
        [.. packages.Manifest(id).Descendants("dependency").Select(d => (d.Attribute("id")!.Value, d.Attribute("version")!.Value))];

    private static string[] Frameworks(ZipArchive package, string file)
    {
        using JsonDocument config = JsonDocument.Parse(Content(package, file));
        JsonElement options = config.RootElement.GetProperty("runtimeOptions");
        JsonElement[] frameworks = options.TryGetProperty("frameworks", out JsonElement several) ? [.. several.EnumerateArray()] : [options.GetProperty("framework")];
        return [.. frameworks.Select(framework => framework.GetProperty("name").GetString()!)];
    }

    private static IEnumerable<ZipArchiveEntry> OwnAssemblies(ZipArchive package) => package.Entries.Where(
        e => e.Name.EndsWith(".dll", StringComparison.Ordinal) && (e.Name.StartsWith("FeedbackKernels", StringComparison.Ordinal) || e.Name.StartsWith("feedback", StringComparison.Ordinal)));

    private static byte[] Content(ZipArchive package, string name)
    {
        ZipArchiveEntry? entry = package.GetEntry(name);
        Assert.True(entry is not null, $"there is no {name} in the package");
        using Stream stream = entry.Open();
        using var bytes = new MemoryStream();
        stream.CopyTo(bytes);
        return bytes.ToArray();
    }
}
