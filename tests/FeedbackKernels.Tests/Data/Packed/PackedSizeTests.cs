using System.Diagnostics;
using FeedbackKernels.Data;
using Microsoft.Win32.SafeHandles;

namespace FeedbackKernels.Tests.Data.Packed;

/// <summary>A file of ten million images: its index has 305 MiB, its images would have a terabyte and are a hole in the file.</summary>
public sealed class PackedSizeTests : FolderTests
{
    private const int Count = 10_000_000, Tested = 50_000, Classes = 1000, ImageBytes = 100_000;

    [Fact]
    public void Ten_million_images_open_in_little_time_and_memory()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "needs files with holes");
        ChildProcess.RunTest(GetType(), nameof(In_a_process_of_its_own));
    }

    [Fact]
    public void In_a_process_of_its_own()
    {
        ChildProcess.Require();
        string path = Path.Combine(Folder, "large.packed");
        ulong checksum = PackedFormat.Checksum(new byte[ImageBytes]);
        Write(path, checksum);
        // The first call compiles the code.
        PackedFile.Open(path).Dispose();
        long memory = Environment.WorkingSet;
        var clock = Stopwatch.StartNew();
        using PackedFile file = PackedFile.Open(path);
        var random = new Random(1);
        int[] some = [.. Enumerable.Range(0, 1000).Select(_ => random.Next(Count - Tested))];
        foreach (int index in some) Assert.Equal(index % Classes, file.Train.Label(index));
        TimeSpan time = clock.Elapsed;
        Assert.True(time < TimeSpan.FromSeconds(1), $"{time}");
        var image = new byte[ImageBytes];
        foreach (int index in some.Take(20)) file.Train.Read([index], image);
        file.Test.Read([Tested - 1], image);
        long grown = Environment.WorkingSet - memory;
        Assert.True(grown < 200L << 20, $"{grown} bytes");
        TestContext.Current.TestOutputHelper?.WriteLine($"{time.TotalMilliseconds:F1} ms, {grown >> 20} MiB");
        // What was read comes from the index, not from nothing: a page that is changed is noticed.
        Assert.Equal((Count - Tested, Tested), (file.Train.Count, file.Test.Count));
        using (SafeFileHandle handle = File.OpenHandle(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite)) RandomAccess.Write(handle, [1], file.Length - 1);
        using PackedFile changed = PackedFile.Open(path);
        Assert.Contains("the checksum", Assert.Throws<InvalidDataException>(() => changed.Test.Label(Tested - 1)).Message);
        Assert.Equal(0, changed.Train.Label(0));
    }

    private static void Write(string path, ulong checksum)
    {
        var description = new PackedDescription
        {
            ClassNames = [.. Enumerable.Range(0, Classes).Select(k => $"n{k:D8}")],
            Means = [0.485, 0.456, 0.406],
            Deviations = [0.229, 0.224, 0.225],
            Preparation = new ImagePreparation(),
            Seed = 1,
            TrainIsGrouped = false,
            TestIsGrouped = false,
        };
        int length = PackedHeader.LengthFor(description, Count);
        using SafeFileHandle file = File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write);
        var checksums = new ulong[PackedFormat.PagesOf(Count)];
        var header = new PackedHeader(description, length, Count - Tested, Tested, (long)Count * ImageBytes, checksums);
        var page = new byte[PackedFormat.PageBytes];
        for (int i = 0; i < checksums.Length; i++)
        {
            int entries = Math.Min(PackedFormat.EntriesOnPage, Count - i * PackedFormat.EntriesOnPage);
            for (int e = 0; e < entries; e++)
            {
                int number = i * PackedFormat.EntriesOnPage + e;
                // 7919 is prime to ten million: each place is taken once.
                long place = number * 7919L % Count;
                new PackedEntry(length + place * ImageBytes, checksum, ImageBytes, number % Classes, 375, 500, ImageFormat.Jpeg).Write(page.AsSpan(e * PackedFormat.EntryBytes));
            }

            checksums[i] = PackedFormat.Checksum(page.AsSpan(0, entries * PackedFormat.EntryBytes));
            RandomAccess.Write(file, page.AsSpan(0, entries * PackedFormat.EntryBytes), header.IndexOffset + (long)i * PackedFormat.PageBytes);
        }

        RandomAccess.Write(file, header.ToBytes(), 0);
    }
}
