package client

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/springtide/springtide"
)

// connections is how many an instance keeps open: a runner has a lease waiting
// while it renews, completes and sends output.
const connections = 16

// NewInstance makes the client of an instance, which finds in TIDE_API the URL
// of its environment, "http://host:port/v1/apps/APP/environments/ENVIRONMENT",
// and in TIDE_TOKEN its token; authority as [Options.CA]. It gives the environment as well.
func NewInstance(address, token, authority string) (*Client, springtide.EnvironmentID, error) {
	var id springtide.EnvironmentID
	wrong := springtide.Errorf(springtide.Invalid, "TIDE_API is %q, not the URL of an environment", address).
		WithHint("the platform sets it for each instance; unset it elsewhere")
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, id, wrong
	}
	parts := strings.Split(base.Path, "/")
	if len(parts) != 6 || parts[1] != "v1" || parts[2] != "apps" || parts[4] != "environments" || parts[3] == "" || parts[5] == "" {
		return nil, id, wrong
	}
	id = springtide.EnvironmentID{App: springtide.AppName(parts[3]), Name: springtide.EnvironmentName(parts[5])}
	if token == "" {
		return nil, id, springtide.Errorf(springtide.Unauthorized, "TIDE_TOKEN is not set").
			WithHint("the platform sets it for each instance, with TIDE_API")
	}
	config, err := trusting(authority)
	if err != nil {
		return nil, id, err
	}
	where := base.Scheme + "://" + base.Host
	return &Client{
		http: &http.Client{
			Transport:     &http.Transport{DialContext: dial, MaxIdleConnsPerHost: connections, TLSClientConfig: config},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		base: where, token: token, where: where,
	}, id, nil
}
