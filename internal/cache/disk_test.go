package cache

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

// onDisk gives a proxy whose cache has a folder, and what ends it as a process would
// end that is told to.
func onDisk(t *testing.T, folder string, options Options) (*proxy, func()) {
	t.Helper()
	p := newProxy(t)
	options.Folder = folder
	cache, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	p.cache = cache
	ctx, cancel := context.WithCancel(context.Background()) // the test's ends before it is cleaned up
	ended := make(chan error, 1)
	go func() { ended <- cache.Run(ctx) }()
	stop := func() {
		cancel()
		if err, ok := <-ended; ok && err != nil {
			t.Error(err)
		}
		close(ended)
	}
	t.Cleanup(func() {
		if ctx.Err() == nil {
			stop()
		}
	})
	return p, stop
}

// ready waits until the disk tier is taken over and counted.
func ready(t *testing.T, p *proxy) {
	t.Helper()
	eventually(t, "the disk tier is ready", func() bool {
		d := p.cache.disk
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.lock != nil && d.scanned
	})
}

// written waits until all is on disk.
func written(t *testing.T, p *proxy) {
	t.Helper()
	eventually(t, "all is written", func() bool {
		d := p.cache.disk
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.pending) == 0
	})
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after a minute it does not hold that %s", what)
		}
	}
}

// files lists the files of the disk tier that hold something.
func files(t *testing.T, folder string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if entry != nil && !entry.IsDir() && len(filepath.Base(filepath.Dir(path))) == 2 {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestWhatIsStoredSurvivesARestart(t *testing.T) {
	folder := t.TempDir()
	p, stop := onDisk(t, folder, Options{})
	ready(t, p)
	body := text(big)
	p.origin = func(r *message.Request) reply {
		if r.Target == "/big" {
			return p.file(body, "Cache-Control: max-age=60", `ETag: "b"`)(r)
		}
		return p.ok("small "+r.Fields.Get("Foo"), "Cache-Control: max-age=60", `ETag: "a"`, "Vary: Foo", "X-Text: \xff")
	}
	p.get("/", "Foo: 1")
	p.get("/", "Foo: 2")
	p.get("/big")
	stop()

	now := p.now
	p, _ = onDisk(t, folder, Options{})
	p.now = now.Add(10 * time.Second)
	ready(t, p)
	p.expect(p.get("/", "Foo: 1"), 200, "small 1")
	g := p.get("/", "Foo: 2")
	p.expect(g, 200, "small 2")
	if g.fields.Get("Age") != "10" || g.fields.Get("X-Text") != "\xff" {
		t.Errorf("fields are %v", g.fields)
	}
	p.expect(p.get("/big"), 200, body)
	p.expectForwarded(0)
}

// Who reads the disk in between would otherwise bring back to memory what is forgotten.
func TestWhatIsForgottenLeavesTheDiskBeforeTheMemory(t *testing.T) {
	p, _ := onDisk(t, t.TempDir(), Options{})
	ready(t, p)
	p.serve(p.ok("old", "Cache-Control: max-age=60"))
	p.get("/")
	written(t, p)
	primary := key{scope: "shop/production", scheme: "https", host: "shop.example", target: "/"}
	id := primary.hash(p.cache.seed)
	p.cache.disk.mu.Lock()
	removed := make(chan struct{})
	go func() { p.cache.remove(id); close(removed) }()
	for range 50 { // it waits for the disk all the while
		if _, there := p.cache.entries.GetIfPresent(id); !there {
			t.Error("it was out of memory while it was on disk")
			break
		}
		time.Sleep(time.Millisecond)
	}
	p.cache.disk.mu.Unlock()
	<-removed
	if p.cache.find(id) != nil {
		t.Error("it is still found")
	}
}

func TestADamagedFileIsAMissAndIsRemoved(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(path string, content []byte) error
	}{
		{"a bit", func(path string, content []byte) error {
			content[len(content)-2] ^= 4
			return os.WriteFile(path, content, 0o600)
		}},
		{"truncated", func(path string, content []byte) error { return os.Truncate(path, int64(len(content)/2)) }},
		{"empty", func(path string, _ []byte) error { return os.Truncate(path, 0) }},
		{"gone", func(path string, _ []byte) error { return os.Remove(path) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			p, stop := onDisk(t, folder, Options{})
			ready(t, p)
			body := text(big)
			p.origin = p.file(body, "Cache-Control: max-age=60", `ETag: "a"`)
			p.get("/")
			stop()
			for _, path := range files(t, folder) {
				content, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				// All slices but the first, and of each second turn the record too.
				if strings.HasSuffix(path, ".1") || strings.HasSuffix(path, ".0") && c.name != "a bit" {
					continue
				}
				if err := c.damage(path, content); err != nil {
					t.Fatal(err)
				}
			}
			p, _ = onDisk(t, folder, Options{})
			ready(t, p)
			p.origin = p.file(body, "Cache-Control: max-age=60", `ETag: "a"`)
			p.expect(p.get("/"), 200, body)
			p.expect(p.get("/"), 200, body)
			if len(p.forwarded()) == 0 {
				t.Error("nothing was fetched again")
			}
		})
	}
}

func TestTheDiskIsUsedWithinItsBound(t *testing.T) {
	folder := t.TempDir()
	p, _ := onDisk(t, folder, Options{Disk: 8 << 20, Memory: 1 << 20, MaxObject: 8 << 20})
	ready(t, p)
	p.origin = p.file(text(300_000), "Cache-Control: max-age=60", `ETag: "a"`)
	for i := range 100 {
		p.expect(p.get(fmt.Sprintf("/%d", i)), 200, text(300_000))
		written(t, p)
	}
	var size int64
	for _, path := range files(t, folder) {
		if info, err := os.Stat(path); err == nil {
			size += info.Size()
		}
	}
	if size > 8<<20 || size < 4<<20 || p.cache.Stats().DiskBytes != size {
		t.Errorf("%d bytes are used, %d are known of", size, p.cache.Stats().DiskBytes)
	}
	// A body that is larger than all of it still passes.
	body := text(12 << 20)
	p.origin = p.file(body, "Cache-Control: max-age=60", `ETag: "a"`)
	p.expect(p.get("/big"), 200, body)
	p.expect(p.get("/big", "Range: bytes=-8"), 206, body[len(body)-8:])
}

func TestADownloadOf4GiBByRangesNeedsNeitherTheMemoryNorTheDisk(t *testing.T) {
	const length = 4 << 30
	p, _ := onDisk(t, t.TempDir(), Options{Memory: 16 << 20, Disk: 64 << 20, MaxObject: 8 << 30})
	ready(t, p)
	slice := text(sliceSize)
	p.origin = func(r *message.Request) reply {
		specs, _ := parseRange(r.Fields.Get("Range"))
		parts := resolve(specs, length)
		if len(parts) != 1 || parts[0].from%sliceSize != 0 || parts[0].to-parts[0].from > 3*sliceSize {
			t.Fatalf("asked for were %v", r.Fields)
		}
		part := p.ok(strings.Repeat(slice, 4)[:parts[0].to-parts[0].from], "Cache-Control: max-age=60", `ETag: "a"`,
			"Content-Range: "+string(appendContentRange(nil, parts[0], length)))
		part.status = 206
		return part
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for at := int64(0); at < length; at += 37 << 20 {
		p.expect(p.get("/film", fmt.Sprintf("Range: bytes=%d-%d", at+sliceSize-4, at+2*sliceSize+3)), 206, slice[sliceSize-4:]+slice+slice[:4])
	}
	written(t, p) // what waits for the disk is in memory
	runtime.GC()
	runtime.ReadMemStats(&after)
	if stats := p.cache.Stats(); stats.MemoryBytes > 16<<20 || stats.DiskBytes > 64<<20 || stats.DiskBytes < 32<<20 {
		t.Errorf("the cache uses %+v", stats)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	p.forwarded()
	p.get("/film", "Range: bytes=4294967290-")
	p.get("/film", "Range: bytes=-6")
	p.expectForwarded(1)
}

// A folder that takes nothing stands for a full disk: root may write whatever the mode.
func TestAFullDiskOnlyMeansThatNothingIsStored(t *testing.T) {
	folder := t.TempDir()
	p, _ := onDisk(t, folder, Options{Memory: 16 << 20})
	ready(t, p)
	for i := range 256 {
		path := filepath.Join(folder, formatMark, fmt.Sprintf("%02x", i))
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	body := text(big)
	p.origin = p.file(body, "Cache-Control: max-age=60", `ETag: "a"`)
	p.expect(p.get("/"), 200, body)
	p.expect(p.get("/small", "Range: bytes=0-5"), 206, body[:6])
	p.expect(p.get("/"), 200, body)
	eventually(t, "an error is counted", func() bool { return p.cache.Stats().DiskErrors > 0 })
}

func TestAFolderThatCannotBeUsedIsRefusedWithAHint(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := New(Options{Folder: file})
	if springtide.KindOf(err) != springtide.Failed || !strings.Contains(err.Error(), "choose another folder") {
		t.Errorf("the error is %v", err)
	}
	if _, err := New(Options{Memory: -1}); springtide.KindOf(err) != springtide.Invalid {
		t.Errorf("the error is %v", err)
	}
}

func TestTheNewProcessOwnsTheDiskWhenTheOldOneReleasesIt(t *testing.T) {
	folder := t.TempDir()
	older, _ := onDisk(t, folder, Options{})
	ready(t, older)
	older.serve(older.ok("x", "Cache-Control: max-age=600"))
	older.get("/old")
	written(t, older)

	newer, _ := onDisk(t, folder, Options{})
	newer.serve(newer.ok("y", "Cache-Control: max-age=600"))
	newer.expect(newer.get("/old"), 200, "y") // not its own yet
	older.cache.Release()
	ready(t, newer)
	older.expect(older.get("/old"), 200, "x") // from its memory
	older.get("/late")
	if err := purgeNow(older.cache, springtide.Purge{Path: "/old"}); err != nil {
		t.Error(err)
	}
	older.get("/old")
	older.expectForwarded(3)
	before := len(files(t, folder))
	newer.get("/new")
	written(t, newer)
	if after := len(files(t, folder)); after != before+1 {
		t.Errorf("there were %d files and are %d", before, after)
	}
}

func TestAPurgeSurvivesARestart(t *testing.T) {
	folder := t.TempDir()
	p, stop := onDisk(t, folder, Options{})
	ready(t, p)
	p.origin = func(r *message.Request) reply {
		return p.ok("old "+r.Target, "Cache-Control: max-age=600", "Cache-Tag: "+strings.Trim(r.Target, "/")+"s")
	}
	for _, target := range []string{"/a", "/b", "/c"} {
		p.get(target)
	}
	if err := purgeNow(p.cache, springtide.Purge{Path: "/a"}); err != nil {
		t.Fatal(err)
	}
	if err := purgeNow(p.cache, springtide.Purge{Tag: "bs"}); err != nil {
		t.Fatal(err)
	}
	stop()
	for range 3 { // numbers go on over restarts
		p, stop = onDisk(t, folder, Options{})
		ready(t, p)
		p.serve(p.ok("new", "Cache-Control: max-age=600"))
		p.expect(p.get("/a"), 200, "new")
		p.expect(p.get("/b"), 200, "new")
		p.expect(p.get("/c"), 200, "old /c")
		stop()
	}
	p, _ = onDisk(t, folder, Options{})
	ready(t, p)
	p.serve(p.ok("newest", "Cache-Control: max-age=600"))
	if err := purgeNow(p.cache, springtide.Purge{}); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/a", "/b", "/c"} {
		p.expect(p.get(target), 200, "newest")
	}
}

// TestMain is also the process that TestKilledAtAnyInstant kills.
func TestMain(m *testing.M) {
	if folder := os.Getenv("CACHE_TEST_FOLDER"); folder != "" {
		storeForEver(folder)
	}
	os.Exit(m.Run())
}

// storeForEver stores numbered bodies and purges, and says so line by line.
func storeForEver(folder string) {
	cache, err := New(Options{Folder: folder, Memory: 8 << 20})
	if err != nil {
		panic(err)
	}
	go func() { _ = cache.Run(context.Background()) }()
	for owned := false; !owned; time.Sleep(time.Millisecond) {
		cache.disk.mu.Lock()
		owned = cache.disk.lock != nil
		cache.disk.mu.Unlock()
	}
	rules := &Rules{Scope: "shop/production"}
	var bodies []string
	for i := range 7 {
		bodies = append(bodies, text(1000+i*400_000))
	}
	for i := 0; ; i++ {
		body := bodies[i%7]
		request := &message.Request{Method: "GET", Scheme: "https", Host: "shop.example", Target: fmt.Sprintf("/%d", i%50)}
		verdict := cache.Lookup(time.Now(), request, rules, 0)
		if verdict.Fetch != nil {
			outcome := verdict.Fetch.Take(time.Now(), &message.Response{Status: 200, Fields: pairs(
				"Cache-Control: max-age=3600", fmt.Sprintf("ETag: \"%d\"", len(body)), fmt.Sprintf("Content-Length: %d", len(body)))}, nil)
			outcome.Store.Write([]byte(body))
			outcome.Store.Commit()
		}
		if i%20 == 19 {
			if err := purgeNow(cache, springtide.Purge{Path: fmt.Sprintf("/%d", i%50)}); err != nil {
				panic(err)
			}
			fmt.Println("purged", i%50)
		}
	}
}

func TestKilledAtAnyInstantItServesWhatIsWholeAndNotPurged(t *testing.T) {
	folder := t.TempDir()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for round := range 6 {
		child := exec.Command(executable)
		child.Env = append(os.Environ(), "CACHE_TEST_FOLDER="+folder)
		child.Stderr = os.Stderr
		output, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		purged, lines := "", bufio.NewScanner(output)
		for count := 0; count < 2+round && lines.Scan(); count++ {
			purged = strings.TrimPrefix(lines.Text(), "purged ")
		}
		time.Sleep(time.Duration(round) * 700 * time.Microsecond) // somewhere in the middle
		_ = child.Process.Kill()
		for lines.Scan() {
			purged = strings.TrimPrefix(lines.Text(), "purged ")
		}
		_ = child.Wait()
		if purged == "" {
			t.Fatal("the child did nothing")
		}
		p, stop := onDisk(t, folder, Options{})
		p.now = time.Now()
		ready(t, p)
		p.serve(reply{dead: true})
		found := 0
		for i := range 50 {
			g := p.get(fmt.Sprintf("/%d", i))
			if g.status != 200 {
				continue
			}
			if fmt.Sprint(i) == purged { // it would be stored again two purges later
				t.Errorf("/%d was purged and is served", i)
			}
			if found++; g.broken && strings.HasPrefix(text(len(g.body)), g.body) {
				continue // slices that were not written yet cannot be fetched
			}
			if g.body != text(len(g.body)) || g.fields.Get("ETag") != fmt.Sprintf(`"%d"`, len(g.body)) {
				t.Errorf("/%d is served with %d bytes and %v", i, len(g.body), g.fields)
			}
		}
		stop()
		t.Logf("round %d: %d of 50 are served, %s is the last that was purged", round, found, purged)
		if found == 0 {
			t.Error("nothing is served")
		}
	}
}
