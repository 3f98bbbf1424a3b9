package build

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
)

// crashData makes the test binary a process that builds, in that data folder,
// until it is killed.
const crashData = "BUILD_UNTIL_KILLED"

func TestMain(m *testing.M) {
	if data := os.Getenv(crashData); data != "" {
		buildForEver(data)
	}
	os.Exit(m.Run())
}

func buildForEver(data string) {
	b := New(Options{Data: data, Grace: time.Nanosecond})
	var kept []springtide.Digest
	for i := 0; ; i++ {
		source, err := os.MkdirTemp(filepath.Join(data, "sources"), "s")
		if err == nil {
			err = os.WriteFile(filepath.Join(source, "n"), []byte(strconv.Itoa(rand.IntN(1000))), 0o644)
		}
		var made Artifact
		if err == nil {
			made, err = b.Build(context.Background(), Request{App: app("head -c 200000 /dev/urandom > data; mkdir -p a/b; cp data a/b/c; sleep 0.01"), Source: source, Output: os.Stdout})
		}
		if err == nil {
			kept = append(kept, made.Digest)[max(0, len(kept)-2):]
			err = os.Rename(made.Root, filepath.Join(source, "root")) // Not removed, for that could be killed half way.
		}
		if err == nil {
			_, err = b.Root(context.Background(), made.Digest)
		}
		if err == nil {
			_, _, err = b.Collect(context.Background(), kept)
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
}

func TestABuilderThatIsKilledLeavesNothingHalf(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	data := dataFolder(t)
	if err := os.Mkdir(filepath.Join(data, "sources"), 0o755); err != nil {
		t.Fatal(err)
	}
	b := New(Options{Data: data, Grace: time.Nanosecond})
	mustBuild(t, b, app(""), sourceOf(t, files{"first": "x"}))
	for round := range rounds {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), crashData+"="+data)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(30+rand.IntN(200)) * time.Millisecond) // At any moment.
		_ = cmd.Process.Kill()
		if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
			t.Fatalf("round %d: it was not killed but ended: %v", round, err)
		}
		index := checkLayout(t, b)
		for _, one := range index.Manifests {
			checkRoot(t, b, springtide.Digest(one.Digest.String()))
		}
		artifact := mustBuild(t, b, app("cp n m"), sourceOf(t, files{"n": strconv.Itoa(round)}))
		if got := read(t, artifact.Root); got["m"] != strconv.Itoa(round) {
			t.Errorf("round %d built %v", round, got)
		}
		if _, _, err := b.Collect(t.Context(), []springtide.Digest{artifact.Digest}); err != nil {
			t.Fatal(err)
		}
		if index := checkLayout(t, b); len(index.Manifests) != 1 {
			t.Errorf("round %d: there are %d artifacts", round, len(index.Manifests))
		}
		checkClean(t, b)
		if t.Failed() {
			return
		}
	}
}

// checkRoot checks that an artifact's root, if there is one, is what unpacking
// gives now.
func checkRoot(t *testing.T, b *Builder, digest springtide.Digest) {
	t.Helper()
	root, err := b.Root(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	found := state(t, root)
	if err := removeTree(root); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Root(t.Context(), digest); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(found, state(t, root)); diff != "" {
		t.Errorf("a root is not whole: %s", diff)
	}
}

func TestTheCommandOfAKilledBuilderIsEndedByTheNext(t *testing.T) {
	b := newBuilder(t)
	mark := marker + "=" + filepath.Join(b.builds, "quiz.1")
	orphan := exec.CommandContext(t.Context(), "sh", "-c", "trap '' TERM; while :; do sleep 1; done")
	orphan.Env = append(os.Environ(), mark)
	orphan.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the orphan's environment", func() bool { return len(marked([]byte(mark))) > 0 })
	files{"quiz.1/source/half": "built"}.write(t, b.builds)
	files{"quiz.1.lock": ""}.write(t, b.builds)
	mustBuild(t, b, app("true"), sourceOf(t, files{"x": "y"}))
	if err := orphan.Wait(); err == nil {
		t.Error("it ended by itself")
	}
	if left := marked([]byte(mark)); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
	checkClean(t, b)
}
