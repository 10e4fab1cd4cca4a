using System.Net;
using Microsoft.AspNetCore.Http;

namespace FeedbackKernels.Watch;

/// <summary>
/// Which names of this server a request may use. A page of another site can have its own name resolved to this machine (DNS rebinding) and
/// would then be allowed to read what the server sends; but its requests carry its name.
/// </summary>
/// <param name="host">The address that the server listens on.</param>
internal sealed class HostRule(string host)
{
    private readonly bool _loopback = IsLoopback(host);

    /// <summary>Whether a host is this machine only.</summary>
    public static bool IsLoopback(string host) => host == "localhost" || (IPAddress.TryParse(host, out IPAddress? address) && IPAddress.IsLoopback(address));

    /// <summary>Whether a request with this Host header is answered.</summary>
    public bool Allows(HostString requested)
    {
        string name = requested.Host.Trim('[', ']');
        if (IsLoopback(name.ToLowerInvariant())) return true;
        // An address is no name that another site could have; the machine's own name is this server's.
        return !_loopback && (IPAddress.TryParse(name, out _) || string.Equals(name, Environment.MachineName, StringComparison.OrdinalIgnoreCase));
    }
}
