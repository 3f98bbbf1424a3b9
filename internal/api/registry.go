package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/springtide/springtide"
)

// Registry is what nodes pull the images of releases from. The zero value is none.
type Registry struct {
	// Host is what nodes call it: a host with a port.
	Host string
	// User and Token let somebody pull, and nothing else.
	User, Token string
	// Handler answers all below /v2/, and minds who may do so.
	Handler http.Handler
}

// withRegistry has all below /v2/ answered by the registry, which knows its own
// tokens.
func (s *Server) withRegistry(others http.Handler) http.Handler {
	if s.registry.Handler == nil {
		return others
	}
	registry := s.common(s.registry.Handler)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v2/") {
			registry.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	})
}

// ListedRelease is a release and how it is pulled.
type ListedRelease struct {
	springtide.Release
	// Image is its reference, with a tag and the digest. Empty: it is pulled from
	// nowhere.
	Image string `json:"image,omitempty"`
}

func (s *Server) releases(ctx context.Context, in *EnvironmentPath) ([]ListedRelease, error) {
	kept, err := s.platform.Observer.Releases(ctx, in.id())
	list := make([]ListedRelease, len(kept))
	for i, release := range kept {
		list[i] = ListedRelease{release, release.Image(s.registry.Host)}
	}
	return list, err
}

// PullAccess is what somebody needs to pull images.
type PullAccess struct {
	Registry string `json:"registry"`
	Username string `json:"username"`
	Password string `json:"password"`
	// DockerConfig is the same as container runtimes and clusters read it.
	DockerConfig DockerConfig `json:"docker_config"`
}

// DockerConfig is a config.json of docker.
type DockerConfig struct {
	Auths map[string]DockerLogin `json:"auths"`
}

// DockerLogin is how somebody is known to one registry.
type DockerLogin struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

func (s *Server) getRegistry(ctx context.Context, _ *struct{}) (PullAccess, error) {
	if err := ownerOnly(ctx, "see the pull token"); err != nil {
		return PullAccess{}, err
	}
	r := s.registry
	if r.Handler == nil {
		return PullAccess{}, springtide.Errorf(springtide.Unavailable, "images are not served: the API listens on no address").
			WithHint("start it with --api ADDRESS, like `tide serve --api :7443`")
	}
	return PullAccess{
		Registry: r.Host, Username: r.User, Password: r.Token,
		DockerConfig: DockerConfig{map[string]DockerLogin{r.Host: {r.User, r.Token}}},
	}, nil
}
