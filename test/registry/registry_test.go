// Package registry tells how the images of releases are pulled, and pushed, with
// the tools of others.
package registry

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/test/story"
)

var page = springtide.EnvironmentID{App: "page", Name: springtide.Production}

// robot is who may push.
const robot = "robot:p4ss:word"

// hub is a registry of the user's own, with a base in it.
func hub(t *testing.T) (host string) {
	t.Helper()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); r.Method != http.MethodGet && r.Method != http.MethodHead && user+":"+password != robot {
			w.Header().Set("WWW-Authenticate", `Basic realm="hub"`)
			http.Error(w, `{"errors":[{"code":"DENIED","message":"robots only"}]}`, http.StatusForbidden)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	host = strings.TrimPrefix(server.URL, "http://")
	image, err := random.Image(10_000, 2)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", runtime.GOARCH
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	user, password, _ := strings.Cut(robot, ":")
	if err := remote.Write(reference(t, host+"/base:1"), image, remote.WithAuth(&authn.Basic{Username: user, Password: password})); err != nil {
		t.Fatal(err)
	}
	return host
}

func reference(t *testing.T, text string) name.Reference {
	t.Helper()
	parsed, err := name.ParseReference(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// source is a page that shows whether it was given a variable.
func source(t *testing.T, build string) string {
	t.Helper()
	folder := filepath.Join(story.Folder(t), "page")
	program := "import http.server, os\n" +
		"class H(http.server.BaseHTTPRequestHandler):\n def do_GET(self):\n  self.send_response(200)\n  self.end_headers()\n  self.wfile.write(os.environ.get('LOGIN', 'no login').encode())\n" +
		"http.server.HTTPServer(('0.0.0.0', int(os.environ['PORT'])), H).serve_forever()\n"
	manifest := fmt.Sprintf("app: page\nbuild: { command: \"true\", %s }\nprocesses: { web: exec python3 server.py }\n", build)
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"server.py": program, "tide.yaml": manifest} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// pull gives the image of the newest release, as the platform tells it.
func pull(t *testing.T, p *platform.Platform, options ...remote.Option) (v1.Image, string, error) {
	t.Helper()
	releases, err := p.Client.Releases(t.Context(), page)
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(reference(t, releases[0].Image), options...)
	return image, releases[0].Image, err
}

// whole checks an image: two layers of the base and one of the app.
func whole(t *testing.T, image v1.Image) {
	t.Helper()
	if err := validate.Image(image); err != nil {
		t.Error(err)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 3 {
		t.Errorf("it has %d layers, %v", len(layers), err)
	}
}

func TestAReleaseIsPulledFromThePlatformWithTheTokenOnly(t *testing.T) {
	host := hub(t)
	address := story.Address(t)
	p := story.Platform(t, "--api", address)
	folder := source(t, `base: "`+host+`/base:1"`)
	story.Deploy(t, p, folder)

	ca, err := p.CA(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	transport := remote.WithTransport(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca}})
	access, err := p.Client.Registry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	login := remote.WithAuth(&authn.Basic{Username: access.Username, Password: access.Password})
	image, named, err := pull(t, p, transport, login)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(named, access.Registry+"/page:production-v1@sha256:") {
		t.Errorf("its image is called %s", named)
	}
	whole(t, image)
	for what, option := range map[string]remote.Option{
		"nothing":       remote.WithAuth(authn.Anonymous),
		"another token": remote.WithAuth(&authn.Basic{Username: access.Username, Password: "tide_pull_x"}),
	} {
		if _, _, err := pull(t, p, transport, option); err == nil || !strings.Contains(err.Error(), "UNAUTHORIZED") {
			t.Errorf("with %s: %v", what, err)
		}
	}
	// The token opens nothing else.
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+"/v1/apps", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+access.Password)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca}}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("the API answers it with %s", response.Status)
	}
	if listed := story.Output(t, p.Command(t.Context(), "releases", "--images", "--app", "page")); !strings.Contains(listed, named) {
		t.Errorf("tide releases --images shows\n%s", listed)
	}
}

func TestAReleaseIsPushedToARegistryOfOnesOwnBeforeItStarts(t *testing.T) {
	host := hub(t)
	p := story.Platform(t)
	folder := source(t, fmt.Sprintf(`base: "%s/base:1", push: "%s/team/page", login: LOGIN`, host, host))
	if said := story.Refused(t, p.Command(t.Context(), "deploy", folder), 2); !strings.Contains(said, "has no secret LOGIN") {
		t.Errorf("without the login it says\n%s", said)
	}
	set := p.Command(t.Context(), "secrets", "set", "LOGIN", "--app", "page")
	set.Stdin = strings.NewReader("robot:wrong")
	story.Output(t, set)
	if said := story.Refused(t, p.Command(t.Context(), "deploy", folder), 1); !strings.Contains(said, host+" refuses the release") {
		t.Errorf("with a wrong login it says\n%s", said)
	}
	set = p.Command(t.Context(), "secrets", "set", "LOGIN", "--app", "page")
	set.Stdin = strings.NewReader(robot)
	story.Output(t, set)
	deploy := p.Command(t.Context(), "deploy", folder)
	said, err := deploy.CombinedOutput()
	if err != nil || !strings.Contains(string(said), "pushed "+host+"/team/page:production-v") {
		t.Fatalf("%v\n%s", err, said)
	}
	image, named, err := pull(t, p)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(named, host+"/team/page:production-v") {
		t.Errorf("its image is called %s", named)
	}
	whole(t, image)
	response, err := story.HTTP(t, p).Get("https://page.localhost/")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, _ := io.ReadAll(response.Body); string(text) != "no login" {
		t.Errorf("the app was given %q", text)
	}
}
