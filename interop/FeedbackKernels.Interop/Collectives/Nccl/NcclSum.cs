namespace FeedbackKernels.Interop;

/// <summary>A sum on the devices, ordered by events: it begins when the backend's stream has come to <see cref="Ready"/>, and what the backend
/// is told after <see cref="Wait"/> begins when NCCL's stream has come to <see cref="Ended"/>.</summary>
internal sealed class NcclSum : PendingSum, IDisposable
{
    private readonly NcclCommunicator _of;
    private readonly BufferView _values, _sent;
    private readonly DeviceBuffer? _rounded;
    private readonly NcclType _type;
    private bool _hasBegun;

    public NcclSum(NcclCommunicator of, BufferView values, string name, NcclType type)
    {
        (_of, _values, Name, _type) = (of, values, name, type);
        Ready = new CudaEventHandle(of.Backend.Context, name);
        Ended = new CudaEventHandle(of.Backend.Context, name);
        _rounded = type == NcclType.BFloat16 ? of.Backend.Allocate(values.Length, $"{name} in bf16", ElementType.BFloat16) : null;
        _sent = _rounded is null ? values : _rounded;
    }

    /// <summary>What is summed.</summary>
    public string Name { get; }

    /// <summary>Reached when the numbers have been computed.</summary>
    public CudaEventHandle Ready { get; }

    /// <summary>Reached when they have been summed.</summary>
    public CudaEventHandle Ended { get; }

    public override void Begin(float weight = 1)
    {
        if (_hasBegun) throw new InvalidOperationException($"the sum of {Name} has begun already");
        _hasBegun = true;
        if (_rounded is not null) _of.Backend.ConvertNumbers(_values, _sent);
        _of.Queue(this, _sent, _type, weight, broadcastFrom: null);
    }

    public void BeginBroadcast(int from)
    {
        _hasBegun = true;
        _of.Queue(this, _sent, _type, weight: 1, from);
    }

    public override void Wait()
    {
        if (!_hasBegun) return;
        _hasBegun = false;
        _of.Watch.ThrowIfFailed();
        _of.Backend.WaitForEvent(Ended.DangerousGetHandle());
        if (_rounded is not null) _of.Backend.ConvertNumbers(_sent, _values);
    }

    /// <summary>Waits until the numbers have been summed.</summary>
    public void WaitOnHost()
    {
        using CudaContext.Scope scope = _of.Backend.Context.Enter();
        CudaException.ThrowIfFailed(DriverApi.EventSynchronize(Ended.DangerousGetHandle()), "cuEventSynchronize", Name);
        _of.Watch.ThrowIfFailed();
    }

    public void Dispose()
    {
        _of.Watch.Forget(this);
        Ready.Dispose();
        Ended.Dispose();
        _rounded?.Dispose();
    }
}
