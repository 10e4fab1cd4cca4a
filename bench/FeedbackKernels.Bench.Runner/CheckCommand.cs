using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;

namespace FeedbackKernels.Bench;

/// <summary>
/// <c>check</c>: computes every distinct convolution of a model, or given shapes, with each kernel of the CUDA backend's list that serves it,
/// and compares each with the next one, and the last with the CPU. Lines are
/// <c>check,feedback-kernels,shape,pass,operands,kernel,other kernel,ok,largest error,bound</c>; where two differ, <c>WRONG</c> takes the place
/// of ok, and a line after it names the first element that differs.
/// </summary>
internal static class CheckCommand
{
    private const int MostWrong = 20;

    public static Command Create()
    {
        var model = new Option<string>("--model") { Description = "A ResNet.", DefaultValueFactory = _ => "resnet18" };
        var batch = new Option<int>("--batch") { Description = "Images in a batch.", DefaultValueFactory = _ => 8 };
        var filter = new Option<string>("--filter") { Description = "Check only layers whose name contains this.", DefaultValueFactory = _ => "" };
        var shape = new Option<LayerShape[]>("--shape")
        {
            Description = "A convolution to check in place of the model's, as N,H,W,C,K,R,S,stride,padding. Can be given several times.",
            HelpName = "sizes",
            CustomParser = ParseShapes,
        };
        var precision = new Option<CudaPrecision>("--precision") { Description = "Number format of activations and products." };
        var device = new Option<int>("--device") { Description = "GPU, by its number in the driver's list, from 0." };
        var traversal = new Option<bool>("--traversal-strides") { Description = "On Hopper, read pixels at stride 2 by one tensor map with element strides, in place of a map for each plane of every second pixel." };
        var command = new Command("check", "Compares the CUDA kernels that can compute a convolution with each other and with the CPU, element by element.")
        {
            model, batch, filter, shape, precision, device, traversal,
        };
        command.SetAction(parsed =>
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(parsed.GetValue(batch), "--batch");
            string text = parsed.GetValue(filter)!;
            LayerShape[] given = parsed.GetValue(shape) ?? [];
            LayerShape[] layers =
                [.. (given.Length > 0 ? given : LayerShapes.Of(parsed.GetValue(model)!, parsed.GetValue(batch))).Where(l => l.Name.Contains(text, StringComparison.Ordinal))];
            if (layers.Length == 0) throw new ArgumentException($"--filter '{text}' leaves no layer of {parsed.GetValue(model)}");
            using var cuda = new CudaBackend(parsed.GetValue(device), precision: parsed.GetValue(precision)) { TraversalStrides = parsed.GetValue(traversal) };
            using var cpu = new CpuBackend(exact: true);
            return Check(cuda, cpu, layers, parsed.InvocationConfiguration.Output);
        });
        return command;
    }

    private static int Check(CudaBackend cuda, CpuBackend cpu, LayerShape[] layers, TextWriter output)
    {
        int compared = 0, wrong = 0;
        foreach (LayerShape layer in layers)
        {
            foreach (Operands operands in Enum.GetValues<Operands>())
            {
                using var convolution = new CheckedConvolution(cuda, cpu, layer.Shape, operands);
                foreach (CheckedPass pass in Enum.GetValues<CheckedPass>())
                {
                    foreach (CheckedPair pair in convolution.Compare(pass))
                    {
                        compared++;
                        output.WriteLine(string.Create(
                            CultureInfo.InvariantCulture,
                            $"check,feedback-kernels,{layer.Name},{NameOf(pass)},{operands.ToString().ToLowerInvariant()},{pair.Kernel},{pair.Other},{(pair.FirstWrong is null ? "ok" : "WRONG")},{pair.LargestError:G3},{pair.Bound:G3}"));
                        if (pair.FirstWrong is not { } first) continue;
                        output.WriteLine($"  {layer.Name} ({layer.Shape}), {NameOf(pass)}: {first}");
                        if (++wrong == MostWrong)
                        {
                            output.WriteLine($"{wrong} comparisons failed: the rest is left out");
                            return Runner.Failure;
                        }
                    }
                }
            }
        }

        output.WriteLine($"{compared} comparisons{(cuda.TraversalStrides ? " with element strides" : "")}, {wrong} failed");
        return wrong == 0 ? 0 : Runner.Failure;
    }

    /// <summary>The name of a pass, as in <c>bench layers</c>.</summary>
    internal static string NameOf(CheckedPass pass) => pass switch
    {
        CheckedPass.Forward => "fwd",
        CheckedPass.Feedback => "bwd_data",
        CheckedPass.FeedbackByW => "bwd_data_by_w",
        _ => "bwd_weights",
    };

    private static LayerShape[]? ParseShapes(ArgumentResult result)
    {
        var shapes = new List<LayerShape>();
        foreach (Token token in result.Tokens)
        {
            string[] words = token.Value.Split(',');
            int[] n = new int[words.Length];
            bool numbers = words.Select((word, i) => int.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out n[i])).All(parsed => parsed);
            if (!numbers || n.Length != 9)
            {
                result.AddError($"--shape is '{token.Value}', wanted are nine numbers, N,H,W,C,K,R,S,stride,padding");
                return null;
            }

            shapes.Add(new LayerShape(token.Value.Replace(',', 'x'), new ConvShape(n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8]), Count: 1));
        }

        return [.. shapes];
    }
}
