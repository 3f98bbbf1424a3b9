package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/springtide/springtide"
)

// User is the name that goes with the pull token.
const User = "tide"

// Images is what there is to pull. Implemented by the control plane's wiring.
type Images interface {
	// Tags gives the artifacts of an app by their tags. An app that is not there is
	// of kind NotFound.
	Tags(ctx context.Context, app springtide.AppName) (map[string]springtide.Digest, error)
	// Manifest gives the document of an artifact, and the blobs that it names.
	Manifest(artifact springtide.Digest) (document []byte, blobs []springtide.Digest, err error)
	// OpenBlob opens one of them.
	OpenBlob(digest springtide.Digest) (io.ReadSeekCloser, error)
}

// Options say what is served to whom. All are needed.
type Options struct {
	Images Images
	// Token lets somebody pull.
	Token  string
	Logger *slog.Logger
}

// server answers those who pull.
type server struct {
	Options
	token [32]byte // hashed, so that comparing takes the same time for all lengths
}

// New makes the handler of all below /v2/.
func New(options Options) http.Handler {
	s := &server{Options: options, token: sha256.Sum256([]byte(options.Token))}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/{$}", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, struct{}{}) })
	mux.HandleFunc("GET /v2/{app}/tags/list", s.tags)
	mux.HandleFunc("GET /v2/{app}/manifests/{reference}", s.manifest)
	mux.HandleFunc("GET /v2/{app}/blobs/{digest}", s.blob)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "images are only pulled from here; releases are made by tide deploy")
			return
		}
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "there is no "+r.URL.Path)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		if !s.mayPull(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="tide"`)
			refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "the pull token is missing or wrong; `tide registry` tells it")
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// mayPull says whether a request has the pull token.
func (s *server) mayPull(r *http.Request) bool {
	given, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if user, password, basic := r.BasicAuth(); basic {
		given, found = password, user == User
	}
	hash := sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(hash[:], s.token[:]) == 1 && found
}

// tags lists those of an app, in order, from the one after "last" on and at most
// "n", with a link to the next ones.
func (s *server) tags(w http.ResponseWriter, r *http.Request) {
	known, err := s.Images.Tags(r.Context(), springtide.AppName(r.PathValue("app")))
	if err != nil {
		s.fail(w, r, err, "NAME_UNKNOWN")
		return
	}
	query := r.URL.Query()
	list := slices.DeleteFunc(slices.Sorted(maps.Keys(known)), func(tag string) bool { return tag <= query.Get("last") })
	if text := query.Get("n"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			refuse(w, http.StatusBadRequest, "UNSUPPORTED", fmt.Sprintf("n is %.20q, not a number", text))
			return
		}
		if n < len(list) {
			list = list[:n]
			if n > 0 {
				next := url.Values{"n": {text}, "last": {list[n-1]}}
				w.Header().Set("Link", "<"+r.URL.Path+"?"+next.Encode()+`>; rel="next"`)
			}
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"name": r.PathValue("app"), "tags": append([]string{}, list...)})
}

// manifest answers with the document of an artifact, by tag or by digest.
func (s *server) manifest(w http.ResponseWriter, r *http.Request) {
	known, err := s.Images.Tags(r.Context(), springtide.AppName(r.PathValue("app")))
	if err != nil {
		s.fail(w, r, err, "NAME_UNKNOWN")
		return
	}
	artifact, tagged := known[r.PathValue("reference")]
	if !tagged {
		artifact = springtide.Digest(r.PathValue("reference"))
		if !slices.Contains(slices.Collect(maps.Values(known)), artifact) {
			refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", fmt.Sprintf("%s has no release %.100q", r.PathValue("app"), artifact))
			return
		}
	}
	document, _, err := s.Images.Manifest(artifact)
	if err != nil {
		s.fail(w, r, err, "MANIFEST_UNKNOWN")
		return
	}
	serve(w, r, artifact, string(types.OCIManifestSchema1), bytes.NewReader(document))
}

// blob answers with a part of one of the app's artifacts.
func (s *server) blob(w http.ResponseWriter, r *http.Request) {
	digest := springtide.Digest(r.PathValue("digest"))
	if _, err := v1.NewHash(string(digest)); err != nil {
		refuse(w, http.StatusBadRequest, "DIGEST_INVALID", err.Error())
		return
	}
	known, err := s.Images.Tags(r.Context(), springtide.AppName(r.PathValue("app")))
	if err != nil {
		s.fail(w, r, err, "NAME_UNKNOWN")
		return
	}
	artifacts := slices.Compact(slices.Sorted(maps.Values(known)))
	if !slices.ContainsFunc(artifacts, func(artifact springtide.Digest) bool {
		_, blobs, err := s.Images.Manifest(artifact)
		return err == nil && slices.Contains(blobs, digest)
	}) {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", fmt.Sprintf("no release of %s has %s", r.PathValue("app"), digest))
		return
	}
	content, err := s.Images.OpenBlob(digest)
	if err != nil {
		s.fail(w, r, err, "BLOB_UNKNOWN")
		return
	}
	defer content.Close()
	serve(w, r, digest, "application/octet-stream", content)
}

// serve answers with something that never changes, or with a range of it.
func serve(w http.ResponseWriter, r *http.Request, digest springtide.Digest, contentType string, content io.ReadSeeker) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Docker-Content-Digest", string(digest))
	w.Header().Set("ETag", `"`+string(digest)+`"`)
	http.ServeContent(w, r, "", time.Time{}, content)
}

// fail answers for an error that is not the client's, unless something is not there.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error, unknown string) {
	if springtide.KindOf(err) == springtide.NotFound {
		refuse(w, http.StatusNotFound, unknown, err.Error())
		return
	}
	s.Logger.ErrorContext(r.Context(), "an image cannot be served", "path", r.URL.Path, "error", err)
	refuse(w, http.StatusServiceUnavailable, "UNAVAILABLE", "the image cannot be read; the platform's log says why")
}

// refuse answers with an error in the specification's words.
func refuse(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the client may be gone: nothing to be done
}
