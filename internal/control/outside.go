package control

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cert"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/jobs"
)

// outside says how requests that the platform makes for its apps get where
// they are to go.
type outside struct {
	fleet *deploy.Fleet
	url   func(host string) string
	edge  string // the first address that the edges serve
	ca    *cert.Authority
	// client reaches the apps of this platform, whatever their names resolve to.
	client *http.Client
}

func newOutside(fleet *deploy.Fleet, https []string, url func(string) string, authority *cert.Authority) *outside {
	o := &outside{fleet: fleet, url: url, ca: authority}
	if len(https) > 0 {
		o.edge = reachable(https[0])
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.PEM())
	var dialer net.Dialer
	o.client = &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, o.edge)
			},
			TLSClientConfig:     &tls.Config{RootCAs: roots},
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return o
}

// reachable gives an address to dial for one that is listened on.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// app gives where an environment's own app is: behind the edges, so that it is
// started if it is scaled to zero.
func (o *outside) app(id springtide.EnvironmentID) (base string, client *http.Client, err error) {
	environment, release, err := o.fleet.Environment(id)
	if err != nil {
		return "", nil, err
	}
	if o.edge == "" {
		return "", nil, springtide.Errorf(springtide.Unavailable, "no edge serves HTTPS on this platform").WithHint("give tide serve an address with --https")
	}
	return o.url(deploy.Hosts(environment, release)[0]), o.client, nil
}

// rate gives how many requests a second a host is sent, as the manifest says.
func (o *outside) rate(id springtide.EnvironmentID, host string) float64 {
	_, release, err := o.fleet.Environment(id)
	if err != nil {
		return 0
	}
	return rateOf(release.App.Jobs, host)
}

func rateOf(said springtide.Jobs, host string) float64 {
	if rate, named := said.Calls[host]; named {
		return rate
	}
	return said.Calls["*"]
}

// here carries out what belongs to environments of this platform. Where several
// share a ledger, another may have claimed what is not its own.
type here struct {
	fleet *deploy.Fleet
	validatedExecutor
}

type validatedExecutor interface {
	jobs.Executor
	jobs.Validator
}

// elsewhereAfter is how long a run is left to others.
const elsewhereAfter = 2 * time.Second

// Execute implements jobs.Executor.
func (h here) Execute(ctx context.Context, run springtide.Run) jobs.Outcome {
	if _, _, err := h.fleet.Environment(run.Environment); err != nil {
		return jobs.Outcome{Verdict: jobs.Returned, RetryAfter: elsewhereAfter, Reason: err.Error()}
	}
	return h.validatedExecutor.Execute(ctx, run)
}
