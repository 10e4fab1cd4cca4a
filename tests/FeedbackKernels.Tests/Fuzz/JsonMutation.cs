using System.Text;
using System.Text.Json.Nodes;
using CsCheck;

namespace FeedbackKernels.Tests.Fuzz;

/// <summary>A change to one value of a JSON text that keeps it valid JSON: another type, another number, a key missing or
/// duplicated.</summary>
/// <param name="Kind">Kind of change.</param>
/// <param name="Target">Index of the value in the order of the text, modulo the number of values.</param>
/// <param name="Choice">Selects the new value.</param>
internal sealed record JsonMutation(int Kind, uint Target, uint Choice)
{
    private const int Kinds = 6, Depth = 1000;

    private static readonly string[] Fragments =
    [
        "null", "true", "false", "0", "-1", "1", "-0", "1.5", "1e400", "-1e400", "2147483648", "9223372036854775807", "9223372036854775808", "18446744073709551616",
        "123456789012345678901234567890", "0.1e-5", "\"\"", "\"x\"", "\"\\ud800\"", "\"F32\"", "\"U64\"", "\"NaN\"", "[]", "{}", "[0]", "[0,0,0]", "[[]]", "[null]", "{\"a\":1}",
        "{\"a\":1,\"a\":2}", "{\"rule\":\"none\"}", "{\"rule\":null}", "{\"rule\":\"weight-mirror\"}", "[{}]", "\"\\u0000\"",
        new string('[', Depth) + new string(']', Depth), new string('[', Depth), string.Concat(Enumerable.Repeat("{\"a\":", 60)) + "1" + new string('}', 60),
    ];

    /// <summary>Any mutation.</summary>
    public static Gen<JsonMutation> Any { get; } =
        Gen.Select(Gen.Int[0, Kinds - 1], Gen.UInt, Gen.UInt).Select((kind, target, choice) => new JsonMutation(kind, target, choice));

    /// <summary>The changed text; a text that is not valid JSON is returned unchanged.</summary>
    public string Apply(string text)
    {
        JsonNode? root;
        try
        {
            root = JsonNode.Parse(text);
            return new Writer(this, (int)(Target % (uint)Count(root))).Write(root);
        }
        catch (Exception e) when (e is System.Text.Json.JsonException or ArgumentException or InvalidOperationException)
        {
            return text;
        }
    }

    private static int Count(JsonNode? node) => node switch
    {
        JsonObject map => 1 + map.Sum(pair => Count(pair.Value)),
        JsonArray list => 1 + list.Sum(Count),
        _ => 1,
    };

    private sealed class Writer(JsonMutation mutation, int target)
    {
        private readonly StringBuilder _text = new();
        private int _next;

        public string Write(JsonNode? root)
        {
            Value(root);
            return _text.ToString();
        }

        private string Fragment => Fragments[mutation.Choice % (uint)Fragments.Length];

        private void Value(JsonNode? node)
        {
            if (_next++ == target && mutation.Kind <= 2)
            {
                _text.Append(mutation.Kind == 2 ? $"[{Fragment},{node?.ToJsonString() ?? "null"}]" : Fragment);
                return;
            }

            switch (node)
            {
                case JsonObject map:
                    Members(map);
                    break;
                case JsonArray list:
                    _text.Append('[');
                    for (int i = 0; i < list.Count; i++)
                    {
                        if (i > 0) _text.Append(',');
                        Value(list[i]);
                    }

                    _text.Append(']');
                    break;
                default:
                    _text.Append(node?.ToJsonString() ?? "null");
                    break;
            }
        }

        private void Members(JsonObject map)
        {
            var members = new List<string>();
            foreach ((string name, JsonNode? value) in map)
            {
                bool here = _next == target;
                int start = _text.Length;
                Value(value);
                string written = _text.ToString(start, _text.Length - start), key = JsonValue.Create(name).ToJsonString();
                _text.Length = start;
                if (here && mutation.Kind == 3) continue;
                members.Add($"{key}:{written}");
                if (here && mutation.Kind == 4) members.Add($"{key}:{(mutation.Choice % 2 == 0 ? written : Fragment)}");
                if (here && mutation.Kind == 5) members.Add($"\"{(mutation.Choice % 3 == 0 ? "__metadata__" : "other")}\":{Fragment}");
            }

            _text.Append('{').AppendJoin(',', members).Append('}');
        }
    }
}
