using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Bench.Peers;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;

namespace FeedbackKernels.Tests.Bench;

/// <summary>The evaluation of our figures and those of the peers, without running a peer.</summary>
public sealed class ComparisonTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-bench").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("resnet18", 11)]
    [InlineData("resnet20", 8)]
    [InlineData("resnet50", 23)]
    public void Shapes_are_printed_as_the_peers_read_them(string model, int count)
    {
        string[] lines = Bench("shapes", "--model", model);
        Assert.Equal(count, lines.Length);
        foreach ((string line, LayerShape layer) in lines.Zip(LayerShapes.Of(model, 4)))
        {
            string[] fields = line.Split(',');
            Assert.Equal(7, fields.Length);
            int[] n = [.. fields.Skip(1).Select(int.Parse)];
            Assert.Equal(layer.Name, fields[0]);
            Assert.Equal(layer.Shape, new ConvShape(4, n[5], n[5], n[0], n[1], n[2], n[2], n[3], n[4]));
        }
    }

    [Fact]
    public void The_mirror_reads_a_layer_in_a_cycle_and_trails_one_that_drifts()
    {
        string[] tiny = ["mirror", "--model", "resnet20", "--filter", "1x1s2", "--batch", "2", "--samples", "4", "--budget", "0.001"];
        string[] still = Bench(tiny), drifting = Bench([.. tiny, "--drift", "0.1"]), early = Bench([.. tiny, "--steps", "1"]);
        Assert.Equal(["r20_1x1s2_16-32@32", "r20_1x1s2_32-64@16", "all"], still.Select(line => line.Split(',')[3]));
        Assert.All(still, line => Assert.StartsWith("mirror,feedback-kernels,balanced,", line));
        Assert.All(still, line => Assert.Equal("4", line.Split(',')[4]));
        Assert.All(still, line => Assert.InRange(Number(line, 5), 0, 1000));
        Assert.All(still, line => Assert.InRange(Number(line, 6), 1e-3, 1e6));
        Assert.All(still, line => Assert.InRange(Number(line, 7), 0, 0.1));
        // Four and eight steps of a tenth of the norm; B is the mean over them, some ten degrees away.
        Assert.All(drifting, line => Assert.InRange(Number(line, 7), 4, 30));
        // B has not been updated yet, and was drawn independently of W.
        Assert.All(early, line => Assert.InRange(Number(line, 7), 70, 110));

        static double Number(string line, int field) => double.Parse(line.Split(',')[field], CultureInfo.InvariantCulture);
    }

    [Fact]
    public void The_mirror_keeps_its_law()
    {
        string[] lines = Bench("law", "--model", "resnet20", "--filter", "32", "--rate", "0.1", "--samples", "16", "--out", _folder);
        Assert.Equal(LayerShapes.Of("resnet20", 1).Skip(1).Count(layer => layer.Name.Contains("32", StringComparison.Ordinal)), lines.Length - 1);
        // 16 (2 - 0.1) / 0.1 = 304 samples: atan sqrt(145 / 304) = 34.63 degrees for 144 inputs, atan sqrt(17 / 304) = 13.30 for 16.
        Assert.Contains(lines, line => line.Contains(",144,304,34.63,", StringComparison.Ordinal));
        Assert.Contains(lines, line => line.Contains(",16,304,13.30,", StringComparison.Ordinal));
        // A small layer is some degrees off by chance; the law at twice the samples would be ten off.
        Assert.All(lines, line => Assert.InRange(double.Parse(line.Split(',')[7], CultureInfo.InvariantCulture), -4, 4));
        Assert.StartsWith("law,feedback-kernels,largest,", lines[^1]);
        Assert.Contains("</svg>", File.ReadAllText(Path.Combine(_folder, "mirror-law.svg")));
        Assert.True(new FileInfo(Path.Combine(_folder, "mirror-law.png")).Length > 10_000);
    }

    [Fact]
    public void Lines_of_every_kind_are_read()
    {
        Assert.Equal(
            new ConvFigure("onednn-2.6.3", "nhwc", "r18_3x3_64-64@56", "bwd_data", 412.5, 430),
            Figure.Parse("conv,onednn-2.6.3,nhwc,r18_3x3_64-64@56,bwd_data,412.5,430.0,jit:avx512_core"));
        Assert.Equal(
            new ConvFigure("torch", "nhwc", "a", "fwd", 1, 2), Figure.Parse("conv,torch,nhwc,a,fwd,1,2"));
        Assert.Equal(new StepFigure("torch", "nhwc", "resnet18", 32, 20.5, 21), Figure.Parse("model,torch,nhwc,resnet18,32,20.5,21"));
        Assert.Equal(
            new MemoryFigure("feedback-kernels", "backprop", "resnet18", 32, 1500), Figure.Parse("memory,feedback-kernels,backprop,resnet18,32,1500"));
        Assert.Equal(new CeilingFigure("peak", "fma512", 2, 430.1, 450), Figure.Parse("peak,fma512,2,430.1,450.0"));
        Assert.Null(Figure.Parse("# winograd: not for this shape"));
        Assert.Null(Figure.Parse(""));
        Assert.True(Figure.Parse("memory,feedback-kernels,backprop,resnet18,32,1500")!.IsOurs);
    }

    [Theory]
    [InlineData("conv,torch,nhwc,a,fwd,1")]
    [InlineData("conv,torch,nhwc,a,fwd,fast,2")]
    [InlineData("conv,torch,nhwc,a,fwd,0,2")]
    [InlineData("conv,torch,nhwc,a,fwd,NaN,2")]
    [InlineData("model,torch,nhwc,resnet18,3.5,20,21")]
    [InlineData("Segmentation fault")]
    public void A_line_that_is_no_figure_is_named(string line) =>
        Assert.Contains($"'{line}'", Assert.Throws<InvalidDataException>(() => Figure.Parse(line)).Message);

    [Fact]
    public void Ratios_are_of_medians_against_the_best_peer()
    {
        Comparison comparison = Example();
        IReadOnlyList<Contest> layers = comparison.Layers();
        Assert.Equal(3, layers.Count);
        // Ours 100, 300, 200; any 90, 110, 400; nhwc 80, 160, 120.
        Assert.Equal(new Contest("a", "fwd", 200, "onednn nhwc", 120), layers[0]);
        Assert.Equal(200.0 / 120, layers[0].Ratio, 12);
        Assert.Equal(0.5, layers[1].Ratio, 12);
        Assert.Null(layers[2].Peer);
        Assert.True(double.IsNaN(layers[2].Ratio));

        Contest memory = Assert.Single(comparison.Memory());
        Assert.Equal(new Contest("resnet18", "batch 32", 1000, "torch nhwc", 2000), memory);
        // The ceilings of all threads: one thread reads more here.
        Assert.Equal(450, comparison.Ceiling("peak"));
        Assert.Equal(70, comparison.Ceiling("bandwidth"));
        Assert.Null(new Comparison().Ceiling("peak"));
    }

    [Fact]
    public void Means_are_the_textbook_ones()
    {
        Assert.Equal(3, Comparison.Median([5, 3, 1]));
        Assert.Equal(4, Comparison.Median([5, 3, 1, 9]));
        Assert.Throws<ArgumentException>(() => Comparison.Median([]));
        Assert.Equal(1, Comparison.GeometricMean([4, 0.25]), 12);
        Assert.Equal(2, Comparison.GeometricMean([1, 2, 4]), 12);
    }

    [Fact]
    public void The_report_has_every_place_the_means_and_the_failures()
    {
        string report = ComparisonReport.Markdown(Example(), "title", ["torch on b: ended by signal 8"]);
        Assert.StartsWith("# title\n", report);
        Assert.Contains("FMA peak 450 GFLOP/s, memory 70.0 GB/s", report);
        Assert.Contains("| a | fwd | 200 | 120 | onednn nhwc | 1.67 |", report);
        Assert.Contains("| a | bwd_weights | 70 | - | - | - |", report);
        // sqrt(5/3 * 1/2)
        Assert.Contains("| all | 0.91 | 0.50 | a bwd_data |", report);
        Assert.Contains("- torch on b: ended by signal 8", report);
        string[] csv = ComparisonReport.Csv(Example()).TrimEnd('\n').Split('\n');
        Assert.Equal("kind,subject,detail,ours,peer,theirs,ratio", csv[0]);
        Assert.Equal("conv,a,fwd,200.00,onednn nhwc,120.00,1.667", csv[1]);
        Assert.All(csv, line => Assert.Equal(7, line.Split(',').Length));
    }

    [Fact]
    public void The_roofline_is_drawn_with_and_without_peers()
    {
        RooflinePoint[] points =
        [
            new("a", "fwd", 5, 100, 80), new("a", "bwd_data", 5, 90, 120), new("b", "bwd_weights", 80, 600, double.NaN),
        ];
        Roofline.Write(points, peak: 450, bandwidth: 60, _folder);
        byte[] png = File.ReadAllBytes(Path.Combine(_folder, "roofline.png"));
        Assert.Equal([0x89, (byte)'P', (byte)'N', (byte)'G'], png[..4]);
        Assert.True(png.Length > 10_000, $"{png.Length} bytes");
        string svg = File.ReadAllText(Path.Combine(_folder, "roofline.svg"));
        Assert.Contains("<svg", svg);
        Assert.Contains("</svg>", svg);
        Assert.Throws<ArgumentException>(() => Roofline.Write([], 450, 60, _folder));
    }

    [Fact]
    public void Intensity_counts_each_operand_once()
    {
        // 2*N*P*Q*K*C*R*S = 2*2*16*8*4 = 2048 FLOP; x 2*16*4, W 32, y 2*16*8 floats.
        var shape = new ConvShape(2, 4, 4, 4, 8, 1, 1, 1, 0);
        Assert.Equal(2048.0 / (4 * (128 + 32 + 256)), RooflinePoint.IntensityOf(shape), 12);
    }

    [Fact]
    public void A_missing_compiler_is_named_with_its_package()
    {
        Directory.CreateDirectory(Path.Combine(_folder, "x"));
        File.WriteAllText(Path.Combine(_folder, "x", "x.cpp"), "");
        var build = new CppBuild(_folder, Path.Combine(_folder, "out"), "x/x.cpp", [], Compiler: "no-such-compiler");
        string message = Assert.Throws<FileNotFoundException>(build.Ensure).Message;
        Assert.Contains("no-such-compiler", message);
        Assert.Contains("apt-get install g++", message);
        Assert.Contains("is not there", Assert.Throws<DirectoryNotFoundException>((build with { File = "y/y.cpp" }).Ensure).Message);
    }

    private static string[] Bench(params string[] arguments)
    {
        using var text = new StringWriter { NewLine = "\n" };
        Assert.Equal(0, FeedbackKernels.Bench.Program.Commands().Parse(arguments).Invoke(new InvocationConfiguration { Output = text }));
        return text.ToString().TrimEnd('\n').Split('\n');
    }

    private static Comparison Example()
    {
        var comparison = new Comparison();
        string[] lines =
        [
            "1,conv,feedback-kernels,direct,a,fwd,100,100", "2,conv,feedback-kernels,direct,a,fwd,300,300", "3,conv,feedback-kernels,direct,a,fwd,200,200",
            "1,conv,onednn,any,a,fwd,90,90", "2,conv,onednn,any,a,fwd,110,110", "3,conv,onednn,any,a,fwd,400,400",
            "1,conv,onednn,nhwc,a,fwd,80,80", "2,conv,onednn,nhwc,a,fwd,160,160", "3,conv,onednn,nhwc,a,fwd,120,120",
            "1,conv,feedback-kernels,direct,a,bwd_data,50,50", "1,conv,onednn,any,a,bwd_data,100,100,jit",
            "1,conv,feedback-kernels,direct,a,bwd_weights,70,70", "1,conv,onednn,any,elsewhere,fwd,70,70", "1,# a remark",
            "1,memory,feedback-kernels,backprop,resnet18,32,1000", "1,memory,torch,nhwc,resnet18,32,2000", "1,memory,torch,nchw,resnet18,32,3000",
            "0,peak,fma512,1,900,900", "0,peak,fma512,2,440,450", "0,peak,fma256,2,220,225", "0,bandwidth,read,2,50,70",
        ];
        foreach (string line in lines)
        {
            int comma = line.IndexOf(',', StringComparison.Ordinal);
            comparison.Add(line[0] - '0', line[(comma + 1)..]);
        }

        return comparison;
    }
}
