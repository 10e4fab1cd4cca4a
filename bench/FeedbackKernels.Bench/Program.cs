using System.CommandLine;
using BenchmarkDotNet.Running;
using FeedbackKernels.Bench;

// "layers" and "step" print CSV within seconds, for runs in turn with other programs; anything else goes to
// BenchmarkDotNet (--list flat shows its benchmarks).
if (args is not (["layers" or "step", ..])) return BenchmarkSwitcher.FromAssembly(typeof(Timing).Assembly).Run(args).Any() ? 0 : 1;
var root = new RootCommand("Benchmarks of the kernels and of whole training steps.") { LayersCommand.Create(), StepCommand.Create() };
return root.Parse(args).Invoke();
