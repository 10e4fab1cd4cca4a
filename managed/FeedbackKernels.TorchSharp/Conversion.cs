using System.Collections;
using System.Reflection;
using FeedbackKernels.Rules;
using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace FeedbackKernels.TorchSharp;

/// <summary>Replaces the layers of a model. The constructor checks everything and changes nothing.</summary>
internal sealed class Conversion
{
    private readonly List<Target> _targets = [];

    /// <exception cref="NotSupportedException">A layer cannot be converted.</exception>
    /// <exception cref="ArgumentException">There is no layer to convert, or an exception that is no layer.</exception>
    public Conversion(nn.Module model, IReadOnlyCollection<string> except)
    {
        List<(string Name, nn.Module Module)> modules = [.. model.named_modules().DistinctBy(named => named.module)];
        foreach (string name in except)
        {
            if (!modules.Exists(named => IsWithin(named.Name, name)))
                throw new ArgumentException($"there is no layer '{name}' in the model; there are {string.Join(", ", modules.Select(named => named.Name))}", nameof(except));
        }

        if (model is Conv2d or Linear) throw new NotSupportedException($"a single {model.GetType().Name} cannot be replaced in place; create a feedback layer instead");
        uint number = 0;
        foreach ((string name, nn.Module module) in modules.Where(named => named.Module is Conv2d or Linear))
        {
            if (!except.Any(excepted => IsWithin(name, excepted))) _targets.Add(new Target(name, module, number));
            number++;
        }

        if (_targets.Count == 0) throw new ArgumentException("there is no Conv2d or Linear layer to convert", nameof(model));
        Dictionary<nn.Module, Target> byModule = _targets.ToDictionary(target => target.Module);
        foreach (nn.Module owner in modules.Select(named => named.Module).Prepend(model)) FindPlaces(owner, byModule);
        string[] problems = [.. _targets.Where(target => target.Refusal is not null).Select(target => $"{target.Name}: {target.Refusal}")];
        if (problems.Length > 0)
            throw new NotSupportedException($"these layers cannot be converted; leave them out with 'except'.{Environment.NewLine}{string.Join(Environment.NewLine, problems)}");
    }

    /// <summary>Replaces the layers.</summary>
    public void Apply(FeedbackRule rule, ulong seed)
    {
        // All new layers are made before the first is put in place.
        List<FeedbackLayer> made = [.. _targets.Select(target => target.Create(rule, seed))];
        for (int i = 0; i < made.Count; i++)
        {
            foreach (Action<nn.Module> put in _targets[i].Places) put(made[i]);
        }
    }

    private static bool IsWithin(string name, string part) => name == part || name.StartsWith(part + ".", StringComparison.Ordinal);

    private static void FindPlaces(object owner, Dictionary<nn.Module, Target> targets, bool registry = false)
    {
        for (Type? type = owner.GetType(); type is not null && type != typeof(object); type = type.BaseType)
        {
            foreach (FieldInfo field in type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
            {
                switch (field.GetValue(owner))
                {
                    case nn.Module module:
                        if (targets.TryGetValue(module, out Target? held))
                            held.Add(field.FieldType, $"the field '{field.Name}' of {type.Name}", registry, replacement => field.SetValue(owner, replacement));
                        break;
                    case OrderedDict<string, nn.Module> modules:
                        // TorchSharp's own list of children: names and moves go through it, forward() does not.
                        FindPlaces(modules, targets, registry: true);
                        break;
                    case IDictionary dictionary:
                        foreach (DictionaryEntry entry in dictionary)
                        {
                            if (entry.Value is nn.Module value && targets.TryGetValue(value, out Target? named))
                                named.Add(TypeOfValues(dictionary), $"the dictionary '{field.Name}' of {type.Name}", registry, replacement => dictionary[entry.Key] = replacement);
                        }

                        break;
                    case IList list:
                        FindPlaces(list, $"the list '{field.Name}' of {type.Name}", targets, registry);
                        break;
                }
            }
        }
    }

    private static void FindPlaces(IList list, string what, Dictionary<nn.Module, Target> targets, bool registry)
    {
        Type elements = Arguments(list, typeof(IList<>))?[0] ?? typeof(object);
        if (elements.IsPrimitive) return;
        for (int i = 0; i < list.Count; i++)
        {
            int place = i;
            if (list[i] is nn.Module module)
            {
                if (targets.TryGetValue(module, out Target? held)) held.Add(elements, what, registry, replacement => list[place] = replacement);
            }
            else if (list[i] is System.ValueType and System.Runtime.CompilerServices.ITuple)
            {
                // (name, layer), as ModuleDict keeps them.
                foreach (FieldInfo item in list[i]!.GetType().GetFields())
                {
                    if (item.GetValue(list[i]) is not nn.Module inside || !targets.TryGetValue(inside, out Target? held)) continue;
                    held.Add(item.FieldType, what, registry, replacement =>
                    {
                        object tuple = list[place]!;
                        item.SetValue(tuple, replacement);
                        list[place] = tuple;
                    });
                }
            }
        }
    }

    private static Type TypeOfValues(IDictionary dictionary) => Arguments(dictionary, typeof(IDictionary<,>))?[1] ?? typeof(object);

    private static Type[]? Arguments(object collection, Type generic) =>
        collection.GetType().GetInterfaces().FirstOrDefault(type => type.IsGenericType && type.GetGenericTypeDefinition() == generic)?.GetGenericArguments();

    /// <summary>A layer to replace, and everything that holds it.</summary>
    private sealed class Target(string name, nn.Module module, uint number)
    {
        private bool _isUsed;
        private string? _wrongPlace;

        public string Name { get; } = name;

        public nn.Module Module { get; } = module;

        public List<Action<nn.Module>> Places { get; } = [];

        private Type Replacement => Module is Conv2d ? typeof(FeedbackConv2d) : typeof(FeedbackLinear);

        public string? Refusal => (Module is Conv2d conv ? FeedbackConv2d.Refusal(conv) : FeedbackLinear.Refusal((Linear)Module))
            ?? (HasHooks(Module) ? "it has forward hooks, which the new layer would not have; register them after the conversion" : null)
            ?? _wrongPlace
            ?? (_isUsed ? null : "its parent holds it in no field, list or dictionary that could be changed, so forward() would go on using the old layer");

        public void Add(Type type, string what, bool registry, Action<nn.Module> put)
        {
            if (!type.IsAssignableFrom(Replacement))
                _wrongPlace = $"{what} is declared for {type.Name} and cannot hold a {Replacement.Name}; declare it as Module<Tensor, Tensor>";
            Places.Add(put);
            _isUsed |= !registry;
        }

        public FeedbackLayer Create(FeedbackRule rule, ulong seed)
        {
            FeedbackLayer made = Module is Conv2d conv ? new FeedbackConv2d(conv, rule, seed, number) : new FeedbackLinear((Linear)Module, rule, seed, number);
            made.train(Module.training);
            return made;
        }

        private static bool HasHooks(nn.Module module) =>
            ((string[])["pre_hooks", "post_hooks", "module_pre_hooks", "module_post_hooks"]).Any(field => Find(module.GetType(), field)?.GetValue(module) is ICollection { Count: > 0 });

        private static FieldInfo? Find(Type? type, string field)
        {
            FieldInfo? found = null;
            for (; type is not null && found is null; type = type.BaseType) found = type.GetField(field, BindingFlags.Instance | BindingFlags.NonPublic | BindingFlags.DeclaredOnly);
            return found;
        }
    }
}
