namespace FeedbackKernels.Tests.Docs;

/// <summary>Every file, folder and heading that a README names exists. <see cref="NamedFiles"/> describes what counts as a name.</summary>
public sealed class NamedFilesTests
{
    private const string Outside = "the tests run outside the repository";

    public static TheoryData<string, string> Names() => Each(NamedFiles.InCode);

    public static TheoryData<string, string> Links() => Each(NamedFiles.InLinks);

    [Theory(SkipTestWithoutData = true), MemberData(nameof(Names))]
    public void A_file_that_a_page_names_exists(string page, string name) => Assert.Null(NamedFiles.Missing(NamedFiles.Root!, page, name));

    [Theory(SkipTestWithoutData = true), MemberData(nameof(Links))]
    public void The_target_of_a_link_exists(string page, string target) => Assert.Null(NamedFiles.Broken(NamedFiles.Root!, page, target));

    [Theory]
    [InlineData("managed/README.md", 40)]
    [InlineData("native/README.md", 20)]
    [InlineData("bench/README.md", 2)]
    [InlineData("README.md", 1)]
    public void A_page_names_files(string page, int least)
    {
        Assert.SkipWhen(NamedFiles.Root is null, Outside);
        Assert.InRange(NamedFiles.InCode(Read(page)).Count(), least, 1000);
    }

    // The questions that managed/README.md has to answer, and a name that belongs to each answer.
    [Theory]
    [InlineData("Where is the weight mirror for convolutions on the CPU?", "CpuBackend.Mirror.cs")]
    [InlineData("Where is the weight mirror for convolutions on CUDA?", "CudaBackend.Mirror.cs")]
    [InlineData("Where is it decided whether Winograd is used?", "Winograd")]
    [InlineData("How do I add a rule?", "Rules/")]
    [InlineData("How do I add a data source?", "Data/")]
    [InlineData("How do I add a model?", "Models/")]
    [InlineData("How do I add a CUDA kernel?", "native/")]
    [InlineData("How do I add a CPU kernel?", "Cpu/")]
    [InlineData("How do I add an optimiser?", "Training/")]
    [InlineData("Where do checkpoints live?", "Storage/")]
    public void A_question_of_a_newcomer_has_an_answer_that_names_a_file(string question, string part)
    {
        Assert.SkipWhen(NamedFiles.Root is null, Outside);
        string page = Read("managed/README.md");
        int start = page.IndexOf($"# {question}\n", StringComparison.Ordinal);
        Assert.True(start >= 0, $"managed/README.md has no heading '{question}'");
        int end = page.IndexOf("\n#", start + 1, StringComparison.Ordinal);
        Assert.Contains(NamedFiles.InCode(page[start..(end < 0 ? page.Length : end)]), name => name.Contains(part, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("see `managed/Nowhere.cs`", "managed/Nowhere.cs")]
    [InlineData("see `Kernels.sln` and `bench/peers/{measure.hpp,nothing.hpp}`", "bench/peers/nothing.hpp")]
    [InlineData("see `native/sgdd.cu`", "native/sgdd.cu")]
    [InlineData("see `native/*.cpp`", "native/*.cpp")]
    [InlineData("see `managed/Rulez/<MyRule>.cs`", "managed/Rulez/<MyRule>.cs")]
    [InlineData("see `interop/Nothing/`", "interop/Nothing/")]
    [InlineData("see `make.sh`", "make.sh")]
    [InlineData("see `.ci/nothing`", ".ci/nothing")]
    public void A_wrong_name_is_found(string text, string wrong)
    {
        Assert.SkipWhen(NamedFiles.Root is null, Outside);
        Assert.Equal([wrong], NamedFiles.InCode(text).Select(name => NamedFiles.Missing(NamedFiles.Root, "README.md", name)).OfType<string>());
    }

    [Theory]
    [InlineData("`bench/gpu-kit/{make,run}.sh`, `native/*.cu`, `managed/<MyProject>/<File>.cs`, `<mine>.cu`, `tests/`, `.ci/run`")]
    [InlineData("`peers/measure.hpp`")]
    public void A_right_name_is_not_reported(string text)
    {
        Assert.SkipWhen(NamedFiles.Root is null, Outside);
        string[] names = [.. NamedFiles.InCode(text)];
        Assert.Equal(text.Count(c => c == '`') / 2, names.Length);
        Assert.All(names, name => Assert.Null(NamedFiles.Missing(NamedFiles.Root, "bench/README.md", name)));
    }

    [Theory]
    [InlineData("`--data cifar10:DIR`, `config.json`, `layer4.0`, `artifacts/peers`, `NHWC`, `cp.async`, `a / b`")]
    [InlineData("```sh\nrun native/nothing.cu `native/nothing.cu`\n```\n")]
    public void What_is_no_file_of_the_repository_is_not_taken_for_one(string text) => Assert.Empty(NamedFiles.InCode(text));

    [Theory]
    [InlineData("nothing.md", "nothing.md does not exist")]
    [InlineData("README.md#nothing", "there is no heading #nothing")]
    [InlineData("#nothing", "there is no heading #nothing")]
    [InlineData("README.md#on-a-gpu", null)]
    [InlineData("native/", null)]
    public void A_broken_link_is_found(string target, string? wrong)
    {
        Assert.SkipWhen(NamedFiles.Root is null, Outside);
        Assert.Equal([target], NamedFiles.InLinks($"see [this]({target}) and [that](https://example.org)"));
        Assert.Equal(wrong, NamedFiles.Broken(NamedFiles.Root, "README.md", target));
    }

    private static TheoryData<string, string> Each(Func<string, IEnumerable<string>> find)
    {
        var data = new TheoryData<string, string>();
        if (NamedFiles.Root is null) return data;
        foreach (string page in NamedFiles.Pages)
        {
            foreach (string name in find(Read(page))) data.Add(page, name);
        }

        return data;
    }

    private static string Read(string page) => File.ReadAllText(Path.Combine(NamedFiles.Root!, page));
}
