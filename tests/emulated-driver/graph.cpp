// Graphs: kernels and their dependencies. Each launch runs the kernels in a random order that the dependencies allow.
#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "driver.h"
#include "kernel_call.h"
#include "results.h"
#include "stream.h"

using namespace emulated;

namespace {

struct Node
{
    KernelCall call;
    std::vector<std::size_t> after;
};

struct Graph
{
    std::vector<std::unique_ptr<Node>> nodes;
};

struct Executable
{
    // May be destroyed before; its nodes are invalid then.
    std::weak_ptr<Graph> origin;
    std::vector<Node> nodes;
};

// CUDA_KERNEL_NODE_PARAMS_v2.
struct KernelParameters
{
    void* function;
    unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes;
    void** parameters;
    void** extra;
    void* kernel;
    void* context;
};

static_assert(sizeof(KernelParameters) == 72, "as cuda.h has it");

// What there is, and the lock of all of it. Never destroyed: threads and finalizers may still use it while the process ends.
std::mutex& lock = *new std::mutex;
std::map<void*, std::shared_ptr<Graph>>& graphs = *new std::map<void*, std::shared_ptr<Graph>>;
std::map<void*, std::shared_ptr<Executable>>& executables = *new std::map<void*, std::shared_ptr<Executable>>;

std::shared_ptr<Graph> find_graph(void* handle)
{
    std::lock_guard<std::mutex> guard(lock);
    const auto found = graphs.find(handle);
    return found == graphs.end() ? nullptr : found->second;
}

std::shared_ptr<Executable> find_executable(void* handle)
{
    std::lock_guard<std::mutex> guard(lock);
    const auto found = executables.find(handle);
    return found == executables.end() ? nullptr : found->second;
}

int unknown(const char* what) { return failed(InvalidValue, std::string("there is no such ") + what + ", or it has been destroyed"); }

int make_call(KernelCall& call, const KernelParameters& parameters)
{
    if (!parameters.function || parameters.kernel) return failed(InvalidValue, "a kernel node is given by its CUfunction");
    if (parameters.parameters && parameters.extra) return failed(InvalidValue, "a kernel node's arguments are given twice");
    return emulated::make_call(
        call, parameters.function, {parameters.gridX, parameters.gridY, parameters.gridZ}, {parameters.blockX, parameters.blockY, parameters.blockZ},
        parameters.sharedBytes, parameters.parameters, parameters.extra);
}

std::size_t place_of(const Graph& graph, const void* node)
{
    const auto found = std::find_if(graph.nodes.begin(), graph.nodes.end(), [=](const std::unique_ptr<Node>& n) { return n.get() == node; });
    return static_cast<std::size_t>(found - graph.nodes.begin());
}

int run_nodes(const std::vector<Node>& nodes, std::uint64_t random)
{
    std::vector<std::size_t> waitsFor(nodes.size()), ready;
    std::vector<std::vector<std::size_t>> then(nodes.size());
    for (std::size_t i = 0; i < nodes.size(); i++)
    {
        waitsFor[i] = nodes[i].after.size();
        for (const std::size_t before : nodes[i].after) then[before].push_back(i);
        if (waitsFor[i] == 0) ready.push_back(i);
    }

    while (!ready.empty())
    {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        std::swap(ready[(random >> 33) % ready.size()], ready.back());
        const std::size_t next = ready.back();
        ready.pop_back();
        const int result = run(nodes[next].call);
        if (result != Success) return result;
        for (const std::size_t i : then[next])
        {
            if (--waitsFor[i] == 0) ready.push_back(i);
        }
    }

    return Success;
}

}  // namespace

EXPORT int cuGraphCreate(void** graph, unsigned flags)
{
    counters.calls++;
    if (!is_initialised()) return NotInitialized;
    if (flags != 0) return failed(InvalidValue, "flags of cuGraphCreate");
    auto made = std::make_shared<Graph>();
    *graph = made.get();
    std::lock_guard<std::mutex> guard(lock);
    graphs[made.get()] = std::move(made);
    return Success;
}

EXPORT int cuGraphAddKernelNode_v2(void** node, void* graphHandle, void* const* dependencies, std::size_t count, const KernelParameters* parameters)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    const std::shared_ptr<Graph> graph = find_graph(graphHandle);
    if (!graph) return unknown("graph");
    std::unique_ptr<Node> made(new Node);
    for (std::size_t i = 0; i < count; i++)
    {
        const std::size_t place = place_of(*graph, dependencies[i]);
        if (place == graph->nodes.size()) return failed(InvalidValue, "a dependency is no node of the graph");
        if (std::count(made->after.begin(), made->after.end(), place)) return failed(InvalidValue, "a dependency is given twice");
        made->after.push_back(place);
    }

    const int result = make_call(made->call, *parameters);
    if (result != Success) return result;
    *node = made.get();
    graph->nodes.push_back(std::move(made));
    return Success;
}

EXPORT int cuGraphInstantiateWithFlags(void** executable, void* graphHandle, unsigned long long flags)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    const std::shared_ptr<Graph> graph = find_graph(graphHandle);
    if (!graph) return unknown("graph");
    if (flags != 0) return failed(InvalidValue, "flags of cuGraphInstantiateWithFlags");
    std::shared_ptr<Executable> made(new Executable{graph, {}});
    for (const std::unique_ptr<Node>& node : graph->nodes) made->nodes.push_back(*node);
    *executable = made.get();
    counters.graphs++;
    std::lock_guard<std::mutex> guard(lock);
    executables[made.get()] = std::move(made);
    return Success;
}

// Launches that are queued keep the arguments that they were queued with.
EXPORT int cuGraphExecKernelNodeSetParams_v2(void* handle, void* node, const KernelParameters* parameters)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    const std::shared_ptr<Executable> executable = find_executable(handle);
    if (!executable) return unknown("executable graph");
    const std::shared_ptr<Graph> origin = executable->origin.lock();
    if (!origin) return failed(InvalidValue, "the graph that the node belongs to has been destroyed");
    const std::size_t place = place_of(*origin, node);
    if (place >= executable->nodes.size()) return failed(InvalidValue, "the node is not of the graph that was instantiated");
    counters.graphUpdates++;
    return make_call(executable->nodes[place].call, *parameters);
}

EXPORT int cuGraphLaunch(void* handle, void* streamHandle)
{
    counters.calls++;
    if (!has_context()) return InvalidContext;
    const std::shared_ptr<Executable> executable = find_executable(handle);
    if (!executable) return unknown("executable graph");
    const std::shared_ptr<Stream> stream = find_stream(streamHandle);
    if (!stream) return failed(InvalidHandle, "there is no such stream, or it has been destroyed");
    counters.graphLaunches++;
    const std::uint64_t random = static_cast<std::uint64_t>(settings.seed) * 1000003u + static_cast<std::uint64_t>(counters.graphLaunches);
    return queue(*stream, [nodes = executable->nodes, random] { return run_nodes(nodes, random); });
}

EXPORT int cuGraphExecDestroy(void* handle)
{
    counters.calls++;
    std::lock_guard<std::mutex> guard(lock);
    if (executables.erase(handle) == 0) return unknown("executable graph");
    counters.graphs--;
    return Success;
}

EXPORT int cuGraphDestroy(void* handle)
{
    counters.calls++;
    std::lock_guard<std::mutex> guard(lock);
    return graphs.erase(handle) == 0 ? unknown("graph") : static_cast<int>(Success);
}
