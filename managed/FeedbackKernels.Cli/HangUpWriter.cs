using System.Text;

namespace FeedbackKernels.Cli;

/// <summary>Writes to a terminal. After the terminal has been closed, for instance by a broken SSH connection, output is dropped: an
/// error would end the run, and nobody could read the output anyway.</summary>
internal sealed class HangUpWriter(TextWriter terminal) : TextWriter
{
    private bool _gone;

    /// <inheritdoc/>
    public override Encoding Encoding => terminal.Encoding;

    /// <inheritdoc/>
    public override void Write(char value) => Attempt(value, static (writer, c) => writer.Write(c));

    /// <inheritdoc/>
    public override void Write(string? value) => Attempt(value, static (writer, text) => writer.Write(text));

    /// <inheritdoc/>
    public override void Write(char[] buffer, int index, int count) => Attempt(new string(buffer, index, count), static (writer, text) => writer.Write(text));

    /// <inheritdoc/>
    public override void WriteLine(string? value) => Attempt(value, static (writer, text) => writer.WriteLine(text));

    /// <inheritdoc/>
    public override void Flush() => Attempt(0, static (writer, _) => writer.Flush());

    private void Attempt<T>(T value, Action<TextWriter, T> write)
    {
        if (_gone) return;
        try
        {
            write(terminal, value);
        }
        catch (IOException)
        {
            _gone = true;
        }
    }
}
