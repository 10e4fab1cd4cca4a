namespace FeedbackKernels.Data;

/// <summary>
/// CIFAR-100 in its official binary form (Krizhevsky 2009): like CIFAR-10's, but each record has two labels: one of
/// 20 coarse classes and one of 100 fine classes.
/// </summary>
public static class Cifar100
{
    private const string Fine = "fine", Coarse = "coarse";

    /// <summary>The catalogue's entry.</summary>
    public static SourceKind Kind { get; } = new("cifar100", "CIFAR-100's binary version, with its 100 fine or 20 coarse classes")
    {
        Variants = [Fine, Coarse],
        Open = request => Read(request.Place, request.Variant == Coarse),
        OpenTest = request => ReadTest(request.Place, request.Variant == Coarse),
    };

    private static readonly string[] FineNames =
    [
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy", "bridge", "bus",
        "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch",
        "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house",
        "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle",
        "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
        "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark",
        "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table",
        "tank", "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree",
        "wolf", "woman", "worm",
    ];

    private static readonly string[] CoarseNames =
    [
        "aquatic_mammals", "fish", "flowers", "food_containers", "fruit_and_vegetables", "household_electrical_devices",
        "household_furniture", "insects", "large_carnivores", "large_man-made_outdoor_things", "large_natural_outdoor_scenes",
        "large_omnivores_and_herbivores", "medium_mammals", "non-insect_invertebrates", "people", "reptiles", "small_mammals", "trees",
        "vehicles_1", "vehicles_2",
    ];

    /// <summary>Reads train.bin and test.bin of a folder, or of the <c>cifar-100-binary</c> in it.</summary>
    /// <param name="directory">The folder.</param>
    /// <param name="coarse">Use the 20 coarse classes instead of the 100 fine ones.</param>
    /// <exception cref="IOException">A file does not exist or cannot be read.</exception>
    /// <exception cref="InvalidDataException">A file has the wrong length or another format, or a label is not a class.</exception>
    public static DataSet Read(string directory, bool coarse = false) => Format(coarse).Read(directory);

    /// <summary>Reads test.bin alone.</summary>
    /// <inheritdoc cref="Read"/>
    public static TestSet ReadTest(string directory, bool coarse = false) => Format(coarse).ReadTest(directory);

    internal static CifarFormat Format(bool coarse, int trainRecords = 50_000, int testRecords = 10_000) => new()
    {
        Kind = Kind.Name,
        Archive = "cifar-100-binary.tar.gz",
        Folder = "cifar-100-binary",
        PythonFolder = "cifar-100-python",
        TrainFiles = ["train.bin"],
        TestFiles = ["test.bin"],
        TrainRecords = trainRecords,
        TestRecords = testRecords,
        LabelClasses = [CoarseNames.Length, FineNames.Length],
        Label = coarse ? 0 : 1,
        NamesFile = coarse ? "coarse_label_names.txt" : "fine_label_names.txt",
        Names = coarse ? CoarseNames : FineNames,
    };
}
