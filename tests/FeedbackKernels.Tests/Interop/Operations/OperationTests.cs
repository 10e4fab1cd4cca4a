using System.Reflection;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Conformance;
using FeedbackKernels.Tests.Cuda;
using FeedbackKernels.Tests.Docs;

namespace FeedbackKernels.Tests.Interop.Operations;

/// <summary>
/// Every public operation of every backend: a valid call passes, each call with one wrong argument throws the documented exception,
/// and afterwards all buffers have the same bits as before. The calls are derived from <see cref="OperationCases"/>.
/// </summary>
public class OperationTests
{
    /// <summary>If this is set to 1, the table is written to tests/README.md; otherwise it is compared with the one there.</summary>
    internal const string WriteTables = "FEEDBACK_WRITE_TABLES";

    public static MatrixTheoryData<string, string> CasesAndBackends => new(
        OperationCases.MethodsOf(typeof(Backend)).Select(OperationCases.NameOf), ["reference", "reference, bf16", .. new Candidates().Select(row => row.Data)]);

    public static TheoryData<string> CudaCases => [.. OperationCases.MethodsOf(typeof(CudaBackend)).Select(OperationCases.NameOf)];

    [Fact]
    public void Every_public_method_and_every_parameter_has_its_case()
    {
        MethodInfo[] methods = [.. OperationCases.MethodsOf(typeof(Backend)), .. BackendTypes.SelectMany(OperationCases.MethodsOf)];
        Assert.Equal(methods.Select(OperationCases.NameOf).Order(), OperationCases.All.Select(c => c.Name).Order());
        foreach (MethodInfo method in methods)
        {
            OperationCase operation = OperationCases.Find(OperationCases.NameOf(method));
            (string[] views, string[] settings) = ParametersOf(method);
            Assert.Equal(views.Order(), operation.Operands.Select(o => o.Path).Order());
            Assert.Equal(settings.Order(), operation.Settings.Select(s => s.Path).Order());
        }
    }

    [Theory, MemberData(nameof(CasesAndBackends))]
    public void A_wrong_argument_is_refused_and_nothing_is_written(string name, string backend) =>
        RefusesAllWrongCalls(OperationCases.Find(name), () => Create(backend));

    [Theory, MemberData(nameof(CudaCases))]
    public void What_a_cuda_backend_adds_refuses_as_much(string name)
    {
        CudaUnderTest.Require();
        RefusesAllWrongCalls(OperationCases.Find(name), () => CudaUnderTest.CreateBackend());
    }

    [Theory, MemberData(nameof(CasesAndBackends))]
    public void Results_beside_their_operands_and_where_they_may_be_them_are_taken(string name, string backend)
    {
        using var rig = new OperationRig(() => Create(backend), OperationCases.Find(name));
        foreach ((Arguments arguments, _, _, _) in WrongCalls.Placements(rig).Where(p => p.Allowed)) rig.Call(arguments);
        // Optional operands may be absent, each alone and all together.
        Arguments least = rig.Valid;
        foreach (Operand operand in rig.Operation.Operands.Where(o => o.Optional))
        {
            rig.Call(rig.Valid.With(operand.Path, default(BufferView)));
            least = least.With(operand.Path, default(BufferView));
        }

        rig.Call(least);
    }

    [Fact]
    public void The_table_in_the_readme_is_what_the_operations_check()
    {
        Assert.SkipWhen(NamedFiles.Root is null, "the tests run outside the repository");
        string path = Path.Combine(NamedFiles.Root!, "tests", "README.md"), text = File.ReadAllText(path);
        string[] parts = text.Split("<!-- operations -->\n");
        Assert.Equal(3, parts.Length);
        string table = OperationTable.Of(() => new ReferenceBackend(ElementType.BFloat16), CudaUnderTest.IsThere ? () => CudaUnderTest.CreateBackend() : null, parts[1]);
        if (Environment.GetEnvironmentVariable(WriteTables) == "1")
            File.WriteAllText(path, string.Join("<!-- operations -->\n", parts[0], table, parts[2]));
        else Assert.Equal(parts[1], table);
    }

    /// <summary>Makes the wrong calls and returns their kinds.</summary>
    internal static IReadOnlyList<Wrong> RefusesAllWrongCalls(OperationCase operation, Func<Backend> create)
    {
        using var rig = new OperationRig(create, operation);
        byte[] guards = rig.Guards();
        rig.Call(rig.Valid);
        rig.Backend.Synchronize();
        byte[] before = rig.Bytes();
        WrongCall[] calls = [.. WrongCalls.Of(rig, create)];
        foreach (WrongCall call in calls)
        {
            AssertRefused(call);
            rig.Backend.Synchronize();
            Assert.True(before.AsSpan().SequenceEqual(rig.Bytes()), $"{call.Text}: something was written");
        }

        rig.Call(rig.Valid);
        rig.Backend.Synchronize();
        Assert.Equal(guards, rig.Guards());
        return [.. calls.Select(c => c.Kind)];
    }

    private static IEnumerable<Type> BackendTypes => typeof(Backend).Assembly.GetTypes().Where(t => t.IsSubclassOf(typeof(Backend)));

    private static void AssertRefused(WrongCall call)
    {
        Exception? e = Record.Exception(call.Run);
        Assert.True(e is not null, $"{call.Kind}: {call.Text} was not refused");
        // A number or a size may be rejected as such, or because it makes other arguments wrong.
        bool kind = call.Exception == typeof(ArgumentException) && call.Kind is Wrong.Size or Wrong.Number or Wrong.Enum
            ? e is ArgumentException
            : e.GetType() == call.Exception;
        Assert.True(kind, $"{call.Kind}: {call.Text} was refused by {e.GetType().Name}, wanted {call.Exception.Name}: {e.Message}");
        if (call.Kind is Wrong.Enum) Assert.IsType<ArgumentOutOfRangeException>(e);
        string said = e is ArgumentException argument ? $"{argument.ParamName} {e.Message}" : e.Message;
        bool named = said.Contains(call.Names, StringComparison.OrdinalIgnoreCase)
            || (e is ArgumentException { ParamName: { } parameter } && call.Names.EndsWith(parameter, StringComparison.OrdinalIgnoreCase));
        Assert.True(named, $"{call.Kind}: {call.Text} is not named by '{said}'");
    }

    private static Backend Create(string name) => name switch
    {
        "reference" => new ReferenceBackend(),
        "reference, bf16" => new ReferenceBackend(ElementType.BFloat16),
        _ => Candidates.Create(name),
    };

    /// <summary>The buffers and the other parameters of a method, with the members of structs that contain buffers as separate
    /// entries.</summary>
    private static (string[] Views, string[] Settings) ParametersOf(MethodInfo method)
    {
        var views = new List<string>();
        var settings = new List<string>();
        foreach (ParameterInfo parameter in method.GetParameters()) Add(parameter, "");
        return ([.. views], [.. settings]);

        void Add(ParameterInfo parameter, string prefix)
        {
            Type type = parameter.ParameterType.IsByRef ? parameter.ParameterType.GetElementType()! : parameter.ParameterType;
            string path = prefix + parameter.Name;
            if (type == typeof(BufferView) || type == typeof(ReadOnlySpan<BufferView>)) views.Add(path);
            else if (HoldsViews(type))
            {
                foreach (ParameterInfo member in type.GetConstructors().MaxBy(c => c.GetParameters().Length)!.GetParameters()) Add(member, $"{path}.");
            }
            else settings.Add(path);
        }
    }

    private static bool HoldsViews(Type type) => type.IsValueType && !type.IsPrimitive && !type.IsEnum && type.Assembly == typeof(Backend).Assembly
        && type.GetProperties(BindingFlags.Public | BindingFlags.Instance).Any(p => p.PropertyType == typeof(BufferView) || HoldsViews(p.PropertyType));
}
