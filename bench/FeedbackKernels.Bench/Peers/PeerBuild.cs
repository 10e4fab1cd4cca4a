namespace FeedbackKernels.Bench.Peers;

/// <summary>A peer could not be built, though the tools are there.</summary>
internal sealed class BuildException(string message) : IOException(message);

/// <summary>Builds a peer's program from its sources, and again only if a source is newer.</summary>
/// <param name="Sources">Folder of all peers' sources.</param>
/// <param name="Output">Folder of all peers' programs.</param>
internal abstract record PeerBuild(string Sources, string Output)
{
    /// <summary>The program.</summary>
    public abstract string Program { get; }

    /// <summary>The folder of this peer's sources, below <see cref="Sources"/>.</summary>
    protected abstract string SourceFolder { get; }

    /// <summary>Builds the program if it is missing or outdated.</summary>
    /// <exception cref="FileNotFoundException">A compiler or library is missing; the message names the package.</exception>
    /// <exception cref="BuildException">Another error of the compiler.</exception>
    public void Ensure()
    {
        string folder = Path.Combine(Sources, SourceFolder);
        if (!Directory.Exists(folder))
            throw new DirectoryNotFoundException($"directory '{folder}' is not there: the peers' sources are in the repository's bench/peers");
        if (IsUpToDate()) return;
        Directory.CreateDirectory(Output);
        Console.Error.WriteLine($"# building {Program}");
        try
        {
            Make();
        }
        catch
        {
            // An incomplete build must not count as built in the next run.
            File.Delete(Program);
            throw;
        }
    }

    protected abstract void Make();

    /// <summary>Runs a tool of the build.</summary>
    /// <param name="package">The Debian package that has it.</param>
    /// <param name="tool">The tool.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="missing">Texts in the error output, each with the Debian package whose absence it means.</param>
    protected void RunTool(string package, string tool, IReadOnlyList<string> arguments, params IReadOnlyList<(string Complaint, string Package)> missing)
    {
        ChildResult result = new ChildProcess(tool, arguments).Run()
            ?? throw new FileNotFoundException($"cannot build {Path.GetFileName(Program)}: there is no {tool}; install it with: apt-get install {package}");
        if (result.ExitCode == 0) return;
        string complaint = result.Error + result.Output;
        foreach ((string part, string library) in missing)
        {
            if (complaint.Contains(part, StringComparison.Ordinal))
                throw new FileNotFoundException($"cannot build {Path.GetFileName(Program)}: {part}; install it with: apt-get install {library}");
        }

        throw new BuildException($"cannot build {Path.GetFileName(Program)}: {tool} ended with {ChildProcess.Describe(result.ExitCode)}:\n{complaint}");
    }

    private bool IsUpToDate()
    {
        var program = new FileInfo(Program);
        return program.Exists && new DirectoryInfo(Sources).EnumerateFiles().Concat(new DirectoryInfo(Path.Combine(Sources, SourceFolder)).EnumerateFiles())
            .All(source => source.Extension == ".md" || source.LastWriteTimeUtc <= program.LastWriteTimeUtc);
    }
}

/// <summary>A program with one C++ source file.</summary>
/// <param name="Sources">Folder of all peers' sources.</param>
/// <param name="Output">Folder of all peers' programs.</param>
/// <param name="File">The file, below <paramref name="Sources"/>.</param>
/// <param name="Options">Options of the compiler.</param>
/// <param name="Library">The library that it needs, as its header, its linker name and its Debian package; null for none.</param>
/// <param name="Compiler">The compiler.</param>
internal sealed record CppBuild(
    string Sources, string Output, string File, IReadOnlyList<string> Options, (string Header, string Link, string Package)? Library = null,
    string Compiler = "g++") : PeerBuild(Sources, Output)
{
    public override string Program => Path.Combine(Output, Path.GetFileNameWithoutExtension(File));

    protected override string SourceFolder => Path.GetDirectoryName(File)!;

    protected override void Make()
    {
        string[] link = Library is { } library ? [$"-l{library.Link}"] : [];
        (string, string)[] missing = Library is { } l ? [($"{l.Header}: No such file", l.Package), ($"cannot find -l{l.Link}", l.Package)] : [];
        RunTool("g++", Compiler, ["-std=c++17", "-fopenmp", .. Options, Path.Combine(Sources, File), "-o", Program, .. link], missing);
    }
}

/// <summary>The TorchSharp program, with what it needs to load on systems with libstdc++ older than 13.</summary>
internal sealed record TorchBuild(string Sources, string Output) : PeerBuild(Sources, Output)
{
    public override string Program => Path.Combine(Folder, "torchsharp-peer.dll");

    /// <summary>The library to preload.</summary>
    public string Shim => Path.Combine(Folder, "libiosinit.so");

    protected override string SourceFolder => "torchsharp";

    private string Folder => Path.Combine(Output, "torch");

    protected override void Make()
    {
        string sources = Path.Combine(Sources, SourceFolder);
        RunTool(
            "dotnet-sdk-10.0", "dotnet",
            ["build", Path.Combine(sources, "torchsharp-peer.csproj"), "-c", "Release", "-o", Folder, "-nodeReuse:false", "-v", "quiet"]);
        RunTool("g++", "g++", ["-O2", "-shared", "-fPIC", Path.Combine(sources, "iosinit.cpp"), "-o", Shim]);
        RunTool("python3", "python3", [Path.Combine(sources, "glibcxx_compat.py"), Path.Combine(Folder, "libLibTorchSharp.so")]);
        // MSBuild does not touch a program that is up to date, so its time would stay older than the sources.
        File.SetLastWriteTimeUtc(Program, DateTime.UtcNow);
    }
}
