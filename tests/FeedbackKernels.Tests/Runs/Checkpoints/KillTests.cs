using System.Diagnostics;
using System.Globalization;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;
using FeedbackKernels.Tests.Cli;

namespace FeedbackKernels.Tests.Runs.Checkpoints;

/// <summary>
/// Kills the program at random moments while it trains and saves its state after every step, goes on, kills it again, and compares the
/// end with that of a run that was never stopped. Every rule of the catalogue takes part. FEEDBACK_KILLS sets the number of kills for
/// each rule, FEEDBACK_KILL_SEED the moments.
/// </summary>
public sealed class KillTests : IDisposable
{
    private const string Small =
        "--model resnet8 --limit-train 70 --limit-test 16 --batch 16 --epochs 3 --checkpoint-every 1 --threads 1";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-kill").FullName;

    public static TheoryData<string> Rules() => [.. RuleCatalog.All.Select(rule => rule.Name), "weight-mirror --mirror-samples 5 --mirror-warm-up 3",
        "weight-mirror --mirror-samples 5 --mirror-update average --mirror-warm-up 3", "weight-mirror --mirror-samples 5 --mirror-follow true --mirror-warm-up 3"];

    private static int Kills => int.Parse(Environment.GetEnvironmentVariable("FEEDBACK_KILLS") ?? "3", CultureInfo.InvariantCulture);

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory, MemberData(nameof(Rules))]
    public async Task A_run_that_is_killed_again_and_again_ends_with_the_same_bits(string rule)
    {
        int seed = int.Parse(Environment.GetEnvironmentVariable("FEEDBACK_KILL_SEED") ?? "1", CultureInfo.InvariantCulture);
        var random = new Random(seed ^ rule.Length << 8 ^ rule[0]);
        string undisturbed = Path.Combine(_folder, "undisturbed");
        var clock = Stopwatch.StartNew();
        Assert.Equal((0, ""), await End(Train(rule, undisturbed)));
        double usual = clock.Elapsed.TotalMilliseconds;

        int kills = 0, ended = 0;
        while (kills < Kills)
        {
            string run = Path.Combine(_folder, $"run-{ended++}");
            bool over = false;
            while (!over && kills < Kills)
            {
                // Before the configuration is written there is nothing to go on with.
                using Process process = StoppedRun.IsIn(run) ? Resume(run, random) : Train(rule, run, overwrite: true);
                over = process.WaitForExit((int)(random.NextDouble() * usual));
                if (over) Assert.Equal(0, process.ExitCode);
                else
                {
                    process.Kill();
                    await process.WaitForExitAsync(TestContext.Current.CancellationToken);
                    kills++;
                }
            }

            if (!over) Assert.Equal(0, (await End(StoppedRun.IsIn(run) ? Resume(run, random) : Train(rule, run, overwrite: true))).Code);
            EqualRuns.Assert(undisturbed, run, $"{rule}, seed {seed}");
            Directory.Delete(run, recursive: true);
        }
    }

    private Process Train(string rule, string run, bool overwrite = false)
    {
        // The usual warm-up would take most of the time.
        string usual = rule == "weight-mirror" ? " --mirror-warm-up 6" : "";
        string[] options = [.. $"--rule {rule}{usual} {Small}".Split(' '), "--out", run];
        return FeedbackProgram.Start(_folder, ["train", .. options, .. overwrite ? (string[])["--overwrite"] : []]);
    }

    // The number of threads changes no bit.
    private Process Resume(string run, Random random) =>
        FeedbackProgram.Start(_folder, "resume", run, "--threads", random.Next(1, 4).ToString(CultureInfo.InvariantCulture));

    private static async Task<(int Code, string Error)> End(Process process)
    {
        using (process)
        using (var stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken))
        {
            stop.CancelAfter(Patience);
            (int code, _, string error) = await FeedbackProgram.End(process, stop.Token);
            return (code, error);
        }
    }
}
