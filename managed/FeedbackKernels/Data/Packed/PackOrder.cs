using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

/// <summary>The order of the image data of packed files.</summary>
internal static class PackOrder
{
    /// <summary>Numbers of all images, training images first, in the order of their data: each half is shuffled (Fisher-Yates), the training
    /// images lie before the test images.</summary>
    public static int[] Of(int train, int test, ulong seed)
    {
        int[] order = [.. Enumerable.Range(0, checked(train + test))];
        Shuffle(order.AsSpan(0, train), new RandomKey(seed, RandomPurpose.PackedFiles, 0));
        Shuffle(order.AsSpan(train), new RandomKey(seed, RandomPurpose.PackedFiles, 1));
        return order;
    }

    private static void Shuffle(Span<int> numbers, RandomKey key)
    {
        var random = new RandomSequence(key);
        for (int i = numbers.Length - 1; i > 0; i--)
        {
            int j = random.NextInt(i + 1);
            (numbers[i], numbers[j]) = (numbers[j], numbers[i]);
        }
    }
}
