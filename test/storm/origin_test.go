package storm

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// instance is one of the servers behind the edge.
type instance struct {
	world   *world
	address string

	mu     sync.Mutex
	server *http.Server
	idle   map[net.Conn]bool
}

func (i *instance) start() error {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", i.address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: i, ConnState: i.watch}
	i.mu.Lock()
	i.address, i.server, i.idle = listener.Addr().String(), server, make(map[net.Conn]bool)
	i.mu.Unlock()
	go func() { _ = server.Serve(listener) }()
	return nil
}

// die ends all that it does.
func (i *instance) die() { i.server.Close() }

func (i *instance) watch(conn net.Conn, state http.ConnState) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if state == http.StateIdle {
		i.idle[conn] = true
	} else {
		delete(i.idle, conn)
	}
}

// drop closes a kept connection on which nothing is asked for, as far as it knows.
func (i *instance) drop(random *rand.Rand) {
	i.mu.Lock()
	defer i.mu.Unlock()
	kept := slices.Collect(maps.Keys(i.idle))
	if len(kept) > 0 {
		kept[random.IntN(len(kept))].Close()
	}
}

// uploaded is what an upload is answered with.
type uploaded struct {
	Nonce   string
	Length  int64
	Sum     uint64
	Version int
}

func (i *instance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Storm-Nonce", r.Header.Get("Storm-Nonce"))
	header.Set("Storm-Path", r.URL.Path)
	res := i.world.resources[r.URL.Path]
	if res == nil {
		http.NotFound(w, r)
		return
	}
	if rand.IntN(40) == 0 {
		header.Set("Connection", "close")
	}
	header.Set("Cache-Control", res.cacheControl)
	if r.Method == http.MethodPost { // is answered before it is read
		header.Set("Cache-Control", "no-store")
		header.Set("ETag", res.tag(0, ""))
		header.Set("Content-Length", strconv.FormatInt(res.at(0, "").length, 10))
		_, _ = io.Copy(w, &reader{content: res.at(0, "")})
		return
	}
	if r.Method == http.MethodPut {
		sum := fnv.New64a()
		length, err := io.Copy(sum, r.Body)
		if err != nil {
			return
		}
		_ = json.NewEncoder(w).Encode(uploaded{r.Header.Get("Storm-Nonce"), length, sum.Sum64(), res.change()})
		return
	}
	if res.moody && rand.IntN(5) == 0 {
		header.Del("Cache-Control")
		header.Set("Storm-Moody", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	i.get(w, r, res)
}

func (i *instance) get(w http.ResponseWriter, r *http.Request, res *resource) {
	header, variant := w.Header(), ""
	if res.variants != nil {
		header.Set("Vary", "Storm-Variant")
		variant = r.Header.Get("Storm-Variant")
	}
	version := res.current()
	is := res.at(version, variant)
	header.Set("ETag", res.tag(version, variant))
	header.Set("Content-Type", "application/octet-stream")
	if res.text {
		header.Set("Content-Type", "text/plain; charset=utf-8")
	}
	if rand.IntN(8) == 0 {
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
	}
	switch {
	case res.breaks && r.Method == http.MethodGet:
		if rand.IntN(2) == 0 {
			header.Set("Content-Length", strconv.FormatInt(is.length, 10))
		}
		_, _ = io.CopyN(w, &reader{content: is}, rand.Int64N(is.length))
		panic(http.ErrAbortHandler)
	case res.chunked || res.breaks:
		header.Set("Trailer", "Storm-Sum")
		if r.Method == http.MethodHead {
			return
		}
		body := &reader{content: is}
		for body.at < is.length {
			if _, err := io.CopyN(w, body, min(1+rand.Int64N(64<<10), is.length-body.at)); err != nil {
				return
			}
			if rand.IntN(2) == 0 {
				_ = http.NewResponseController(w).Flush()
			}
		}
		header.Set("Storm-Sum", strconv.FormatUint(is.seed, 10))
	default:
		http.ServeContent(w, r, "", res.modified(version), &reader{content: is})
	}
}

// tables has the edge take other tables: now these instances are named in it, now those.
type tables struct {
	path      string
	instances []*instance
	process   int
}

func (f *tables) write(named []*instance) error {
	var backends []string
	for _, one := range named {
		backends = append(backends, one.address)
	}
	text, err := json.Marshal(map[string]any{
		"routes":       []any{map[string]any{"backends": backends, "cache": []any{map[string]string{"match": "*"}}}},
		"certificates": []any{map[string]string{"chain": "chain.pem", "key": "key.pem"}},
	})
	if err != nil {
		return err
	}
	beside := filepath.Join(filepath.Dir(f.path), "next.json")
	if err := os.WriteFile(beside, text, 0o600); err != nil {
		return err
	}
	return os.Rename(beside, f.path)
}

// change names some of the instances, at least two.
func (f *tables) change(random *rand.Rand) error {
	named := slices.Clone(f.instances)
	random.Shuffle(len(named), func(a, b int) { named[a], named[b] = named[b], named[a] })
	if err := f.write(named[:2+random.IntN(len(named)-1)]); err != nil {
		return err
	}
	return syscall.Kill(f.process, syscall.SIGHUP)
}

// weather is what happens to the instances until it is over.
func (f *tables) weather(ctx context.Context, t *testing.T, w *world, random *rand.Rand) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	changed := make(map[*kind]time.Time)
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, r := range w.all {
				if r.changes > 0 && now.Sub(changed[r.kind]) >= r.changes {
					r.change()
				}
			}
			for _, k := range kinds {
				if k.changes > 0 && now.Sub(changed[k]) >= k.changes {
					changed[k] = now
				}
			}
		}
		victim := f.instances[random.IntN(len(f.instances))]
		switch n := random.IntN(400); {
		case n < 40:
			victim.drop(random)
		case n < 43:
			if err := f.change(random); err != nil {
				t.Error(err)
			}
		case n == 43:
			over := w.fail()
			victim.die()
			time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
			if err := victim.start(); err != nil {
				t.Error(fmt.Errorf("an instance does not come back: %w", err))
			}
			over()
		}
	}
}
