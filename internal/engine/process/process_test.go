package process

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/springtide/springtide/internal/engine"
	"github.com/springtide/springtide/internal/engine/enginetest"
	"github.com/springtide/springtide/internal/engine/process/embedded"
)

// initProgram is the init, where the test binary was built without it.
var initProgram []byte

func TestMain(m *testing.M) {
	enginetest.Main()
	if data := os.Getenv(controlVariable); data != "" {
		runControl(data)
	}
	if os.Getenv(runnerVariable) != "" {
		runRunner()
	}
	if _, err := embedded.Init(); err != nil {
		initProgram = buildInit()
	}
	goleak.VerifyTestMain(m)
}

func buildInit() []byte {
	folder, err := os.MkdirTemp("", "tide-init")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "tide-init")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "./init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		panic(string(output))
	}
	program, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return program
}

// host gives engines of one data folder, with options of the test's own.
func host(change func(*Options)) enginetest.Factory {
	return func(t *testing.T, router engine.Router) *enginetest.Host {
		options := Options{
			Data: t.TempDir(), Router: router, Init: initProgram,
			Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		}
		if change != nil {
			change(&options)
		}
		var current *Engine
		var stop func()
		start := func() engine.Engine {
			e, err := New(options)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- e.Run(ctx) }()
			current, stop = e, func() {
				cancel()
				<-ended
			}
			return e
		}
		first := start()
		t.Cleanup(func() {
			for _, id := range current.Groups() {
				if err := current.Remove(context.Background(), id); err != nil {
					t.Error(err)
				}
			}
			stop()
		})
		return &enginetest.Host{Engine: first, Restart: func(meanwhile func()) engine.Engine {
			stop()
			if meanwhile != nil {
				meanwhile()
			}
			return start()
		}}
	}
}

func TestConformance(t *testing.T) {
	enginetest.Run(t, host(nil))
}

func TestConformanceWithoutAnyIsolation(t *testing.T) {
	enginetest.Run(t, host(func(o *Options) { o.Plain = true }))
}

// TestConformanceAsAnOrdinaryUser runs this test binary once more.
func TestConformanceAsAnOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("it is what runs already")
	}
	const nobody = 65534
	folder, err := os.MkdirTemp("", "tide-user")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := os.Chown(folder, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(folder, "process.test")
	if data, err := os.ReadFile(program); err != nil {
		t.Fatal(err)
	} else if err := os.WriteFile(own, data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(own, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", own, "-test.run", "^TestConformance$|Granted|^TestARunnerCarries", "-test.v")
	cmd.Dir = folder
	cmd.Env = []string{"TMPDIR=" + folder, "HOME=" + folder, "PATH=/usr/bin:/bin"}
	output, err := cmd.CombinedOutput()
	t.Logf("%s", output)
	if err != nil {
		t.Fatal(err)
	}
}
