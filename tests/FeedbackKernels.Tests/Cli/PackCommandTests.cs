using System.Diagnostics;
using System.Text.RegularExpressions;
using FeedbackKernels.Cli;
using FeedbackKernels.Data;
using FeedbackKernels.Tests.Data;
using SkiaSharp;
using Spectre.Console;

namespace FeedbackKernels.Tests.Cli;

/// <summary>The commands pack, inspect and verify.</summary>
[Collection(nameof(CommandLineTests))]
public sealed partial class PackCommandTests : FolderTests
{
    private string Pictures => Path.Combine(Folder, "pictures");

    private string Target => Path.Combine(Folder, "x.packed");

    [Fact]
    public void Pack_says_what_is_in_the_file_and_inspect_says_the_same()
    {
        SmallPictures.Write(Pictures);
        string output = Good("pack", $"imagefolder:{Pictures}", Target, "--encode", "jpeg", "--quality", "70", "--longest-side", "20", "--raw-share", "0.5", "--seed", "9");
        Assert.Contains($"{Target}: 12 training and 6 test images of 2 classes, ", output);
        Assert.Contains("packing: 18 of 18 images\nverifying: 18 of 18 images\n", output);
        string statistics = Assert.Single(output.Split('\n'), line => line.StartsWith("pixels of the training images", StringComparison.Ordinal));
        string inspected = Good("inspect", Target);
        Assert.Contains($"{Target}: packed file, format version 1, ", inspected);
        Assert.Contains("12 training and 6 test images of 2 classes: left, right\n", inspected);
        Assert.Contains("encoded as JPEG of quality 70, 50 % raw pixels, longest side at most 20; order of seed 9\n", inspected);
        Assert.Contains(statistics, inspected);
        using PackedFile file = PackedFile.Open(Target);
        int raw = Enumerable.Range(0, 12).Count(i => file.Train.FormatOf(i) == ImageFormat.Pnm), shortest = Enumerable.Range(0, 12).Min(file.Train.Length);
        string training = Assert.Single(inspected.Split('\n'), line => line.StartsWith("| training", StringComparison.Ordinal));
        Assert.Equal(["training", "12", $"{12 - raw}", "0", "0", $"{raw}", "15 15 15", "20 20 20"], training.Split('|', StringSplitOptions.TrimEntries)[1..9]);
        Assert.StartsWith($"{shortest} ", training.Split('|', StringSplitOptions.TrimEntries)[9]);
        Assert.Equal("6 6 6", training.Split('|', StringSplitOptions.TrimEntries)[10]);
        Assert.Contains("18 images, ", Good("verify", Target, "--threads", "3"));
    }

    [Fact]
    public void Verify_names_each_damaged_image_and_ends_with_1()
    {
        SmallPictures.Write(Pictures);
        Good("pack", $"imagefolder:{Pictures}", Target);
        long[] offsets;
        using (PackedFile file = PackedFile.Open(Target)) offsets = [file.Entry(3).Offset, file.Entry(13).Offset];
        byte[] bytes = File.ReadAllBytes(Target);
        foreach (long offset in offsets) bytes[offset + 9] ^= 16;
        File.WriteAllBytes(Target, bytes);
        (int code, string output, string error) = FeedbackProgram.Run("verify", Target);
        Assert.Equal(1, code);
        string[] lines = error.TrimEnd('\n').Split('\n');
        Assert.Equal(2, lines.Length);
        Assert.StartsWith($"feedback: {Target}, training image 3, offset {offsets[0]}: the checksum", lines[0]);
        Assert.StartsWith($"feedback: {Target}, test image 1, offset {offsets[1]}: the checksum", lines[1]);
        Assert.Contains("2 faults in 18 images", output);

        bytes[100] ^= 1;
        File.WriteAllBytes(Target, bytes);
        foreach (string command in (string[])["verify", "inspect"])
        {
            (code, _, error) = FeedbackProgram.Run(command, Target);
            Assert.Equal(1, code);
            Assert.StartsWith($"feedback: {Target}, offset 0: the header is damaged", error);
        }
    }

    [Fact]
    public void A_sheet_shows_images_in_order_above_the_names_of_their_classes()
    {
        Directory.CreateDirectory(Path.Combine(Pictures, "train", "red"));
        foreach ((string half, string name, SKColor color) in ((string, string, SKColor)[])[("train", "red", SKColors.Red), ("train", "very-long-name-of-a-blue-class", SKColors.Blue), ("val", "red", SKColors.Lime)])
        {
            string folder = Directory.CreateDirectory(Path.Combine(Pictures, half, name)).FullName;
            using var bitmap = new SKBitmap(40, 20);
            bitmap.Erase(color);
            using SKData png = bitmap.Encode(SKEncodedImageFormat.Png, 100);
            File.WriteAllBytes(Path.Combine(folder, "a.png"), png.ToArray());
        }

        Good("pack", $"imagefolder:{Pictures}", Target);
        string sheet = Path.Combine(Folder, "sheet.png"), output = Good("inspect", Target, "--sheet", sheet);
        Assert.Contains($"contact sheet: {sheet}", output);
        using SKBitmap picture = SKBitmap.Decode(sheet);
        // Three tiles of 128 pixels beside one another, 6 pixels apart; 18 pixels below each for the label.
        Assert.Equal((6 + 3 * 134, 6 + 128 + 18 + 6), (picture.Width, picture.Height));
        SKColor[] middles = [.. Enumerable.Range(0, 3).Select(i => picture.GetPixel(6 + 134 * i + 64, 6 + 64))];
        Assert.Equal([SKColors.Red, SKColors.Blue, SKColors.Lime], middles);
        // An image twice as wide as high fills half of its tile.
        Assert.Equal([SKColors.White, SKColors.Red, SKColors.Red, SKColors.White], ((int[])[30, 32, 95, 97]).Select(row => picture.GetPixel(6 + 5, 6 + row)));
        bool hasFonts = !output.Contains("no fonts", StringComparison.Ordinal);
        if (!hasFonts) Assert.Contains("red, very-long-name-of-a-blue-class, red", output);
        for (int i = 0; i < 3; i++) Assert.Equal(hasFonts, DarkPixels(picture, 6 + 134 * i) > 20);
        // A long name is cut: nothing is written between the tiles.
        for (int row = 0; row < picture.Height; row++) Assert.Equal(SKColors.White, picture.GetPixel(6 + 134 * 2 - 3, row));

        static int DarkPixels(SKBitmap picture, int left) =>
            Enumerable.Range(left, 128).Sum(column => Enumerable.Range(6 + 128, 18).Count(row => picture.GetPixel(column, row).Red < 100));
    }

    [Fact]
    public void A_damaged_picture_is_named_and_can_be_left_out()
    {
        SmallPictures.Write(Pictures);
        string picture = Path.Combine(Pictures, "train", "left", "3-0000.JPEG");
        File.WriteAllBytes(picture, File.ReadAllBytes(picture)[..200]);
        (int code, string output, string error) = FeedbackProgram.Run("pack", $"imagefolder:{Pictures}", Target);
        Assert.Equal(1, code);
        Assert.Contains(picture, Assert.Single(error.TrimEnd('\n').Split('\n')));
        Assert.False(File.Exists(Target));
        output = Good("pack", $"imagefolder:{Pictures}", Target, "--on-damage", "skip");
        Assert.Contains("an interrupted pack goes on after ", output);
        Assert.Contains($"{picture} is left out: ", output);
        Assert.Contains($"1 image is left out; {Target}.damaged.csv lists them", output);
        Assert.Contains("11 training and 6 test images", output);
        Assert.Contains(picture, File.ReadAllText($"{Target}.damaged.csv"));
    }

    [Fact]
    public void Overwrite_replaces_a_file_and_limits_take_a_part()
    {
        SmallPictures.Write(Pictures);
        Good("pack", $"imagefolder:{Pictures}", Target);
        string[] part = ["pack", $"imagefolder:{Pictures}", Target, "--limit-train", "4", "--limit-test", "2"];
        (int code, _, string error) = FeedbackProgram.Run(part);
        Assert.Equal(1, code);
        Assert.Contains("--overwrite", error);
        Assert.Contains("4 training and 2 test images", Good([.. part, "--overwrite"]));
        using PackedFile file = PackedFile.Open(Target);
        Assert.Equal([0, 0, 1, 1], file.Train.Labels);
    }

    [Theory]
    [InlineData("pack synthetic {x}", 1, "sources that can be packed: ")]
    [InlineData("pack imagefolder:/not/there {x}", 1, "/not/there")]
    [InlineData("pack nothing {x}", 1, "nothing")]
    [InlineData("pack imagefolder:{pictures} {x} --longest-side 5 --shortest-side 5 --encode raw", 2, "give one of them")]
    [InlineData("pack imagefolder:{pictures} /not/there/x", 1, "/not/there")]
    [InlineData("pack imagefolder:{pictures}", 2, "")]
    [InlineData("inspect {pictures}", 1, "a folder")]
    [InlineData("verify {x}", 1, "is not there")]
    public void A_wrong_command_line_is_one_clear_line_and_writes_nothing(string line, int expected, string said)
    {
        SmallPictures.Write(Pictures);
        (int code, _, string error) = FeedbackProgram.Run(line.Replace("{x}", Target, StringComparison.Ordinal).Replace("{pictures}", Pictures, StringComparison.Ordinal).Split(' '));
        Assert.Equal(expected, code);
        Assert.Contains(said, Assert.Single(error.TrimEnd('\n').Split('\n')));
        Assert.Equal([Pictures], Directory.GetFileSystemEntries(Folder));
    }

    [Fact]
    public void A_packed_file_trains_to_the_same_bits_as_its_folder()
    {
        SmallPictures.Write(Pictures);
        Good("pack", $"imagefolder:{Pictures}", Target);
        string[] common = ["--model", "lenet", "--train-size", "32", "--test-size", "32", "--batch", "4", "--epochs", "2", "--align-every", "0", "--augment", "crop-flip"];
        string[] models = [.. (((string, string[])[])[($"imagefolder:{Pictures}", []), ($"packed:{Target}", []), ($"packed:{Target}", ["--ram-cache"])]).Select((run, i) =>
        {
            string folder = Path.Combine(Folder, $"run{i}");
            Good(["train", "--data", run.Item1, .. run.Item2, .. common, "--out", folder]);
            return folder;
        })];
        byte[][] weights = [.. models.Select(folder => new Trial("train", folder, "").Model)];
        Assert.Equal(weights[0], weights[1]);
        Assert.Equal(weights[0], weights[2]);
    }

    /// <summary>SIGKILL at random moments; each call goes on where the one before was, and the file is the same as without.</summary>
    [Fact]
    public async Task A_pack_that_is_killed_again_and_again_gives_the_same_file()
    {
        SmallPictures.Write(Pictures, copies: 40, side: 96);
        string whole = Path.Combine(Folder, "whole.packed");
        string[] options = ["--encode", "jpeg", "--raw-share", "0.3", "--threads", "2"];
        Good(["pack", $"imagefolder:{Pictures}", whole, .. options]);
        long length = new FileInfo(whole).Length;
        var random = new Random();
        int kills = 0;
        string output = "";
        for (int attempt = 0; attempt < 40 && !File.Exists(Target); attempt++)
        {
            using Process pack = FeedbackProgram.Start(Folder, ["pack", $"imagefolder:{Pictures}", Target, .. options]);
            Task<(int, string, string)> end = FeedbackProgram.End(pack, TestContext.Current.CancellationToken);
            // Killed when the file has grown by a random part of its length, or a little later.
            long grown = Size(Target + ".partial") + random.NextInt64(length / 6);
            while (!end.IsCompleted && Size(Target + ".partial") < grown) await Task.Delay(1, TestContext.Current.CancellationToken);
            await Task.WhenAny(end, Task.Delay(random.Next(20), TestContext.Current.CancellationToken));
            if (!end.IsCompleted)
            {
                pack.Kill();
                kills++;
            }

            (int code, string said, string error) = await end;
            output += said + error;
            // 128 + 9: SIGKILL.
            Assert.True(code is 0 or 137, output);
            if (File.Exists(Target)) Assert.Equal(File.ReadAllBytes(whole), File.ReadAllBytes(Target));
        }

        // Killed between the last step and the end, it may be whole and the journal still there.
        if (!File.Exists(Target)) Good(["pack", $"imagefolder:{Pictures}", Target, .. options]);
        Assert.Equal(File.ReadAllBytes(whole), File.ReadAllBytes(Target));
        Assert.True(kills > 0);
        Assert.Contains("goes on after", output);

        static long Size(string path) => File.Exists(path) ? new FileInfo(path).Length : 0;
    }

    [Theory]
    [InlineData("INT", 130)]
    [InlineData("TERM", 143)]
    public async Task A_signal_stops_packing_and_the_same_command_goes_on(string signal, int code)
    {
        SmallPictures.Write(Pictures, copies: 60, side: 96);
        string[] line = ["pack", $"imagefolder:{Pictures}", Target, "--encode", "jpeg", "--threads", "1"];
        var start = new ProcessStartInfo("/usr/bin/env", ["--default-signal=INT,TERM", Path.Combine(AppContext.BaseDirectory, "feedback"), .. line]) { RedirectStandardOutput = true, RedirectStandardError = true };
        using Process pack = Process.Start(start)!;
        Task<(int, string, string)> end = FeedbackProgram.End(pack, TestContext.Current.CancellationToken);
        while (!end.IsCompleted && (!File.Exists(Target + ".partial") || new FileInfo(Target + ".partial").Length < 70_000)) await Task.Delay(1, TestContext.Current.CancellationToken);
        using (Process kill = Process.Start("/bin/kill", [$"-{signal}", pack.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)])) await kill.WaitForExitAsync(TestContext.Current.CancellationToken);
        (int ended, _, string error) = await end;
        Assert.Equal((code, "feedback: stopped; the same command goes on from here\n"), (ended, error));
        Assert.False(File.Exists(Target));
        Assert.Contains("goes on after", Good(line));
    }

    [Fact]
    public void Lines_have_the_time_left()
    {
        using var text = new StringWriter { NewLine = "\n" };
        var lines = new ConsoleCounts.Lines(text, TimeSpan.Zero);
        lines.OnProgress(PackStage.Pack, 1, 100);
        Thread.Sleep(30);
        lines.OnProgress(PackStage.Pack, 2, 100);
        lines.OnNote("a note");
        lines.OnProgress(PackStage.Pack, 100, 100);
        lines.OnProgress(PackStage.Verify, 100, 100);
        string[] said = text.ToString().TrimEnd('\n').Split('\n');
        Assert.Equal("packing: 1 of 100 images", said[0]);
        Assert.Matches(@"^packing: 2 of 100 images, 00:00:0[2-9] left$|^packing: 2 of 100 images, 00:\d\d:\d\d left$", said[1]);
        Assert.Equal(["a note", "packing: 100 of 100 images", "verifying: 100 of 100 images"], said[2..]);
        // Between two lines there is a pause.
        using var quiet = new StringWriter();
        var paused = new ConsoleCounts.Lines(quiet, TimeSpan.FromHours(1));
        for (int i = 1; i < 100; i++) paused.OnProgress(PackStage.Pack, i, 100);
        Assert.Equal("", quiet.ToString());
    }

    [Theory]
    [InlineData(79, false)]
    [InlineData(80, true)]
    [InlineData(200, true)]
    public void A_terminal_shows_bars_with_all_numbers(int width, bool bars)
    {
        // Not disposed: the thread that draws the bars may write once more.
        var text = new StringWriter { NewLine = "\n" };
        IAnsiConsole terminal = AnsiConsole.Create(new AnsiConsoleSettings { Ansi = AnsiSupport.Yes, Interactive = InteractionSupport.Yes, Out = new AnsiConsoleOutput(text) });
        terminal.Profile.Width = width;
        Assert.Equal(7, ConsoleCounts.Show(terminal, observer =>
        {
            foreach (PackStage stage in Enum.GetValues<PackStage>())
            {
                observer.OnProgress(stage, 9_999_999, 10_000_000);
                observer.OnNote($"note of {stage}");
                observer.OnProgress(stage, 10_000_000, 10_000_000);
            }

            return 7;
        }));
        string shown = Escapes().Replace(text.ToString(), "");
        Assert.Equal(bars, text.ToString().Contains('\u001b', StringComparison.Ordinal));
        foreach (string words in (string[])["checking what is packed", "packing", "verifying"]) Assert.Contains($"{words}: 10000000 of 10000000 images", shown);
        foreach (PackStage stage in Enum.GetValues<PackStage>()) Assert.Contains($"note of {stage}", shown);
    }

    [Theory]
    [InlineData(0, "0 bytes")]
    [InlineData(1023, "1023 bytes")]
    [InlineData(1024, "1.0 KiB")]
    [InlineData(150L << 30, "150.0 GiB")]
    [InlineData(long.MaxValue, "8.0 EiB")]
    public void Bytes_have_a_unit(long bytes, string text) => Assert.Equal(text, Tables.Bytes(bytes));

    private static string Good(params string[] arguments)
    {
        (int code, string output, string error) = FeedbackProgram.Run(arguments);
        Assert.Equal((0, ""), (code, error));
        return output;
    }

    [GeneratedRegex("\u001b\\[[0-9;?]*[A-Za-z]")]
    private static partial Regex Escapes();
}
