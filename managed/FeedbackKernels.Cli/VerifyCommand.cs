using System.CommandLine;
using FeedbackKernels.Data;
using FeedbackKernels.Settings;

namespace FeedbackKernels.Cli;

/// <summary><c>feedback verify</c>: every checksum of a packed file.</summary>
internal static class VerifyCommand
{
    private const int MostThreads = 1024, Damaged = 1;

    public static Command Create()
    {
        var path = new Argument<string>("file") { Description = "A packed file." };
        Setting<int> threads = Names.Number("--threads", Use.Always, 0, new Bounds(0, MostThreads), "Number of threads; 0 for one per processor.");
        var command = new Command("verify", "Reads a packed file and checks every checksum: of the header, the index and each image. Exit code 1 if something is damaged.") { path, threads };
        command.SetAction(parsed =>
        {
            using PackedFile file = PackedFile.Open(parsed.GetValue(path)!);
            long total = (long)file.Train.Count + file.Test.Count;
            using var interrupt = new Interrupt();
            IReadOnlyList<string> faults = ConsoleCounts.Show(
                observer => PackedVerification.Verify(file, parsed.GetValue(threads), done => observer.OnProgress(PackStage.Verify, done, total), interrupt.Token));
            foreach (string fault in faults) Console.Error.WriteLine($"feedback: {fault}");
            Console.WriteLine(faults.Count == 0
                ? $"{file.Path}: {total} images, {Tables.Bytes(file.Length)}, every checksum is right"
                : $"{file.Path}: {faults.Count} {(faults.Count == 1 ? "fault" : "faults")} in {total} images, {Tables.Bytes(file.Length)}");
            return faults.Count == 0 ? 0 : Damaged;
        });
        return command;
    }
}
