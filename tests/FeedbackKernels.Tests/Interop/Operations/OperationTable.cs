using System.Reflection;
using System.Text;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Interop.Operations;

/// <summary>The table in tests/README.md: each public operation, with the number of wrong calls of each kind that it rejects.</summary>
internal static class OperationTable
{
    private static readonly (Wrong Kind, string Title)[] Columns =
    [
        (Wrong.Null, "null"), (Wrong.DisposedBuffer, "disposed buffer"), (Wrong.DisposedBackend, "disposed backend"), (Wrong.Thread, "thread"),
        (Wrong.Length, "length"), (Wrong.Type, "type"), (Wrong.Overlap, "overlap"), (Wrong.Enum, "enum"), (Wrong.Size, "size, overflow"),
        (Wrong.Number, "number"), (Wrong.Contents, "contents"),
    ];

    /// <summary>Makes the calls.</summary>
    /// <param name="create">A backend that has every kind of operand.</param>
    /// <param name="createCuda">A backend for the operations that only CUDA has; null if there is none.</param>
    /// <param name="present">The present table, from which those lines are taken if there is no CUDA backend.</param>
    public static string Of(Func<Backend> create, Func<Backend>? createCuda, string present)
    {
        var table = new StringBuilder($"| operation | {string.Join(" | ", Columns.Select(c => c.Title))} |\n|{string.Concat(Columns.Select(_ => "---|"))}---|\n");
        foreach (MethodInfo method in OperationCases.MethodsOf(typeof(Backend))) table.Append(Line(method, create));
        foreach (MethodInfo method in OperationCases.MethodsOf(typeof(CudaBackend)))
        {
            string start = Start(method);
            table.Append(createCuda is not null
                ? Line(method, createCuda)
                : present.Split('\n').Single(line => line.StartsWith(start, StringComparison.Ordinal)) + "\n");
        }

        return table.ToString();
    }

    private static string Start(MethodInfo method) =>
        $"| `{(method.DeclaringType == typeof(Backend) ? "" : $"{method.DeclaringType!.Name}.")}{OperationCases.NameOf(method)}` |";

    private static string Line(MethodInfo method, Func<Backend> create)
    {
        IReadOnlyList<Wrong> refused = OperationTests.RefusesAllWrongCalls(OperationCases.Find(OperationCases.NameOf(method)), create);
        IEnumerable<int> counts = Columns.Select(c => refused.Count(kind => kind == c.Kind));
        return $"{Start(method)} {string.Join(" | ", counts.Select(n => n == 0 ? "" : $"{n}"))} |\n";
    }
}
