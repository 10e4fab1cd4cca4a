namespace FeedbackKernels.Data;

/// <summary>Checks every checksum of a packed file.</summary>
public static class PackedVerification
{
    // Images that a thread takes at a time: enough that threads do not wait for each other, few enough that the disk reads in order.
    private const int ImagesAtOnce = 16;

    /// <summary>Reads the whole file and lists what is damaged. The header has been checked when the file was opened.</summary>
    /// <param name="file">The file.</param>
    /// <param name="threads">Number of threads; 0 for one per processor.</param>
    /// <param name="progress">Called with the number of images that have been checked, from one thread at a time; may be null.</param>
    /// <param name="cancel">Stops the check.</param>
    /// <returns>A message for each damaged page of the index and each damaged image, in the order of the file's images; empty if nothing is
    /// damaged.</returns>
    /// <exception cref="OperationCanceledException">The check was stopped.</exception>
    public static IReadOnlyList<string> Verify(PackedFile file, int threads = 0, Action<long>? progress = null, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        var faults = new SortedDictionary<long, string>();
        (long[] offsets, long[] numbers) = ReadIndex(file, faults, cancel);
        bool whole = faults.Count == 0;
        // In the order of the data, so that the disk reads forward.
        Array.Sort(offsets, numbers);
        if (whole) FindGaps(file, numbers, faults);
        long done = file.Header.Count - numbers.Length;
        var gate = new Lock();
        int parts = (numbers.Length + ImagesAtOnce - 1) / ImagesAtOnce;
        var options = new ParallelOptions { MaxDegreeOfParallelism = threads == 0 ? Environment.ProcessorCount : threads, CancellationToken = cancel };
        Parallel.For(0, parts, options, () => Array.Empty<byte>(), (part, _, buffer) =>
        {
            ReadOnlySpan<long> mine = numbers.AsSpan(part * ImagesAtOnce, Math.Min(ImagesAtOnce, numbers.Length - part * ImagesAtOnce));
            foreach (long number in mine)
            {
                if (Check(file, number, ref buffer) is not { } fault) continue;
                lock (gate) faults[number] = fault;
            }

            lock (gate) progress?.Invoke(done += mine.Length);
            return buffer;
        }, _ => { });
        return [.. faults.Values];
    }

    /// <summary>Offsets and numbers of the images with valid entries.</summary>
    private static (long[] Offsets, long[] Numbers) ReadIndex(PackedFile file, SortedDictionary<long, string> faults, CancellationToken cancel)
    {
        long count = file.Header.Count;
        List<long> offsets = new((int)Math.Min(count, Array.MaxLength)), numbers = new((int)Math.Min(count, Array.MaxLength));
        for (long first = 0; first < count; first += PackedFormat.EntriesOnPage)
        {
            cancel.ThrowIfCancellationRequested();
            if (Fault(() => file.CheckPage((int)(first / PackedFormat.EntriesOnPage))) is { } page)
            {
                faults[first] = page;
                continue;
            }

            for (long number = first; number < Math.Min(first + PackedFormat.EntriesOnPage, count); number++)
            {
                long offset = 0;
                if (Fault(() => offset = file.Entry(number).Offset) is { } entry)
                {
                    faults[number] = entry;
                    continue;
                }

                offsets.Add(offset);
                numbers.Add(number);
            }
        }

        return ([.. offsets], [.. numbers]);
    }

    /// <summary>The images fill the data without gaps; bytes between them would have no checksum.</summary>
    private static void FindGaps(PackedFile file, long[] numbers, SortedDictionary<long, string> faults)
    {
        long end = file.Header.DataOffset;
        foreach (long number in numbers)
        {
            PackedEntry entry = file.Entry(number);
            if (entry.Offset != end) faults[number] = $"{file.NameOf(number)}, offset {entry.Offset}: expected offset {end}, where the image before it ends";
            end = entry.End;
        }

        if (end != file.Header.IndexOffset) faults[numbers[^1]] = $"{file.NameOf(numbers[^1])}, offset {end}: the image data end here, expected {file.Header.IndexOffset}";
    }

    private static string? Check(PackedFile file, long number, ref byte[] buffer)
    {
        PackedEntry entry = file.Entry(number);
        if (buffer.Length < entry.Length) buffer = new byte[entry.Length];
        byte[] bytes = buffer;
        return Fault(() => file.Read(number, entry, bytes.AsSpan(0, entry.Length)));
    }

    // A part of the disk that cannot be read is damage like a wrong checksum: the rest of the file is still checked.
    private static string? Fault(Action check)
    {
        try
        {
            check();
            return null;
        }
        catch (Exception e) when (e is InvalidDataException or IOException)
        {
            return e.Message;
        }
    }
}
