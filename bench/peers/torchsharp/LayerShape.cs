using System.Globalization;

namespace TorchPeer;

/// <summary>A convolution of a model, with square maps and filters: C to K channels, R x R, on H x H.</summary>
internal sealed record LayerShape(string Name, int C, int K, int R, int Stride, int Padding, int H)
{
    /// <summary>Rows and columns of the output.</summary>
    public int P => (H + 2 * Padding - R) / Stride + 1;

    /// <summary>FLOP of the direct convolution: 2 * N*P*P*K * C*R*R.</summary>
    public double Flops(int batch) => 2.0 * batch * P * P * K * C * R * R;

    /// <summary>Reads lines of <c>name,C,K,R,stride,padding,H</c>, the output of the command <c>shapes</c> of our benchmarks.</summary>
    public static IEnumerable<LayerShape> Read(TextReader input)
    {
        while (input.ReadLine() is { } line)
        {
            if (line.Length == 0 || line[0] == '#') continue;
            string[] fields = line.Split(',');
            if (fields.Length != 7) throw new InvalidDataException($"shape '{line}': expected name,C,K,R,stride,padding,H");
            int[] n = [.. fields.Skip(1).Select(f => int.Parse(f, CultureInfo.InvariantCulture))];
            yield return new LayerShape(fields[0], n[0], n[1], n[2], n[3], n[4], n[5]);
        }
    }
}
