package registry_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/build"
	"github.com/springtide/springtide/internal/registry"
)

// images has the artifacts of one builder, by app and tag.
type images struct {
	*build.Builder
	tags map[springtide.AppName]map[string]springtide.Digest
}

func (i images) Tags(_ context.Context, app springtide.AppName) (map[string]springtide.Digest, error) {
	if i.tags[app] == nil {
		return nil, springtide.Errorf(springtide.NotFound, "there is no %s", app)
	}
	return i.tags[app], nil
}

const token = "tide_pull_of_this_test"

// serve has a registry with two releases of the quiz and one of another app.
func serve(t *testing.T) (host string, kept images) {
	t.Helper()
	kept = images{build.New(build.Options{Data: t.TempDir()}), map[springtide.AppName]map[string]springtide.Digest{}}
	for app, tags := range map[springtide.AppName][]string{"quiz": {"production-v1", "production-v2"}, "shop": {"production-v1"}} {
		kept.tags[app] = map[string]springtide.Digest{}
		for _, tag := range tags {
			source := t.TempDir()
			if err := os.WriteFile(filepath.Join(source, "page"), []byte(strings.Repeat(string(app)+tag, 10_000)), 0o644); err != nil {
				t.Fatal(err)
			}
			artifact, err := kept.Build(t.Context(), build.Request{App: springtide.App{Name: app, Build: springtide.Build{Timeout: time.Minute}}, Source: source})
			if err != nil {
				t.Fatal(err)
			}
			kept.tags[app][tag] = artifact.Digest
		}
	}
	server := httptest.NewServer(registry.New(registry.Options{Images: kept, Token: token, Logger: slog.New(slog.DiscardHandler)}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), kept
}

var login = remote.WithAuth(&authn.Basic{Username: registry.User, Password: token})

func TestEveryReleaseCanBePulledWhole(t *testing.T) {
	host, kept := serve(t)
	for app, tags := range kept.tags {
		for tag, digest := range tags {
			for _, reference := range []string{":" + tag, "@" + string(digest)} {
				parsed, err := name.ParseReference(host + "/" + string(app) + reference)
				if err != nil {
					t.Fatal(err)
				}
				image, err := remote.Image(parsed, login)
				if err != nil {
					t.Fatalf("%s: %v", parsed, err)
				}
				if err := validate.Image(image); err != nil {
					t.Errorf("%s: %v", parsed, err)
				}
				if got, _ := image.Digest(); got.String() != string(digest) {
					t.Errorf("%s is %s, want %s", parsed, got, digest)
				}
			}
		}
	}
}

func TestTagsAreListedInOrderAndInPages(t *testing.T) {
	host, _ := serve(t)
	repository, err := name.NewRepository(host + "/quiz")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []int{1, 2, 100} {
		tags, err := remote.List(repository, login, remote.WithPageSize(page))
		if err != nil || !slices.Equal(tags, []string{"production-v1", "production-v2"}) {
			t.Errorf("in pages of %d: %v, %v", page, tags, err)
		}
	}
}

// ask makes one request, and gives its status, the code of its error and its body.
func ask(t *testing.T, method, url string, header http.Header) (response *http.Response, code, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	response, err = http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var problem struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(text, &problem) == nil && len(problem.Errors) == 1 {
		code = problem.Errors[0].Code
	}
	return response, code, string(text)
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func TestNobodyPullsWithoutTheToken(t *testing.T) {
	host, kept := serve(t)
	basic := func(user, password string) http.Header {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		request.SetBasicAuth(user, password)
		return request.Header
	}
	for what, header := range map[string]http.Header{
		"nothing": {}, "a wrong bearer": bearer("tide_pull"), "no bearer": bearer(""), "a wrong password": basic(registry.User, token+"x"),
		"another user": basic("root", token), "another scheme": {"Authorization": {"Digest " + token}},
	} {
		for _, path := range []string{"/v2/", "/v2/quiz/tags/list", "/v2/quiz/manifests/production-v1", "/v2/quiz/blobs/" + string(kept.tags["quiz"]["production-v1"]), "/v2/nothing"} {
			response, code, _ := ask(t, http.MethodGet, "http://"+host+path, header)
			if response.StatusCode != http.StatusUnauthorized || code != "UNAUTHORIZED" || !strings.HasPrefix(response.Header.Get("WWW-Authenticate"), "Basic ") {
				t.Errorf("%s with %s: %s %s", path, what, response.Status, code)
			}
		}
	}
	for _, header := range []http.Header{bearer(token), basic(registry.User, token)} {
		if response, _, body := ask(t, http.MethodGet, "http://"+host+"/v2/", header); response.StatusCode != http.StatusOK {
			t.Errorf("with the token: %s %s", response.Status, body)
		}
	}
}

func TestWhatIsNotThereIsToldInTheSpecificationsWords(t *testing.T) {
	host, kept := serve(t)
	shops := string(kept.tags["shop"]["production-v1"])
	_, blobs, err := kept.Manifest(kept.tags["shop"]["production-v1"])
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"GET /v2/none/tags/list":                 "NAME_UNKNOWN",
		"GET /v2/none/manifests/production-v1":   "NAME_UNKNOWN",
		"GET /v2/quiz/manifests/production-v9":   "MANIFEST_UNKNOWN",
		"GET /v2/quiz/manifests/" + shops:        "MANIFEST_UNKNOWN", // another app's
		"GET /v2/quiz/blobs/" + string(blobs[0]): "BLOB_UNKNOWN",
		"GET /v2/quiz/blobs/sha256:12":           "DIGEST_INVALID",
		"GET /v2/quiz/blobs/..%2f..%2findex":     "DIGEST_INVALID",
		"GET /v2/quiz/else":                      "NAME_UNKNOWN",
		"PUT /v2/quiz/manifests/production-v1":   "UNSUPPORTED",
		"POST /v2/quiz/blobs/uploads/":           "UNSUPPORTED",
		"DELETE /v2/quiz/manifests/" + shops:     "UNSUPPORTED",
	} {
		method, rest, _ := strings.Cut(path, " ")
		if response, code, body := ask(t, method, "http://"+host+rest, bearer(token)); code != want || response.StatusCode < 400 {
			t.Errorf("%s: %s %s, want %s", path, response.Status, body, want)
		}
	}
}

func TestABlobIsServedInRangesAndAskedForByHead(t *testing.T) {
	host, kept := serve(t)
	_, blobs, err := kept.Manifest(kept.tags["quiz"]["production-v2"])
	if err != nil {
		t.Fatal(err)
	}
	layer := string(blobs[len(blobs)-1])
	url := "http://" + host + "/v2/quiz/blobs/" + layer
	_, _, whole := ask(t, http.MethodGet, url, bearer(token))
	head, _, body := ask(t, http.MethodHead, url, bearer(token))
	if head.ContentLength != int64(len(whole)) || body != "" || head.Header.Get("Docker-Content-Digest") != layer {
		t.Errorf("HEAD: %d bytes, want %d; %v", head.ContentLength, len(whole), head.Header)
	}
	header := bearer(token)
	header.Set("Range", "bytes=1000-1999")
	part, _, body := ask(t, http.MethodGet, url, header)
	if part.StatusCode != http.StatusPartialContent || body != whole[1000:2000] {
		t.Errorf("a range: %s, %d bytes", part.Status, len(body))
	}
	header.Set("Range", "bytes=99999999-")
	if beyond, _, _ := ask(t, http.MethodGet, url, header); beyond.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a range beyond the end: %s", beyond.Status)
	}
}
