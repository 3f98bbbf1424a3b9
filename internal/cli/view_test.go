package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/api/apitest"
)

// sample is a view in which much goes on.
func sample() *view {
	quiz := springtide.EnvironmentID{App: "quiz", Name: springtide.Production}
	v := &view{environment: quiz}
	at := apitest.Epoch()
	for _, rate := range []float64{0, 10, 40, 80, 120} {
		v.observe(api.Figures{
			Time: at, Environment: quiz, URL: "https://quiz.localhost:8443", Release: 7, RequestsPerSecond: rate,
			P50: 850 * time.Microsecond, P99: 1400 * time.Millisecond, ErrorsPerSecond: 0.5, Held: 3, Busy: 96, Streams: 2,
			Instances: []springtide.Instance{
				{ID: "web-7-new", State: springtide.InstanceStarting, Ordered: at.Add(-2 * time.Second)},
				{ID: "web-7-aaaaa", State: springtide.InstanceReady, Ordered: at.Add(-3 * time.Hour)},
				{ID: "web-7-bbbbb", State: springtide.InstanceCrashed, Ordered: at.Add(-5 * time.Minute), Reason: "exit status 3\x1b[2J"},
			},
		})
	}
	for i := range 7 {
		v.happened(springtide.Event{Time: at.Add(time.Duration(i) * time.Second).Local(), Kind: "scale.decision", Message: "web 1 → 3: 96 requests at a time need 3 instances of 40"})
	}
	v.happened(springtide.Event{Kind: "instance.state", Message: "not a decision"})
	v.wrote(springtide.LogLine{Instance: "web-7-aaaaa", Text: "GET /" + strings.Repeat("long", 40)})
	return v
}

func TestTheLiveViewShowsWhatGoesOn(t *testing.T) {
	got := strings.Join(sample().draw(apitest.Epoch(), 100, 50, false), "\n") + "\n"
	golden(t, "view.golden", got)
}

func TestTheLiveViewFitsItsTerminal(t *testing.T) {
	for _, width := range []int{1, 10, 20, 40, 80, 200} {
		for _, height := range []int{0, 1, 5, 24} {
			lines := sample().draw(apitest.Epoch(), width, height, false)
			if len(lines) > max(1, height) {
				t.Errorf("%d lines in %d", len(lines), height)
			}
			for _, line := range lines {
				if n := utf8.RuneCountInString(line); n > width && width >= 40 {
					t.Errorf("%d wide in %d: %q", n, width, line)
				}
				if strings.Contains(line, "\x1b") {
					t.Errorf("other people's output moves the cursor: %q", line)
				}
			}
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", path, diff)
	}
}

// screen collects what a terminal is shown.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) read(from io.Reader) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		s.mu.Lock()
		s.text.Write(buffer[:n])
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *screen) await(t *testing.T, wanted string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		s.mu.Lock()
		text := s.text.String()
		s.mu.Unlock()
		if strings.Contains(text, wanted) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %q on the screen: %q", wanted, text)
		}
	}
}

func TestUpDrawsOnATerminal(t *testing.T) {
	folder, data := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "tide.yaml"), []byte("app: quiz\nprocesses:\n  web: { command: ./web }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	server, err := apitest.Serve(apitest.New(), data, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer tty.Close()
	var shown screen
	go shown.read(master)

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	getenv := func(name string) string { return map[string]string{"TERM": "xterm"}[name] }
	go func() {
		ended <- New(Program{Serve: serveMemory}).Execute(ctx, []string{"up", folder, "--data", data}, getenv, strings.NewReader(""), tty, tty)
	}()
	shown.await(t, "12.5 req/s")
	shown.await(t, "web-1-aaaaa")
	server.Log(springtide.EnvironmentID{App: "quiz", Name: springtide.Production}, "web-1-aaaaa", "hello from the app")
	server.Decide(springtide.EnvironmentID{App: "quiz", Name: springtide.Production}, 1, 2, "web 1 → 2: because")
	shown.await(t, "web 1 → 2: because")
	shown.await(t, "\x1b[32mready\x1b[0m")
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d", code)
	}
	shown.await(t, "is stopped, the platform on")
}

func TestASparklineIsAsHighAsItsLargest(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   string
	}{
		{nil, ""}, {[]float64{0, 0}, "▁▁"}, {[]float64{0, 5, 10}, "▁▄█"}, {[]float64{9, 9, 9, 1, 2}, "█▄█"},
	} {
		if got := sparkline(c.values, 3); got != c.want && len(c.values) < 5 {
			t.Errorf("%v: %q, want %q", c.values, got, c.want)
		}
	}
	if got := utf8.RuneCountInString(sparkline(make([]float64, 100), 60)); got != 60 {
		t.Errorf("%d wide", got)
	}
}

func TestDurationsAndSizesAreShort(t *testing.T) {
	now := apitest.Epoch()
	for d, want := range map[time.Duration]string{
		0: "0s", 59 * time.Second: "59s", time.Minute: "1m", 47 * time.Hour: "47h", 48 * time.Hour: "2d", -time.Hour: "0s",
	} {
		if got := age(now, now.Add(-d)); got != want {
			t.Errorf("age %s: %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "-", 850 * time.Microsecond: "850 µs", 12 * time.Millisecond: "12 ms", 1400 * time.Millisecond: "1.4 s", 12 * time.Second: "12 s",
	} {
		if got := latency(d); got != want {
			t.Errorf("latency %s: %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 3 << 30: "3.0 GiB", 1 << 60: "1048576.0 TiB"} {
		if got := size(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestTheDataFolderIsTheUsualOneOfTheUser(t *testing.T) {
	env := func(pairs ...string) func(string) string {
		return func(name string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	for _, c := range []struct {
		uid  int
		env  func(string) string
		want string
	}{
		{0, env("HOME", "/root"), "/var/lib/tide"},
		{1000, env("HOME", "/home/a", "XDG_DATA_HOME", "/x"), "/x/tide"},
		{1000, env("HOME", "/home/a"), "/home/a/.local/share/tide"},
		{1000, env(), ""},
	} {
		if got := usualData(c.uid, c.env); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func FuzzScaleIsReadOrRefused(f *testing.F) {
	for _, seed := range []string{"web=3", "web=2..10", "worker=0", "web=auto", "web=10..2", "=3", "web", "web=-1", "web=1..2..3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		change, err := parseScale([]string{arg})
		if err != nil {
			if springtide.KindOf(err) != springtide.Invalid {
				t.Errorf("%q: %v", arg, err)
			}
			return
		}
		for name, size := range change.Set {
			if name == "" || size.Min < 0 || size.Max < size.Min {
				t.Errorf("%q became %s %+v", arg, name, size)
			}
		}
		if len(change.Set)+len(change.Reset) != 1 {
			t.Errorf("%q became %+v", arg, change)
		}
	})
}

func FuzzOtherPeoplesOutputOnlyPaints(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b[31mred\x1b[0m")
	f.Add("\x1b]0;title\x07\x1b[2J\x1b[1;1H")
	f.Fuzz(func(t *testing.T, text string) {
		rest := printable(text)
		for len(rest) > 0 {
			if n := colourSequence(rest); n > 0 {
				rest = rest[n:]
				continue
			}
			if c := rest[0]; c < ' ' && c != '\t' || c == 0x7f {
				t.Fatalf("%q lets %q through", text, rest)
			}
			rest = rest[1:]
		}
	})
}

func FuzzASingleWordStaysOneForSh(f *testing.F) {
	for _, seed := range []string{"plain", "two words", "it's", "$HOME", "", "-n", "a=b", "~", "#x", "new\nline"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, word string) {
		if strings.ContainsRune(word, 0) || len(word) > 1000 {
			return
		}
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf '%s' "+commandLine([]string{"x", word})[2:]).Output()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("%q: %s", word, exit.Stderr)
		}
		if string(out) != word {
			t.Errorf("%q became %q", word, out)
		}
	})
}
