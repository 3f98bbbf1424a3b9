package api

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"

	"github.com/springtide/springtide"
)

// ServeInstances serves instances, which have the token of their own, over plain
// HTTP on a private address until ctx ends. They may enqueue jobs, carry them
// out, read what became of them, and use locks: all of that of their own
// environment, and nothing else. It closes the listener.
func (s *Server) ServeInstances(ctx context.Context, listener net.Listener) error {
	if err := checkPrivate("the API for instances", listener.Addr()); err != nil {
		listener.Close()
		return err
	}
	return s.serveInstances(ctx, listener)
}

// ServeInstancesElsewhere is [Server.ServeInstances] over TLS, on any address: those of
// a cluster reach it through a network.
func (s *Server) ServeInstancesElsewhere(ctx context.Context, listener net.Listener, config *tls.Config) error {
	config = config.Clone()
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	return s.serveInstances(ctx, tls.NewListener(listener, config))
}

func (s *Server) serveInstances(ctx context.Context, listener net.Listener) error {
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.api().ServeHTTP(w, r) })
	return s.serve(ctx, listener, s.common(withHealth(chain(api, speakVersion, s.identifyInstance, onlyForInstances, limitBodies))))
}

// identifyInstance lets requests pass that carry the token of an instance.
func (s *Server) identifyInstance(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || token == "" {
			writeError(w, springtide.Errorf(springtide.Unauthorized, "a token is missing").
				WithHint("an instance finds its own in TIDE_TOKEN"))
			return
		}
		who, err := s.instanceTokens.Identify(token)
		if err != nil {
			writeError(w, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(withCaller(r.Context(), caller{instance: &who})))
	})
}

// onlyForInstances refuses what an instance may not do.
func onlyForInstances(next http.Handler) http.Handler {
	const env = "/v1/apps/{app}/environments/{environment}"
	refuse := func(w http.ResponseWriter, r *http.Request, hint string) {
		writeError(w, springtide.Errorf(springtide.Denied, "an instance may not %s %s", r.Method, r.URL.Path).WithHint("%s", hint))
	}
	mux := http.NewServeMux()
	for _, route := range []string{
		"POST " + env + "/jobs", "GET " + env + "/jobs", "GET " + env + "/jobs/{run}", "GET " + env + "/jobs/{run}/output",
		"POST " + env + "/batches", "GET " + env + "/batches/{batch}",
		"GET " + env + "/queues", "GET " + env + "/schedules", "GET " + env + "/schedules/next",
		"POST " + env + "/leases", "POST " + env + "/leases/{step}",
		"GET " + env + "/locks", "POST " + env + "/locks/{name}", "POST " + env + "/locks/{name}/renew", "DELETE " + env + "/locks/{name}",
	} {
		mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
			if own := callerOf(r.Context()).instance.Environment; pathID(r) != own {
				refuse(w, r, "it is one of "+own.String()+", and TIDE_API has the address of that")
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, r, "it may enqueue and carry out jobs and use locks; the rest is for `tide` with an operator's token")
	})
	return mux
}
