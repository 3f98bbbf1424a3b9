package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
)

func TestABuildRunsInACopyAndItsResultIsTheArtifact(t *testing.T) {
	b := newBuilder(t)
	source := sourceOf(t, files{"in": "in", "run": "#!/bin/sh", "link": "-> in"})
	var output lines
	artifact, err := b.Build(t.Context(), Request{App: app("echo one; cat in > out; echo two >&2; rm in"), Source: source, Output: &output})
	if err != nil {
		t.Fatal(err)
	}
	want := files{"out": "in", "run": "#!/bin/sh", "link": "-> in"}
	if diff := cmp.Diff(want, read(t, artifact.Root)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(files{"in": "in", "run": "#!/bin/sh", "link": "-> in"}, read(t, source)); diff != "" {
		t.Errorf("the source was changed: %s", diff)
	}
	if diff := cmp.Diff([]string{"one\n", "two\n"}, output.all()); diff != "" {
		t.Error(diff)
	}
	if index := checkLayout(t, b); len(index.Manifests) != 1 || index.Manifests[0].Digest.String() != string(artifact.Digest) {
		t.Errorf("the index is %+v", index)
	}
	checkClean(t, b)
}

func TestTheSameTreeGivesTheSameArtifact(t *testing.T) {
	b := newBuilder(t)
	first := mustBuild(t, b, app("echo x > made; ln -s made link; mkdir empty; chmod 600 made"), sourceOf(t, files{"a": "1"}))
	second := mustBuild(t, b, app("umask 077; mkdir empty; ln -s made link; echo x > made; touch -d 2001-01-01 a"), sourceOf(t, files{"a": "1"}))
	if first.Digest != second.Digest || first.Reused || !second.Reused || first.Root != second.Root || first.Size != second.Size {
		t.Errorf("got %+v and then %+v", first, second)
	}
	elsewhere := mustBuild(t, newBuilder(t), app("echo x > made; ln -s made link; mkdir empty"), sourceOf(t, files{"a": "1"}))
	if elsewhere.Digest != first.Digest {
		t.Errorf("another machine made %s of it, not %s", elsewhere.Digest, first.Digest)
	}
	other := mustBuild(t, b, app(""), sourceOf(t, files{"a": "2"}))
	if other.Digest == first.Digest {
		t.Error("different trees have one digest")
	}
	checkLayout(t, b)
	checkClean(t, b)
}

func TestAWebServerSeesThatThePagesOfAReleaseAreNew(t *testing.T) {
	b := newBuilder(t)
	began := time.Now().Add(-time.Second)
	built := mustBuild(t, b, app("touch -d 2001-01-01 page"), sourceOf(t, files{"page": "1"}))
	if err := os.RemoveAll(built.Root); err != nil {
		t.Fatal(err)
	}
	unpacked, err := b.Root(t.Context(), built.Digest)
	if err != nil {
		t.Fatal(err)
	}
	again := mustBuild(t, b, app(""), sourceOf(t, files{"page": "1", "other": "2"}))
	for _, root := range []string{unpacked, again.Root} {
		info, err := os.Stat(filepath.Join(root, "page"))
		if err != nil {
			t.Fatal(err)
		}
		if info.ModTime().Before(began) {
			t.Errorf("the page is of %s: browsers that have another release's would keep it", info.ModTime())
		}
	}
}

func TestASourceThatMayBeTakenGivesTheSameArtifact(t *testing.T) {
	b := newBuilder(t)
	content := files{"a": "1", "run": "#!x", "d/link": "-> ../a"}
	copied := mustBuild(t, b, app("cp a b; [ -x run ]"), sourceOf(t, content))
	for name, source := range map[string]string{
		"on the same file system": content.write(t, filepath.Join(b.options.Data, "upload")),
		"on another file system":  content.write(t, otherFileSystem(t)),
	} {
		if err := os.Chmod(source, 0o700); err != nil {
			t.Fatal(err)
		}
		taken, err := b.Build(t.Context(), Request{App: app("cp a b; [ -x run ]"), Source: source, Take: true})
		if err != nil || taken.Digest != copied.Digest {
			t.Errorf("%s: %+v, %v", name, taken, err)
		}
	}
	checkClean(t, b)
}

// otherFileSystem gives a folder that is not where temporary folders are, if
// the machine has one.
func otherFileSystem(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("/dev/shm", "tide-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return folder
}

// state is all that can be told of a tree from outside.
func state(t *testing.T, root string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		line := fmt.Sprintf("%v %d:%d", info.Mode(), stat.Uid, stat.Gid)
		switch entry.Type() {
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + target
		case 0:
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" links %d: %q", stat.Nlink, content)
		}
		if entry.Type() != fs.ModeSymlink && time.Since(info.ModTime()) > time.Hour {
			line += " of " + info.ModTime().String() // servers would tell browsers that nothing changed
		}
		name, err := filepath.Rel(root, path)
		found[name] = line
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestUnpackingGivesExactlyTheTreeThatWasBuilt(t *testing.T) {
	b := newBuilder(t)
	long := strings.Repeat("long-", 40)
	artifact := mustBuild(t, b, app(`
		mkdir -p deep/er empty bin; echo a > deep/er/a; echo b > bin/run; chmod 4755 bin/run; chmod 0400 deep/er/a
		ln deep/er/a hard; ln -s deep/er/a soft; ln -s /usr/bin/env outward; ln -s ../../.. up; chmod 0777 deep; chmod 0500 empty
		echo u > "$(printf 'ünï\ncode\\x')"; printf c > "$(printf 'not-utf8-\377')"
		mkdir -p `+long+`/`+long+`; echo d > `+long+`/`+long+`/`+long+`; mkfifo pipe; head -c 300000 /dev/zero > zeros`),
		sourceOf(t, files{"x": "y"}))
	built := state(t, artifact.Root)
	if err := removeTree(artifact.Root); err != nil {
		t.Fatal(err)
	}
	root, err := b.Root(t.Context(), artifact.Digest)
	if err != nil || root != artifact.Root {
		t.Fatal(root, err)
	}
	if diff := cmp.Diff(built, state(t, root)); diff != "" {
		t.Error(diff)
	}
	for name, line := range built {
		if strings.Contains(name, "pipe") || strings.HasPrefix(line, "-rw-rw") || strings.HasPrefix(line, "u") {
			t.Errorf("%s is in the artifact as %s", name, line)
		}
	}
	checkClean(t, b)
}

func TestWhatIsLinkedFromACacheIsNotShared(t *testing.T) {
	b := newBuilder(t)
	cache := files{"package": "original"}.write(t, filepath.Join(b.options.Data, "shared"))
	if err := os.Chmod(filepath.Join(cache, "package"), 0o600); err != nil {
		t.Fatal(err)
	}
	artifact := mustBuild(t, b, app("ln "+cache+"/package package"), sourceOf(t, files{"x": "y"}))
	if err := os.WriteFile(filepath.Join(cache, "package"), []byte("changed"), 0); err != nil {
		t.Fatal(err)
	}
	if got := read(t, artifact.Root)["package"]; got != "original" {
		t.Errorf("the artifact changed to %q", got)
	}
	if info, err := os.Stat(filepath.Join(cache, "package")); err != nil || info.Mode() != 0o600 {
		t.Errorf("sealing changed the cache: %v %v", info.Mode(), err)
	}
}

func TestTheBuildSeesItsOwnEnvironmentOnly(t *testing.T) {
	t.Setenv("TIDE_SECRET", "platform")
	t.Setenv("HTTPS_PROXY", "http://proxy.example:1")
	b := newBuilder(t)
	source := sourceOf(t, files{"x": "y"})
	asked := app("env > env")
	asked.Build.Env = map[string]string{"MODE": "fast", "TIDE_APP": "lies", "TIDE_BUILD": "lies"}
	environment := read(t, mustBuild(t, b, asked, source).Root)["env"]
	for _, want := range []string{"MODE=fast", "TIDE_APP=quiz", "PATH=" + os.Getenv("PATH"), "HTTPS_PROXY=http://proxy.example:1", "TMPDIR=" + b.builds + "/quiz.1/tmp"} {
		if !strings.Contains(environment, want+"\n") {
			t.Errorf("%s is missing in\n%s", want, environment)
		}
	}
	home := "HOME=" + os.Getenv("HOME")
	if os.Geteuid() == 0 {
		home = "HOME=" + filepath.Join(b.caches, "quiz")
	}
	if !strings.Contains(environment, home+"\n") {
		t.Errorf("%s is missing in\n%s", home, environment)
	}
	if strings.Contains(environment, "SECRET") || strings.Contains(environment, "lies") {
		t.Errorf("the platform's environment is in\n%s", environment)
	}
}

func TestBuildsOneAfterAnotherHaveOnePath(t *testing.T) {
	b := newBuilder(t)
	first := read(t, mustBuild(t, b, app("pwd > where"), sourceOf(t, files{"x": "y"})).Root)["where"]
	second := read(t, mustBuild(t, b, app("pwd > where"), sourceOf(t, files{"x": "z"})).Root)["where"]
	if first != second {
		t.Errorf("the first build was in %s, the second in %s", first, second)
	}
}

func TestABuildGivesWayToWhatServes(t *testing.T) {
	b := newBuilder(t)
	made := read(t, mustBuild(t, b, app(`for i in $(seq 1000); do test "$(nice) $(cat /proc/self/oom_score_adj)" = "10 500" && break; sleep 0.02; done
		nice > nice; cat /proc/self/oom_score_adj > oom`), sourceOf(t, files{"x": "y"})).Root)
	if made["nice"] != "10\n" || made["oom"] != "500\n" {
		t.Errorf("nice %q, out-of-memory score %q", made["nice"], made["oom"])
	}
}

func TestAFailingBuildTellsItsLastLines(t *testing.T) {
	b := newBuilder(t)
	failure := failedBuild(t.Context(), t, b, app("seq 1 30; echo broken >&2; exit 2"), sourceOf(t, files{"x": "y"}))
	if failure.Kind != springtide.Failed || failure.Message != "build failed: exit status 2" {
		t.Errorf("got %s: %s", failure.Kind, failure.Message)
	}
	if len(failure.Lines) != 20 || failure.Lines[0] != "12" || failure.Lines[19] != "broken" {
		t.Errorf("lines %q", failure.Lines)
	}
	checkClean(t, b)
	if index, err := b.artifacts.index(); err != nil || len(index.Manifests) != 0 {
		t.Error("a failed build left an artifact", err)
	}
}

func TestACommandThatDoesNotExistIsToldSo(t *testing.T) {
	b := newBuilder(t)
	source := sourceOf(t, files{"plain": "no script"})
	failure := failedBuild(t.Context(), t, b, app("no-such-compiler main.c"), source)
	if !strings.Contains(failure.Message, "a command was not found") || !strings.Contains(failure.Message, "no-such-compiler") || failure.Hint == "" {
		t.Errorf("got %s", failure)
	}
	failure = failedBuild(t.Context(), t, b, app("./plain"), source)
	if !strings.Contains(failure.Message, "cannot be executed") {
		t.Errorf("got %s", failure)
	}
}

func TestAWrongRequestIsRefused(t *testing.T) {
	b := newBuilder(t)
	for _, name := range []springtide.AppName{"", "../up", "Upper", springtide.AppName(strings.Repeat("a", 41))} {
		_, err := b.Build(t.Context(), Request{App: springtide.App{Name: name}, Source: t.TempDir()})
		if springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("an app %q: %v", name, err)
		}
	}
	for _, digest := range []springtide.Digest{"", "sha256:../../x", "sha512:00"} {
		if _, err := b.Root(t.Context(), digest); springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("a digest %q: %v", digest, err)
		}
	}
	if _, err := b.Root(t.Context(), springtide.Digest("sha256:"+strings.Repeat("ab", 32))); springtide.KindOf(err) != springtide.NotFound {
		t.Errorf("an unknown digest: %v", err)
	}
}

// stubborn starts processes that do not end by themselves and cannot be asked
// to: one in the background, one in a session of its own, one that is a daemon.
const stubborn = `
	trap "" TERM HUP INT
	sh -c 'trap "" TERM HUP; echo $$ > $OUT/1; while :; do sleep 1; done' &
	setsid sh -c 'trap "" TERM HUP; echo $$ > $OUT/2; while :; do sleep 1; done' &
	(setsid sh -c 'trap "" TERM HUP; echo $$ > $OUT/3; while :; do sleep 1; done' &)
	while [ ! -s $OUT/1 ] || [ ! -s $OUT/2 ] || [ ! -s $OUT/3 ]; do sleep 0.01; done
	echo started
	`

// checkGone checks that what stubborn started is gone.
func checkGone(t *testing.T, out string) {
	t.Helper()
	for _, name := range []string{"1", "2", "3"} {
		pid := stubbornPID(t, out, name)
		if command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && len(command) > 0 {
			t.Errorf("process %s (%d, %q) is still there", name, pid, command)
		}
	}
}

func stubbornPID(t *testing.T, out, name string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(out, name))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func stubbornApp(t *testing.T, then string) (springtide.App, string) {
	t.Helper()
	out := t.TempDir()
	asked := app(stubborn + then)
	asked.Build.Env = map[string]string{"OUT": out}
	return asked, out
}

func TestABuildThatHangsIsEndedWithAllThatItStarted(t *testing.T) {
	b := newBuilder(t)
	for limit := 4 * time.Second; ; limit *= 3 { // a busy machine may need longer to start all of them
		asked, out := stubbornApp(t, "sleep 1000")
		asked.Build.Timeout = limit
		began := time.Now()
		failure := failedBuild(t.Context(), t, b, asked, sourceOf(t, files{"x": "y"}))
		if failure.Kind != springtide.Failed || failure.Message != "build timed out after "+limit.String() {
			t.Errorf("got %s %v", failure, failure.Lines)
		}
		if took := time.Since(began); took > limit+30*time.Second {
			t.Errorf("it took %s", took)
		}
		checkClean(t, b)
		if len(failure.Lines) == 0 && limit < 30*time.Second {
			continue
		}
		if !slices.Equal(failure.Lines, []string{"started"}) {
			t.Errorf("it said %q", failure.Lines)
		}
		checkGone(t, out)
		return
	}
}

func TestCancellingABuildEndsAllThatItStarted(t *testing.T) {
	b := newBuilder(t)
	asked, out := stubbornApp(t, "wait")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var output lines
	ended := make(chan error, 1)
	go func() {
		_, err := b.Build(ctx, Request{App: asked, Source: sourceOf(t, files{"x": "y"}), Output: &output})
		ended <- err
	}()
	eventually(t, "the build's output", func() bool { return slices.Equal(output.all(), []string{"started\n"}) })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	checkGone(t, out)
	checkClean(t, b)
}

func TestWhatASuccessfulBuildLeavesRunningIsEnded(t *testing.T) {
	b := newBuilder(t)
	asked, out := stubbornApp(t, "exit 0")
	mustBuild(t, b, asked, sourceOf(t, files{"x": "y"}))
	checkGone(t, out)
}

func TestHugeOutputIsPassedOnAndBounded(t *testing.T) {
	b := newBuilder(t)
	var output counter
	_, err := b.Build(t.Context(), Request{
		App:    app("head -c 20000000 /dev/zero | tr '\\0' x; echo; yes | head -n 200000; printf 'the end'; exit 1"),
		Source: sourceOf(t, files{"x": "y"}), Output: &output,
	})
	failure, ok := errors.AsType[*springtide.Error](err)
	if !ok || len(failure.Lines) != 20 || failure.Lines[19] != "the end" {
		t.Errorf("got %v", err)
	}
	if output.lines != 200_002 || output.longest > longestLine+len(lineCut)+1 {
		t.Errorf("%d lines, the longest has %d bytes", output.lines, output.longest)
	}
}

type counter struct{ lines, longest int }

func (c *counter) Write(b []byte) (int, error) {
	c.lines++
	c.longest = max(c.longest, len(b))
	return 0, errors.New("nobody is listening") // Which is no reason to stop.
}

func TestBuildsAtTheSameTimeDoNotDisturbEachOther(t *testing.T) {
	b := newBuilder(t)
	other := New(b.options) // As in another process.
	var wait sync.WaitGroup
	for i := range 8 {
		source := sourceOf(t, files{"n": strconv.Itoa(i % 4)})
		builder := []*Builder{b, other}[i%2]
		wait.Go(func() {
			artifact, err := builder.Build(t.Context(), Request{App: app("sleep 0.05; cp n m"), Source: source})
			if err != nil {
				t.Error(err)
				return
			}
			if got := read(t, artifact.Root); got["m"] != strconv.Itoa(i%4) {
				t.Errorf("build %d made %v", i, got)
			}
		})
	}
	wait.Wait()
	if index := checkLayout(t, b); len(index.Manifests) != 4 {
		t.Errorf("there are %d artifacts, want 4", len(index.Manifests))
	}
	checkClean(t, b)
}

func TestAnArtifactIsUnpackedOnceHoweverManyAsk(t *testing.T) {
	b := newBuilder(t)
	artifact := mustBuild(t, b, app(""), sourceOf(t, files{"a": "1", "b/c": "2"}))
	for range 5 {
		if err := removeTree(artifact.Root); err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		for range 8 {
			wait.Go(func() {
				root, err := b.Root(t.Context(), artifact.Digest)
				if err != nil {
					t.Error(err)
					return
				}
				if diff := cmp.Diff(files{"a": "1", "b/c": "2"}, read(t, root)); diff != "" {
					t.Error(diff)
				}
			})
		}
		wait.Wait()
	}
	checkClean(t, b)
}

func TestADamagedLayerIsNotUnpacked(t *testing.T) {
	b := newBuilder(t)
	source := sourceOf(t, files{"a": "some content"})
	artifact := mustBuild(t, b, app(""), source)
	digest, _ := parseDigest(artifact.Digest)
	manifest, err := b.artifacts.manifest(digest)
	if err != nil {
		t.Fatal(err)
	}
	path := b.artifacts.blob(manifest.Layers[0].Digest)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data = []byte(strings.Replace(string(data), "some content", "evil content", 1))
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := removeTree(artifact.Root); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Root(t.Context(), artifact.Digest); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(artifact.Root); !errors.Is(err, fs.ErrNotExist) {
		t.Error("it was unpacked all the same")
	}
	if again := mustBuild(t, b, app(""), source); again.Digest != artifact.Digest {
		t.Error("building it again did not mend it")
	}
	checkLayout(t, b)
}

func TestABuildOfRootRunsAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	data := dataFolder(t)
	b := New(Options{Data: data, User: func(springtide.AppName) (int, int, error) { return 54321, 54322, nil }})
	source := sourceOf(t, files{"x": "y"})
	artifact := mustBuild(t, b, app("id -u > who; id -g >> who; id -G >> who; echo c > $HOME/cached; touch $TMPDIR/t x"), source)
	if got := read(t, artifact.Root)["who"]; got != "54321\n54322\n54322\n" {
		t.Errorf("it ran as %q", got)
	}
	for name, line := range state(t, artifact.Root) {
		if !strings.Contains(line, " 0:0") {
			t.Errorf("%s is left as %s", name, line)
		}
	}
	again := mustBuild(t, b, app("cat $HOME/cached > from-cache"), source)
	if got := read(t, again.Root)["from-cache"]; got != "c\n" {
		t.Errorf("the cache has %q", got)
	}
	failure := failedBuild(t.Context(), t, b, app("touch "+artifact.Root+"/x"), source)
	if !strings.Contains(strings.Join(failure.Lines, ""), "ermission denied") {
		t.Errorf("a build could write to an artifact: %v", failure.Lines)
	}
}

func TestTheLimiterIsToldOfEachBuild(t *testing.T) {
	limiter := &recordingLimiter{}
	b := New(Options{Data: dataFolder(t), Limiter: limiter})
	asked := app("true")
	asked.Build.Limits = springtide.Limits{Memory: 64 << 20}
	mustBuild(t, b, asked, sourceOf(t, files{"x": "y"}))
	if limiter.name != "build-quiz.1" || limiter.limits != asked.Build.Limits || limiter.stopped != 1 {
		t.Errorf("got %+v", limiter)
	}
	asked.Build.Command = "exit 9"
	limiter.outOfMemory = true
	failure := failedBuild(t.Context(), t, b, asked, sourceOf(t, files{"x": "y"}))
	if !strings.Contains(failure.Message, "more memory than its limit of 64 MiB") {
		t.Errorf("got %s", failure)
	}
}

type recordingLimiter struct {
	name        string
	limits      springtide.Limits
	stopped     int
	outOfMemory bool
}

func (r *recordingLimiter) Start(cmd *exec.Cmd, name string, limits springtide.Limits) (func() bool, error) {
	r.name, r.limits = name, limits
	return func() bool { r.stopped++; return r.outOfMemory }, cmd.Start()
}
