using System.CommandLine;
using FeedbackKernels.Data;
using FeedbackKernels.Runs;
using FeedbackKernels.Settings;

namespace FeedbackKernels.Cli;

/// <summary><c>feedback pack</c>: the images of a source in one file.</summary>
internal sealed class PackCommand
{
    private const int MostThreads = 1024;

    private readonly Argument<string> _source = new("source") { Description = $"Encoded images: {SourceCatalog.EncodedForms}." };
    private readonly Argument<string> _destination = new("file") { Description = "The file to write." };
    private readonly Setting<PackEncoding> _encode = Names.Choice(
        "--encode", Use.Always, PackEncoding.Keep,
        "How images are stored. keep: the bytes of the source; jpeg: encoded again; raw: pixels, which load fastest and need the most room.");
    private readonly Setting<double> _rawShare;
    private readonly Setting<int> _quality;
    private readonly Setting<int?> _longest, _shortest;
    private readonly Setting<ulong> _seed = Names.Number<ulong>(
        "--seed", Use.Always, 1, Bounds.AtLeast(0), "Seed of the order in which the images lie in the file, and of the choice for --raw-share. The numbers of the images do not depend on it.");
    private readonly Setting<OnDamage> _onDamage = Names.Choice(
        "--on-damage", Use.Always, OnDamage.Fail, "What happens if an image cannot be decoded: fail ends with an error, skip leaves it out. Both list it in FILE.damaged.csv.");
    private readonly Setting<int> _threads = Names.Number("--threads", Use.Always, 0, new Bounds(0, MostThreads), "Number of threads; 0 for one per processor. The file does not depend on it.");
    private readonly Setting<int?> _limitTrain = LimitOption("--limit-train", "training"), _limitTest = LimitOption("--limit-test", "test");
    private readonly Setting<bool> _overwrite = Names.Switch("--overwrite", Use.Always, false, "Replace a file of this name. It stays as it is until the new one is whole.");

    private PackCommand()
    {
        var jpeg = new Use("--encode jpeg", (parsed, _) => parsed.GetValue(_encode) == PackEncoding.Jpeg);
        var notRaw = new Use("--encode keep or jpeg", (parsed, _) => parsed.GetValue(_encode) != PackEncoding.Raw);
        var decoded = new Use("--encode jpeg or raw, or --raw-share", (parsed, _) => parsed.GetValue(_encode) != PackEncoding.Keep || parsed.GetValue(_rawShare!) > 0);
        _quality = Names.Number("--quality", jpeg, ImagePreparation.UsualQuality, new Bounds(1, 100), "Quality of JPEG, 1 to 100.");
        _rawShare = Names.Number<double>("--raw-share", notRaw, 0, new Bounds(0, 1), "Share of the images that is stored as pixels, 0 to 1. More of them load faster and need more room.");
        _longest = SideOption("--longest-side", decoded, "longer");
        _shortest = SideOption("--shortest-side", decoded, "shorter");
    }

    public static Command Create()
    {
        var options = new PackCommand();
        var command = new Command("pack", "Writes the training and test images of a source to one file, which loads faster and can be checked. An interrupted call goes on where it stopped if it is repeated.")
        {
            options._source, options._destination, options._encode, options._longest, options._shortest, options._quality, options._rawShare,
            options._seed, options._onDamage, options._threads, options._limitTrain, options._limitTest, options._overwrite,
        };
        command.SetAction(options.Run);
        return command;
    }

    private int Run(ParseResult parsed)
    {
        UnusedOptions.Refuse(parsed, new RunConfig());
        if (parsed.GetValue(_longest) is not null && parsed.GetValue(_shortest) is not null)
            throw new UsageException("--longest-side and --shortest-side are both given; give one of them");
        PackOptions options = Read(parsed);
        string destination = parsed.GetValue(_destination)!;
        Packer.RequirePlace(destination, options.Overwrite);
        DataSet data = DataSet.Open(parsed.GetValue(_source)!, options.Seed, parsed.GetValue(_limitTrain), parsed.GetValue(_limitTest));
        Tables.PrintNotes(data.Notes);
        using var interrupt = new Interrupt();
        try
        {
            PackResult result = ConsoleCounts.Show(observer => Packer.Pack(data, destination, options, observer, interrupt.Token));
            Print(destination, data, result);
            return 0;
        }
        catch (OperationCanceledException) when (interrupt.Token.IsCancellationRequested)
        {
            Console.Error.WriteLine("feedback: stopped; the same command goes on from here");
            return interrupt.ExitCode;
        }
    }

    private PackOptions Read(ParseResult parsed)
    {
        PackEncoding encode = parsed.GetValue(_encode);
        return new PackOptions
        {
            Preparation = new ImagePreparation
            {
                Encode = encode,
                LongestSide = parsed.GetValue(_longest),
                ShortestSide = parsed.GetValue(_shortest),
                Quality = encode == PackEncoding.Jpeg ? parsed.GetValue(_quality) : null,
                RawShare = parsed.GetValue(_rawShare),
            },
            Seed = parsed.GetValue(_seed),
            OnDamage = parsed.GetValue(_onDamage),
            Threads = parsed.GetValue(_threads),
            Overwrite = parsed.GetValue(_overwrite),
        };
    }

    private static void Print(string destination, DataSet data, PackResult result)
    {
        if (result.Damaged.Count > 0)
            Console.WriteLine($"{(result.Damaged.Count == 1 ? "1 image is" : $"{result.Damaged.Count} images are")} left out; {Packer.DamagedListOf(destination)} lists them");
        Console.WriteLine($"{destination}: {result.TrainCount} training and {result.TestCount} test images of {data.ClassNames.Count} classes, {Tables.Bytes(result.Length)}, every checksum verified");
        Console.WriteLine(InspectCommand.Describe(result.Statistics));
    }

    private static Setting<int?> SideOption(string name, Use use, string side) => Names.OptionalNumber<int>(
        name, use, new Bounds(1, ushort.MaxValue), $"Resize images whose {side} side has more than N pixels to N. Smaller images keep their size. Does not apply to images whose bytes are kept.");

    private static Setting<int?> LimitOption(string name, string images) =>
        Names.OptionalNumber<int>(name, Use.Always, Bounds.AtLeast(1), $"Pack only N {images} images, for a quick trial.");
}
