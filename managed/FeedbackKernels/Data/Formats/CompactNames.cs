using System.Security.Cryptography;
using System.Text;

namespace FeedbackKernels.Data;

/// <summary>
/// A list of names as UTF-8 in one array: the bytes of each name and 4 more, where a string takes 26 bytes and 2 for each character.
/// </summary>
internal sealed class CompactNames
{
    private byte[] _bytes = [];
    private int[] _ends = [];

    /// <summary>Number of names.</summary>
    public int Count { get; private set; }

    /// <summary>The UTF-8 bytes of a name.</summary>
    public ReadOnlySpan<byte> this[int index]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)index, (uint)Count, nameof(index));
            int start = index == 0 ? 0 : _ends[index - 1];
            return _bytes.AsSpan(start, _ends[index] - start);
        }
    }

    /// <summary>A name as text.</summary>
    public string NameOf(int index) => Encoding.UTF8.GetString(this[index]);

    /// <summary>Adds a name that is put together from two parts.</summary>
    /// <exception cref="InvalidDataException">The names take more than 2 GiB.</exception>
    public void Add(ReadOnlySpan<char> prefix, ReadOnlySpan<char> name)
    {
        // A UTF-16 unit takes up to three bytes of UTF-8.
        int used = Reserve(3L * (prefix.Length + name.Length));
        used += Encoding.UTF8.GetBytes(prefix, _bytes.AsSpan(used));
        used += Encoding.UTF8.GetBytes(name, _bytes.AsSpan(used));
        _ends[Count++] = used;
    }

    /// <summary>Adds a name.</summary>
    /// <inheritdoc cref="Add(ReadOnlySpan{char}, ReadOnlySpan{char})"/>
    public void Add(ReadOnlySpan<char> name) => Add(name, []);

    /// <summary>Adds all names of another list.</summary>
    /// <inheritdoc cref="Add(ReadOnlySpan{char}, ReadOnlySpan{char})"/>
    public void Add(CompactNames names)
    {
        for (int i = 0; i < names.Count; i++)
        {
            int end = Reserve(names[i].Length);
            names[i].CopyTo(_bytes.AsSpan(end));
            _ends[Count++] = end + names[i].Length;
        }
    }

    /// <summary>The numbers of the names in the order of their bytes, which is the order of their code points.</summary>
    public int[] SortedOrder()
    {
        int[] order = [.. Enumerable.Range(0, Count)];
        Array.Sort(order, (a, b) => this[a].SequenceCompareTo(this[b]));
        return order;
    }

    /// <summary>The names with these numbers, in this order.</summary>
    public CompactNames Reordered(ReadOnlySpan<int> order)
    {
        int bytes = 0;
        foreach (int index in order) bytes = checked(bytes + this[index].Length);
        var names = new CompactNames { _bytes = new byte[bytes], _ends = new int[order.Length], Count = order.Length };
        int used = 0;
        for (int i = 0; i < order.Length; i++)
        {
            this[order[i]].CopyTo(names._bytes.AsSpan(used));
            used += this[order[i]].Length;
            names._ends[i] = used;
        }

        return names;
    }

    /// <summary>All names, a line each, as one piece for a checksum.</summary>
    public long AppendTo(IncrementalHash hash, ReadOnlySpan<byte> prefix)
    {
        long bytes = 0;
        for (int i = 0; i < Count; i++)
        {
            hash.AppendData(prefix);
            hash.AppendData(this[i]);
            hash.AppendData("\n"u8);
            bytes += prefix.Length + this[i].Length + 1;
        }

        return bytes;
    }

    /// <summary>Makes room for one name.</summary>
    /// <returns>Where it begins.</returns>
    private int Reserve(long bytes)
    {
        int used = Count == 0 ? 0 : _ends[Count - 1];
        long most = used + bytes;
        if (most > Array.MaxLength) throw new InvalidDataException($"the names of the first {Count} images take {used} bytes, the limit is {Array.MaxLength}");
        if (most > _bytes.Length) Array.Resize(ref _bytes, (int)Math.Min(Array.MaxLength, Math.Max(most, 2L * _bytes.Length)));
        if (Count == _ends.Length) Array.Resize(ref _ends, Math.Max(16, 2 * Count));
        return used;
    }
}
