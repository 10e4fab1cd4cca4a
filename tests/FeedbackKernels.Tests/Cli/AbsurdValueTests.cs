using System.CommandLine;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Cli;

/// <summary>Every option that takes a number, with absurd numbers: the result is one clear line or a run, never a stack trace or a
/// hang.</summary>
[Collection(nameof(CommandLineTests))]
public sealed class AbsurdValueTests : IDisposable
{
    private static readonly string[] Values =
        ["0", "-1", "2147483647", "700000000000", "99999999999999999999999", "NaN", "Infinity", "-Infinity", "1e-40", "1e39", "0.5", "", "many"];

    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-absurd").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    public static TheoryData<string, string> NumericOptions()
    {
        var data = new TheoryData<string, string>();
        foreach (Command command in FeedbackProgram.Commands)
        {
            // plan and study read the other options as train does.
            foreach (Option option in FeedbackProgram.OptionsOf(command).Where(o => IsNumber(o.ValueType) && (command.Name is not ("plan" or "study") || o.Name is "--measure" or "--seeds" or "--parallel"))) data.Add(command.Name, option.Name);
        }

        return data;
    }

    [Theory, MemberData(nameof(NumericOptions))]
    public async Task Absurd_numbers_give_one_clear_line_or_a_run(string command, string option)
    {
        for (int i = 0; i < Values.Length; i++)
        {
            string[] arguments = Arguments(command, option, Values[i], Path.Combine(_folder, $"run{i}"));
            Task<(int Code, string Output, string Error)> run = Task.Run(() => FeedbackProgram.Run(arguments), TestContext.Current.CancellationToken);
            (int code, _, string error) = await run.WaitAsync(Limit, TestContext.Current.CancellationToken);
            string what = $"{string.Join(' ', arguments)}: {code}, {error}";
            Assert.True(code is 0 or 1 or 2 or 3, what);
            Assert.DoesNotContain("   at ", error);
            if (code == 0) Assert.Equal("", error);
            else Assert.True(error.StartsWith("feedback: ", StringComparison.Ordinal) && error.TrimEnd('\n').Split('\n').Length == 1, what);
            if (code == 2) Assert.Contains(option, error);
            // NaN, infinities and texts are never accepted.
            if (!double.TryParse(Values[i], out double value) || !double.IsFinite(value)) Assert.True(code == 2, what);
        }
    }

    [Theory]
    [InlineData("info --size 100000", "100000x100000x3", "2147483647")]
    [InlineData("info --size 40000 --model mlp", "40000x40000x3", "2147483647")]
    [InlineData("info --model mlp --hidden 700000", "fc1 has 2150400000 weights", "2147483591")]
    [InlineData("train --model mlp --hidden 700000 --limit-train 200", "fc1 has 2150400000 weights", "2147483591")]
    [InlineData("train --limit-train 700000", "700000", "699050")]
    [InlineData("train --threads 40000", "--threads 40000", "0 to 1024")]
    [InlineData("train --limit-train 200 --batch 2000000000", "2000000000", "200")]
    [InlineData("info --classes 2000000000", "weights", "2147483591")]
    public void A_size_that_is_too_large_is_named_with_its_limit(string arguments, string what, string limit)
    {
        (int code, _, string error) = FeedbackProgram.Run(arguments.Split(' '));
        Assert.True(code is 1 or 2);
        string line = Assert.Single(error.TrimEnd('\n').Split('\n'));
        Assert.StartsWith("feedback: ", line);
        Assert.Contains(what, line);
        Assert.Contains(limit, line);
    }

    [Theory]
    [InlineData(1, 1, int.MaxValue, int.MaxValue)]
    [InlineData(46340, 46340, 1, 46340 * 46340)]
    [InlineData(0, 5, 3, 0)]
    [InlineData(46341, 46341, 1, -1)]
    [InlineData(int.MaxValue, int.MaxValue, int.MaxValue, -1)]
    [InlineData(2, 1, 1 << 30, -1)]
    public void A_map_has_at_most_2147483647_elements(int h, int w, int c, int length)
    {
        var map = new MapShape(h, w, c);
        if (length >= 0) Assert.Equal(length, map.Length);
        else Assert.Contains($"{h}x{w}x{c}", Assert.Throws<ArgumentOutOfRangeException>(() => map.Length).Message);
    }

    // The smallest run in which the option has an effect.
    private string[] Arguments(string command, string option, string value, string folder)
    {
        string with = RunOptionCases.All.FirstOrDefault(c => c.Option == option && !c.Cuda)?.With ?? "";
        string[] options = [.. with.Split(' ', StringSplitOptions.RemoveEmptyEntries)];
        if (command == "resume") return [command, Trained(), option, value];
        // Without a run it does not start, whatever the port.
        if (command == "watch") return [command, Path.Combine(folder, "none"), option, value];
        if (command == "import") return [command, Exported(), option, value, "--out", folder];
        if (command == "predict") return [command, Trained(), Picture(), option, value, .. option == "--device" ? ["--backend", "cuda"] : Array.Empty<string>()];
        if (option == "--device") return [command, .. command == "evaluate" ? [Trained()] : Array.Empty<string>(), option, value, "--backend", "cuda"];
        if (command == "verify") return [command, Packed(), option, value];
        if (command == "pack")
        {
            string[] encode = option switch { "--quality" => ["--encode", "jpeg"], "--longest-side" or "--shortest-side" => ["--encode", "raw"], _ => [] };
            return [command, $"packed:{Packed()}", $"{folder}.packed", .. encode, option, value];
        }

        if (command == "info") return [command, .. option == "--hidden" ? ["--model", "mlp"] : Array.Empty<string>(), option, value];
        if (command == "evaluate") return [command, Trained(), option, value];
        if (command == "compare") options = [.. options.Select(o => o == "--rule" ? "--rules" : o), .. options.Contains("--rule") ? [] : (string[])["--rules", "bp"]];
        if (command == "study") options = ["--rules", "bp", .. option == "--seeds" ? Array.Empty<string>() : ["--seeds", "1-2"]];
        Dictionary<string, string> usual = new()
        {
            ["--model"] = "lenet",
            ["--limit-train"] = "32",
            ["--limit-test"] = "16",
            ["--batch"] = "16",
            ["--epochs"] = "1",
            ["--align-every"] = "0",
        };
        return [command, .. usual.Where(u => u.Key != option && !options.Contains(u.Key)).SelectMany(u => (string[])[u.Key, u.Value]), .. options, option, value, .. command == "plan" ? Array.Empty<string>() : ["--out", folder]];
    }

    private string Packed()
    {
        string pictures = Path.Combine(_folder, "pictures"), packed = Path.Combine(_folder, "pictures.packed");
        if (File.Exists(packed)) return packed;
        SmallPictures.Write(pictures);
        Assert.Equal(0, FeedbackProgram.Run("pack", $"imagefolder:{pictures}", packed).Code);
        return packed;
    }

    private string Exported()
    {
        string weights = Path.Combine(_folder, "weights.safetensors");
        if (!File.Exists(weights)) Assert.Equal(0, FeedbackProgram.Run("export", Trained(), weights).Code);
        return weights;
    }

    private string Picture()
    {
        Packed();
        return Path.Combine(_folder, "pictures", "val", SmallPictures.Classes[0], "0-0000.JPEG");
    }

    private string Trained()
    {
        string run = Path.Combine(_folder, "trained");
        if (!Directory.Exists(run))
            Assert.Equal(0, FeedbackProgram.Run("train", "--model", "lenet", "--limit-train", "32", "--limit-test", "16", "--batch", "16", "--epochs", "1", "--out", run).Code);
        return run;
    }

    private static bool IsNumber(Type type)
    {
        Type inner = Nullable.GetUnderlyingType(type) ?? type.GetElementType() ?? type;
        return inner.IsPrimitive && inner != typeof(bool);
    }
}
