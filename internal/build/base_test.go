package build

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/springtide/springtide"
)

// hub is a registry of somebody else's.
type hub struct {
	*httptest.Server
	host string
	// blobs counts how often a blob was read, broken how many requests fail yet.
	blobs, broken atomic.Int64
	// login is USER:PASSWORD; empty: anybody may do anything.
	login string
}

func newHub(t testing.TB) *hub {
	t.Helper()
	h := &hub{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case h.login != "" && user+":"+password != h.login:
			w.Header().Set("WWW-Authenticate", `Basic realm="hub"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		case r.Method == http.MethodPut && h.broken.Add(-1) >= 0:
			http.Error(w, "not now", http.StatusInternalServerError)
			return
		case r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/"):
			h.blobs.Add(1)
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(h.Close)
	h.host = strings.TrimPrefix(h.URL, "http://")
	return h
}

// put keeps an image for this kind of machine, and one for another, under a name.
func (h *hub) put(t testing.TB, tag string, config v1.Config) v1.Image {
	t.Helper()
	index := v1.ImageIndex(empty.Index)
	var ours v1.Image
	for _, architecture := range []string{"s390x", runtime.GOARCH} {
		image, err := random.Image(1000, 2)
		if err != nil {
			t.Fatal(err)
		}
		file, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		file.Architecture, file.OS, file.Config = architecture, "linux", config
		if ours, err = mutate.ConfigFile(image, file); err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: ours, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}}})
	}
	reference, err := name.ParseReference(h.host + "/" + tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(reference, index, remote.WithAuth(h.auth())); err != nil {
		t.Fatal(err)
	}
	return ours
}

func (h *hub) auth() authn.Authenticator {
	user, password, _ := strings.Cut(h.login, ":")
	return &authn.Basic{Username: user, Password: password}
}

// stored gives an artifact as every tool for images reads it.
func stored(t testing.TB, b *Builder, digest springtide.Digest) v1.Image {
	t.Helper()
	parsed, err := v1.NewHash(string(digest))
	if err != nil {
		t.Fatal(err)
	}
	image, err := layout.Path(b.artifacts.folder).Image(parsed)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(image); err != nil {
		t.Error(err)
	}
	return image
}

func onBase(reference string) springtide.App {
	based := app("")
	based.Build.Base = reference
	based.Processes = map[springtide.ProcessName]springtide.Process{springtide.Web: {Command: "./web --fast"}}
	return based
}

func TestAnAppIsLaidUponItsBaseForThisKindOfMachine(t *testing.T) {
	h, b := newHub(t), newBuilder(t)
	below := h.put(t, "base:1", v1.Config{Env: []string{"LANG=C", "PATH=/opt/bin"}, Entrypoint: []string{"/entry"}, User: "node"})
	made := mustBuild(t, b, onBase(h.host+"/base:1"), sourceOf(t, files{"web": "#!/bin/sh"}))
	image := stored(t, b, made.Digest)
	theirs, err := below.Layers()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != len(theirs)+1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	for i, layer := range theirs {
		want, _ := layer.Digest()
		if got, _ := layers[i].Digest(); got != want {
			t.Errorf("layer %d is %s, not that of this machine's platform, %s", i, got, want)
		}
	}
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := file.Config
	if c.User != "65532:65532" || c.WorkingDir != "/app" || !slices.Equal(c.Env, []string{"LANG=C", "PATH=/opt/bin"}) ||
		!slices.Equal(append(c.Entrypoint, c.Cmd...), []string{"/bin/sh", "-c", "./web --fast"}) {
		t.Errorf("it is started as %+v", c)
	}
	if c.Labels[baseName] != h.host+"/base:1" || c.Labels["org.opencontainers.image.title"] != "quiz" {
		t.Errorf("its labels are %v", c.Labels)
	}
	if err := os.RemoveAll(made.Root); err != nil {
		t.Fatal(err)
	}
	root, err := b.Root(t.Context(), made.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, root); len(got) != 1 || got["web"] == "" {
		t.Errorf("a machine runs %v, want the app's layer alone", got)
	}
}

func TestABaseIsPulledOnceAndOutlivesItsRegistry(t *testing.T) {
	h, b := newHub(t), newBuilder(t)
	h.put(t, "base:1", v1.Config{User: "1000"})
	first := mustBuild(t, b, onBase(h.host+"/base:1"), sourceOf(t, files{"web": "1"}))
	pulled := h.blobs.Load()
	again := mustBuild(t, b, onBase(h.host+"/base:1"), sourceOf(t, files{"web": "1"}))
	if again.Digest != first.Digest || h.blobs.Load() != pulled {
		t.Errorf("the same is %s and %s; blobs were read %d times, then %d", first.Digest, again.Digest, pulled, h.blobs.Load())
	}
	h.Close()
	other := mustBuild(t, b, onBase(h.host+"/base:1"), sourceOf(t, files{"web": "2"}))
	file, err := stored(t, b, other.Digest).ConfigFile()
	if err != nil || file.Config.User != "1000" || len(file.RootFS.DiffIDs) != 3 {
		t.Errorf("without the registry it is made as %+v, %v", file, err)
	}
	// When nothing is made upon it any more it goes.
	if _, _, err := b.Collect(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(b.artifacts.blobs(), "*")); len(left) != 0 {
		t.Errorf("there still is %v", left)
	}
	_, err = b.Build(t.Context(), Request{App: onBase(h.host + "/base:1"), Source: sourceOf(t, files{"web": "3"})})
	if springtide.KindOf(err) != springtide.Failed || !strings.Contains(err.Error(), "the base "+h.host+"/base:1 cannot be pulled") {
		t.Errorf("an error %v", err)
	}
}

func TestAMovedTagIsAnotherBaseAndAPinnedOneIsNot(t *testing.T) {
	h, b := newHub(t), newBuilder(t)
	h.put(t, "base:1", v1.Config{})
	reference, _ := name.ParseReference(h.host + "/base:1")
	head, err := remote.Head(reference)
	if err != nil {
		t.Fatal(err)
	}
	pinned := onBase(h.host + "/base@" + head.Digest.String())
	first := mustBuild(t, b, pinned, sourceOf(t, files{"web": "1"}))
	h.put(t, "base:1", v1.Config{})
	if again := mustBuild(t, b, pinned, sourceOf(t, files{"web": "1"})); again.Digest != first.Digest {
		t.Error("a pinned base has changed")
	}
	if moved := mustBuild(t, b, onBase(h.host+"/base:1"), sourceOf(t, files{"web": "1"})); moved.Digest == first.Digest {
		t.Error("the tag was moved, and the artifact is upon the earlier base")
	}
}

func TestABaseThatCannotBeUsedIsToldInOneSentence(t *testing.T) {
	h, b := newHub(t), newBuilder(t)
	h.login = "ann:secret"
	h.put(t, "private:1", v1.Config{})
	other, err := random.Image(10, 1)
	if err != nil {
		t.Fatal(err)
	}
	reference, _ := name.ParseReference(h.host + "/elsewhere:1")
	if err := remote.Write(reference, other, remote.WithAuth(h.auth())); err != nil {
		t.Fatal(err)
	}
	for base, want := range map[string]string{"private:1": "cannot be pulled", "private:2": "cannot be pulled", "elsewhere:1": "not for this machine's linux/"} {
		request := Request{App: onBase(h.host + "/" + base), Source: sourceOf(t, files{"a": "b"})}
		if base == "elsewhere:1" {
			request.Login = h.login
		}
		if _, err := b.Build(t.Context(), request); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", base, err, want)
		}
	}
	if _, err := b.Build(t.Context(), Request{App: onBase(h.host + "/private:1"), Login: h.login, Source: sourceOf(t, files{"a": "b"})}); err != nil {
		t.Errorf("with the login: %v", err)
	}
	needy := New(Options{Data: dataFolder(t), NeedsBase: true})
	if _, err := needy.Build(t.Context(), Request{App: app(""), Source: sourceOf(t, files{"a": "b"})}); springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), "build.base") {
		t.Errorf("without a base for a cluster: %v", err)
	}
}

func TestAPushGoesThroughTroubleAndSendsNothingTwice(t *testing.T) {
	h, b := newHub(t), newBuilder(t)
	h.login = "ann:secret"
	pushed := app("")
	pushed.Build.Push = h.host + "/team/quiz"
	made := mustBuild(t, b, pushed, sourceOf(t, files{"web": "1"}))
	h.broken.Store(3)
	var said bytes.Buffer
	push := func(login string) error {
		return b.Push(t.Context(), PushRequest{
			App: pushed, Artifact: made.Digest, Tag: "production-v1", Login: login,
			Say: func(line string) { said.WriteString(line + "\n") },
		})
	}
	if err := push("ann:wrong"); springtide.KindOf(err) != springtide.Failed || !strings.Contains(err.Error(), "refuses") {
		t.Errorf("with a wrong login: %v", err)
	}
	if err := push(h.login); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	if !strings.Contains(said.String(), "trying again") || !strings.Contains(said.String(), "pushed "+h.host) {
		t.Errorf("it said:\n%s", said.String())
	}
	h.broken.Store(0)
	if err := push(h.login); err != nil {
		t.Errorf("once more: %v", err)
	}
	reference, _ := name.ParseReference(h.host + "/team/quiz@" + string(made.Digest))
	image, err := remote.Image(reference, remote.WithAuth(h.auth()))
	if err == nil {
		err = validate.Image(image)
	}
	if err != nil {
		t.Error(err)
	}
}
