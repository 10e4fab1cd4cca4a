using System.Reflection;
using System.Xml.Linq;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;

namespace FeedbackKernels.Tests.Docs;

/// <summary>The documentation of the public API. That every public member has some is checked by the compiler (CS1591).</summary>
public sealed class ApiDocumentationTests
{
    public static readonly TheoryData<string> Assemblies = [typeof(Backend).Assembly.GetName().Name!, typeof(Model).Assembly.GetName().Name!];

    [Theory]
    [MemberData(nameof(Assemblies))]
    public void EveryParameterIsDocumented(string name)
    {
        var assembly = Assembly.Load(name);
        (string Id, XElement Text)[] members =
            [.. XDocument.Load(Path.Combine(AppContext.BaseDirectory, $"{name}.xml")).Descendants("member").Select(m => (m.Attribute("name")!.Value, m))];
        (string Id, XElement Text)[] methods = [.. members.Where(m => m.Id.StartsWith("M:", StringComparison.Ordinal) && ParametersOf(m.Id) > 0 && IsVisible(assembly, m.Id))];
        Assert.True(methods.Length > 50, $"only {methods.Length} public methods of {name} have documentation");
        string[] missing =
        [
            .. methods.Where(m => !m.Text.Elements("inheritdoc").Any())
                .Where(m => m.Text.Elements("param").Count(p => p.Value.Trim().Length > 0 || p.HasElements) != ParametersOf(m.Id)).Select(m => m.Id),
        ];
        Assert.True(missing.Length == 0, $"parameters without documentation: {string.Join(", ", missing)}");
    }

    /// <summary>Parameters of a method by its name in the documentation, as <c>M:A.B.C(System.Func{System.Int32,System.Int32},System.Int32)</c>.</summary>
    private static int ParametersOf(string id)
    {
        int start = id.IndexOf('(', StringComparison.Ordinal), depth = 0, count = 1;
        if (start < 0) return 0;
        foreach (char c in id[start..])
        {
            if (c is '{' or '[') depth++;
            else if (c is '}' or ']') depth--;
            else if (c == ',' && depth == 0) count++;
        }

        return count;
    }

    /// <summary>Whether users can see a method with that name and as many parameters. Operators have no parameters that need words.</summary>
    private static bool IsVisible(Assembly assembly, string id)
    {
        string path = id[2..id.IndexOf('(', StringComparison.Ordinal)];
        int dot = path.LastIndexOf('.');
        string method = path[(dot + 1)..].Replace('#', '.').Split('`')[0];
        if (method.StartsWith("op_", StringComparison.Ordinal) || TypeOf(assembly, path[..dot]) is not { IsVisible: true } type) return false;
        return type.GetMembers(BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly)
            .OfType<MethodBase>().Any(m => m.Name == method && (m.IsPublic || m.IsFamily || m.IsFamilyOrAssembly) && m.GetParameters().Length == ParametersOf(id));
    }

    /// <summary>A type, which may be nested in others.</summary>
    private static Type? TypeOf(Assembly assembly, string name)
    {
        for (string candidate = name; ;)
        {
            if (assembly.GetType(candidate) is { } type) return type;
            int dot = candidate.LastIndexOf('.');
            if (dot < 0) return null;
            candidate = string.Concat(candidate.AsSpan(0, dot), "+", candidate.AsSpan(dot + 1));
        }
    }
}
