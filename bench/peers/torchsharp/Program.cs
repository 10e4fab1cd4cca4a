// PyTorch's CPU library (libtorch, through TorchSharp): single convolutions and whole training steps, fp32.
//
//   build  see ../README.md: Debian 12 needs glibcxx_compat.py and iosinit.cpp
//   run    torchsharp-peer conv --batch 16 --layout nhwc < shapes.csv     prints
//          conv,torch,LAYOUT,SHAPE,PASS,GFLOPS_MEDIAN,GFLOPS_BEST
//          torchsharp-peer step --model resnet18 --batch 32               prints
//          model,torch,LAYOUT,MODEL,BATCH,IMAGES_PER_S_MEDIAN,IMAGES_PER_S_BEST
//          memory,torch,LAYOUT,MODEL,BATCH,MIB                            peak resident set
// nhwc is channels_last. The times include the allocation of outputs, as in every PyTorch program.
using System.CommandLine;
using TorchPeer;
using TorchSharp;

var threads = new Option<int>("--threads") { Description = "Threads.", DefaultValueFactory = _ => Environment.ProcessorCount };
var batch = new Option<int>("--batch") { Description = "Images in a batch.", DefaultValueFactory = _ => 16 };
var layout = new Option<string>("--layout") { Description = "nchw or nhwc (channels_last).", DefaultValueFactory = _ => "nhwc" };
layout.AcceptOnlyFromAmong("nchw", "nhwc");

var budget = new Option<double>("--budget") { Description = "Seconds to measure for each figure.", DefaultValueFactory = _ => 0.6 };
var conv = new Command("conv", "Measures GFLOP/s of the convolutions listed on the standard input.") { threads, batch, layout, budget };
conv.SetAction(parsed =>
{
    torch.set_num_threads(parsed.GetValue(threads));
    foreach (LayerShape shape in LayerShape.Read(Console.In))
        ConvBenchmark.Run(shape, parsed.GetValue(batch), parsed.GetValue(layout)!, parsed.GetValue(budget));
});

var model = new Option<string>("--model") { Description = "Model.", DefaultValueFactory = _ => "resnet18" };
model.AcceptOnlyFromAmong([.. ResNet.Names]);
var rounds = new Option<int>("--rounds") { Description = "Steps to measure, after two for warm-up.", DefaultValueFactory = _ => 15 };
var step = new Command("step", "Measures images per second of whole training steps.") { threads, batch, layout, model, rounds };
step.SetAction(parsed =>
{
    torch.set_num_threads(parsed.GetValue(threads));
    StepBenchmark.Run(parsed.GetValue(model)!, parsed.GetValue(batch), parsed.GetValue(layout)!, parsed.GetValue(rounds));
});

return new RootCommand("Measures libtorch on this machine.") { conv, step }.Parse(args).Invoke();
