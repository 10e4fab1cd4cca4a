using System.Text;

namespace FeedbackKernels.Cli;

/// <summary>Puts a prefix in front of each line.</summary>
/// <param name="to">Where the lines go.</param>
/// <param name="prefix">The prefix.</param>
internal sealed class LinePrefixWriter(TextWriter to, string prefix) : TextWriter
{
    private bool _inLine;

    public override Encoding Encoding => to.Encoding;

    public override void Write(char value)
    {
        if (!_inLine) to.Write(prefix);
        _inLine = value != '\n';
        to.Write(value);
    }

    // Whole lines at once: those of several processes do not mix.
    public override void WriteLine(string? value)
    {
        if (_inLine) to.WriteLine(value);
        else to.WriteLine(prefix + value);
        _inLine = false;
    }

    public override void Flush() => to.Flush();
}
