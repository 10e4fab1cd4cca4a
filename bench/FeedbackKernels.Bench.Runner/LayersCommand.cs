using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;

namespace FeedbackKernels.Bench;

/// <summary><c>layers</c>: measures every distinct convolution of a model in each pass. Lines are
/// <c>conv,feedback-kernels,algorithm,shape,pass,gflops_median,gflops_best</c>.</summary>
internal static class LayersCommand
{
    private static readonly (ConvPass Pass, string Name)[] Passes =
        [(ConvPass.Forward, "fwd"), (ConvPass.Feedback, "bwd_data"), (ConvPass.WeightGradient, "bwd_weights")];

    public static Command Create()
    {
        var model = new Option<string>("--model") { Description = "A ResNet.", DefaultValueFactory = _ => "resnet18" };
        var batch = new Option<int>("--batch") { Description = "Images in a batch.", DefaultValueFactory = _ => 16 };
        var filter = new Option<string>("--filter") { Description = "Measure only layers whose name contains this.", DefaultValueFactory = _ => "" };
        var choice = new BackendOptions();
        var budget = new Option<double>("--budget") { Description = "Seconds to measure for each figure. More give steadier figures.", DefaultValueFactory = _ => 0.6 };
        var command = new Command("layers", "Measures GFLOP/s of every distinct convolution of a model in each pass.") { model, batch, filter, budget };
        choice.AddTo(command);
        command.SetAction(parsed =>
        {
            using Backend backend = choice.Create(parsed);
            foreach (LayerShape layer in LayerShapes.Of(parsed.GetValue(model)!, parsed.GetValue(batch)))
            {
                if (!layer.Name.Contains(parsed.GetValue(filter)!, StringComparison.Ordinal)) continue;
                using var operands = new ConvOperands(backend, layer.Shape);
                foreach ((ConvPass pass, string name) in Passes)
                {
                    Timing time = Timing.Of(backend, () => operands.Run(pass), parsed.GetValue(budget));
                    string algorithm = backend.Explain(layer.Shape, pass).Algorithm.Replace(",", "", StringComparison.Ordinal);
                    parsed.InvocationConfiguration.Output.WriteLine(string.Create(
                        CultureInfo.InvariantCulture,
                        $"conv,feedback-kernels,{algorithm},{layer.Name},{name},{layer.Shape.Flops / time.Median / 1e9:F1},{layer.Shape.Flops / time.Best / 1e9:F1}"));
                }
            }
        });
        return command;
    }
}
