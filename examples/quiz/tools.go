package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// What follows is not part of a quiz: it lets a load generator see that a
// platform neither loses, nor mixes up, nor shortens an answer.

// identity says which copy of the app answered, and whom.
type identity struct {
	Version  string `json:"version"`
	Release  string `json:"release"`
	Instance string `json:"instance"`
	// Token is what the request carried as ?token=.
	Token string `json:"token,omitempty"`
}

func (a *app) identity(r *http.Request) identity {
	return identity{Version, a.config.Release, a.config.Instance, r.URL.Query().Get("token")}
}

func (a *app) healthz(w http.ResponseWriter, _ *http.Request) {
	if a.config.Break == breakUnhealthy {
		http.Error(w, "BREAK=unhealthy", http.StatusServiceUnavailable)
		return
	}
	reply(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
}

func (a *app) version(w http.ResponseWriter, r *http.Request) { replyJSON(w, a.identity(r)) }

// slow answers nothing for ?ms= milliseconds (2000 unless told), then all at once.
func (a *app) slow(w http.ResponseWriter, r *http.Request) { a.pause(w, r, 2*time.Second) }

// work stands for a request that takes its time: ?ms= milliseconds (20 unless told).
func (a *app) work(w http.ResponseWriter, r *http.Request) { a.pause(w, r, 20*time.Millisecond) }

func (a *app) pause(w http.ResponseWriter, r *http.Request, otherwise time.Duration) {
	d, err := milliseconds(r, "ms", otherwise)
	if err != nil {
		a.problem(w, http.StatusBadRequest, err.Error())
		return
	}
	if sleep(r.Context(), d) {
		replyJSON(w, a.identity(r))
	}
}

// mostDownload is how many bytes /download gives at most.
const mostDownload = 64 << 20

// download gives ?bytes= bytes that are the same on every instance.
func (a *app) download(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.URL.Query().Get("bytes"), 10, 64)
	if err != nil || n < 0 || n > mostDownload {
		a.problem(w, http.StatusBadRequest, fmt.Sprintf("bytes=%s: want 0 to %d", r.URL.Query().Get("bytes"), mostDownload))
		return
	}
	body := io.NewSectionReader(pattern{}, 0, n)
	hash := sha256.New()
	io.Copy(hash, body)
	body.Seek(0, io.SeekStart)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Repr-Digest", digestOf(hash.Sum(nil)))
	http.ServeContent(w, r, "", time.Time{}, body)
}

// pattern is an endless file in which every place looks different.
type pattern struct{}

func (pattern) ReadAt(p []byte, offset int64) (int, error) {
	var word [8]byte
	for i := 0; i < len(p); {
		at := offset + int64(i)
		binary.LittleEndian.PutUint64(word[:], uint64(at/8+1)*0x9E3779B97F4A7C15)
		i += copy(p[i:], word[at%8:])
	}
	return len(p), nil
}

// mostEcho is how many bytes /echo takes.
const mostEcho = 16 << 20

// echoed tells what arrived.
type echoed struct {
	identity
	Bytes  int64  `json:"bytes"`
	Digest string `json:"digest"`
}

// echo tells the length and digest of what it was sent.
func (a *app) echo(w http.ResponseWriter, r *http.Request) {
	hash := sha256.New()
	n, err := io.Copy(hash, http.MaxBytesReader(w, r.Body, mostEcho))
	if err != nil {
		a.problem(w, http.StatusBadRequest, "The body did not arrive whole.")
		return
	}
	replyJSON(w, echoed{a.identity(r), n, digestOf(hash.Sum(nil))})
}

// longest is how long a request may ask to be kept waiting.
const longest = 10 * time.Minute

func milliseconds(r *http.Request, name string, otherwise time.Duration) (time.Duration, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	d := time.Duration(n) * time.Millisecond
	if err != nil || n < 0 || n > int(longest/time.Millisecond) {
		return 0, fmt.Errorf("%s=%s: want milliseconds, 0 to %d", name, text, longest/time.Millisecond)
	}
	return d, nil
}
