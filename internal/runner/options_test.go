package runner

import (
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

func TestTheEnvironmentSaysWhatARunnerDoes(t *testing.T) {
	variables := map[string]string{
		"TIDE_API": "http://127.0.0.1:1/v1", "TIDE_TOKEN": "x", "TIDE_QUEUES": "a, b,", "TIDE_SLOTS": "3",
		"TIDE_RUNNER_COMMAND": "./task", "TIDE_RUNNER_TIMEOUT": "1h0m0s", "TIDE_RUNNER_GRACE": "2s",
	}
	o, err := OptionsOf(func(name string) string { return variables[name] })
	if err != nil || len(o.Queues) != 2 || o.Queues[1] != "b" || o.Slots != 3 || o.Command != "./task" || o.Timeout != time.Hour || o.Grace != 2*time.Second {
		t.Errorf("%+v, %v", o, err)
	}
	o.Output, o.Log = io.Discard, slog.New(slog.DiscardHandler)
	if err := o.withDefaults().Validate(); err != nil {
		t.Error(err)
	}
	for name, value := range map[string]string{"TIDE_SLOTS": "many", "TIDE_RUNNER_GRACE": "soon"} {
		_, err := OptionsOf(func(asked string) string {
			if asked == name {
				return value
			}
			return ""
		})
		if springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"no platform":  func(o *Options) { o.API = "" },
		"no URL":       func(o *Options) { o.API = "127.0.0.1:80" },
		"no token":     func(o *Options) { o.Token = "" },
		"many slots":   func(o *Options) { o.Slots = 1001 },
		"negative":     func(o *Options) { o.Timeout = -1 },
		"a long name":  func(o *Options) { o.Name = strings.Repeat("x", 101) },
		"a zero byte":  func(o *Options) { o.Command = "a\x00b" },
		"nothing said": func(o *Options) { *o = Options{} },
	} {
		o := Options{API: "http://127.0.0.1:1", Token: "x", Output: io.Discard, Log: slog.New(slog.DiscardHandler)}
		change(&o)
		if err := Run(t.Context(), o); springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTwoThirdsOfALeaseAreSafe(t *testing.T) {
	if got := timingOf(jobs.LeaseAnswer{}); got != (timing{jobs.BeatEvery, jobs.SilentFor}) {
		t.Errorf("%+v", got)
	}
	if got := timingOf(jobs.LeaseAnswer{LeaseSeconds: 3, BeatSeconds: 0.5}); got != (timing{500 * time.Millisecond, 2 * time.Second}) {
		t.Errorf("%+v", got)
	}
}

func TestPausesGrowToTwoSeconds(t *testing.T) {
	for failures, most := range map[int]time.Duration{1: 200 * time.Millisecond, 3: 800 * time.Millisecond, 9: 2 * time.Second, 1000: 2 * time.Second} {
		if d := pause(failures); d > most || d < most/2 {
			t.Errorf("%d: %s", failures, d)
		}
	}
}
