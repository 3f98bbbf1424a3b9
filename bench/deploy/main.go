// Deploy measures what a deploy costs those who use the app: the requests that
// fail while releases follow one another under load, and the time beyond the
// build and the app's own start until all traffic is on the new release.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide/bench/load"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/internal/api"
)

type options struct {
	tide, app   string
	deploys     int
	rate        float64
	quick, json bool
}

// row is what one deploy took, in milliseconds.
type row struct {
	Case    string  `json:"case"`
	Subject string  `json:"subject"`
	Round   int     `json:"round"`
	Total   float64 `json:"total_ms"`
	Build   float64 `json:"build_ms"`
	Start   float64 `json:"start_ms"`
	Switch  float64 `json:"switch_ms"`
	// Beyond is Total without Build and without the app's own start.
	Beyond float64 `json:"beyond_build_and_start_ms"`
}

// summary is the last line.
type summary struct {
	Deploys  int        `json:"deploys"`
	Requests int        `json:"requests"`
	Failed   int        `json:"failed"`
	Streams  int        `json:"streams_ended_by_error"`
	OwnStart float64    `json:"app_start_ms"`
	Beyond   [3]float64 `json:"beyond_build_and_start_ms_median_min_max"`
}

func main() {
	var o options
	flag.StringVar(&o.tide, "tide", "bin/tide", "the tide binary")
	flag.StringVar(&o.app, "app", "examples/quiz", "the quiz's folder")
	flag.IntVar(&o.deploys, "deploys", 20, "how many releases follow one another")
	flag.Float64Var(&o.rate, "rate", 200, "requests per second meanwhile")
	flag.BoolVar(&o.quick, "quick", false, "5 deploys; not to be quoted")
	flag.BoolVar(&o.json, "json", false, "lines of JSON")
	flag.Parse()
	if o.quick {
		o.deploys = 5
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	folder, err := os.MkdirTemp("", "bench-deploy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	app := filepath.Join(folder, "quiz")
	if err := platform.CopyApp(o.app, app); err != nil {
		return err
	}
	p, err := platform.Start(ctx, platform.Options{Tide: o.tide, Data: filepath.Join(folder, "data")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	fmt.Fprintln(os.Stderr, "first build")
	first, err := p.Deploy(ctx, app)
	if err != nil {
		return err
	}
	own, err := ownStart(ctx, app)
	if err != nil {
		return err
	}
	result, rows, err := deployUnderLoad(ctx, o, p, app, first.URL, own)
	if err != nil {
		return err
	}
	return report(o, result, rows, own)
}

// deployUnderLoad deploys one version after the other while requests come in.
func deployUnderLoad(ctx context.Context, o options, p *platform.Platform, app, target string, own time.Duration) (load.Result, []row, error) {
	ca, err := p.CA(ctx)
	if err != nil {
		return load.Result{}, nil, err
	}
	loading, stop := context.WithCancel(ctx)
	defer stop()
	var result load.Result
	loaded := make(chan error, 1)
	go func() {
		var err error
		result, err = load.Run(loading, load.Options{
			Target: target, Dial: p.HTTPS, CA: ca, RequestID: true, Mix: load.QuizMix(),
			Schedule:   load.Schedule{load.Steady(o.rate, time.Hour)},
			WebSockets: load.Streams{Clients: 5, Path: "/live/tides"}, EventStreams: load.Streams{Clients: 5, Path: "/scores"},
		})
		loaded <- err
	}()
	var rows []row
	for round := range o.deploys {
		if err := platform.SetVersion(app, fmt.Sprint(round+2)); err != nil {
			return result, nil, err
		}
		began := time.Now()
		deploy, err := p.Deploy(ctx, app)
		if err != nil {
			return result, nil, err
		}
		r := newRow(round, deploy, time.Since(began), own)
		rows = append(rows, r)
		fmt.Fprintf(os.Stderr, "deploy %2d: %4.0f ms, build %4.0f, start %3.0f, switch %3.0f, beyond build and the app's own start %3.0f\n",
			round+1, r.Total, r.Build, r.Start, r.Switch, r.Beyond)
	}
	stop()
	if err := <-loaded; err != nil && !errors.Is(err, context.Canceled) {
		return result, nil, err
	}
	return result, rows, nil
}

func newRow(round int, deploy api.Deploy, wall, own time.Duration) row {
	r := row{
		Case: "deploy", Subject: "tide", Round: round + 1, Total: milliseconds(wall),
		Build: deploy.Timings.BuildSeconds * 1000, Start: deploy.Timings.StartSeconds * 1000, Switch: deploy.Timings.SwitchSeconds * 1000,
	}
	r.Beyond = r.Total - r.Build - milliseconds(own)
	return r
}

// ownStart measures how long the app takes by itself until it is healthy: the
// median of five.
func ownStart(ctx context.Context, app string) (time.Duration, error) {
	binary := filepath.Join(app, "bin", "own-start")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	build.Dir = app
	if output, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go build: %w\n%s", err, output)
	}
	defer os.Remove(binary)
	var times []time.Duration
	for i := range 5 {
		port := fmt.Sprint(39100 + i)
		command := exec.CommandContext(ctx, binary)
		command.Env = append(os.Environ(), "PORT="+port, "HOST=127.0.0.1")
		began := time.Now()
		if err := command.Start(); err != nil {
			return 0, err
		}
		for ctx.Err() == nil && !healthy(ctx, "http://127.0.0.1:"+port+"/healthz") {
			if time.Since(began) > 10*time.Second {
				return 0, errors.New("the app does not become healthy by itself")
			}
			time.Sleep(time.Millisecond)
		}
		times = append(times, time.Since(began))
		if err := command.Process.Kill(); err != nil {
			return 0, err
		}
		_ = command.Wait() // killed
	}
	slices.Sort(times)
	return times[len(times)/2], ctx.Err()
}

func healthy(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// report prints the figures; failed requests are an error.
func report(o options, result load.Result, rows []row, own time.Duration) error {
	var beyond []float64
	for _, r := range rows {
		beyond = append(beyond, r.Beyond)
	}
	slices.Sort(beyond)
	s := summary{
		Deploys: len(rows), Requests: result.Requests, Failed: result.Failed, OwnStart: milliseconds(own),
		Streams: result.WebSockets.Errors + result.EventStreams.Errors,
		Beyond:  [3]float64{beyond[len(beyond)/2], beyond[0], beyond[len(beyond)-1]},
	}
	if o.json {
		encoder := json.NewEncoder(os.Stdout)
		for _, r := range rows {
			if err := encoder.Encode(r); err != nil {
				return err
			}
		}
		if err := encoder.Encode(s); err != nil {
			return err
		}
	} else {
		fmt.Printf("%d deploys under %.0f requests/s: %d failed of %d requests; beyond build and the app's own start (%.0f ms): median %.0f ms, min %.0f, max %.0f\n",
			s.Deploys, o.rate, s.Failed, s.Requests, s.OwnStart, s.Beyond[0], s.Beyond[1], s.Beyond[2])
		fmt.Print(result.Summary())
	}
	if s.Failed > 0 || s.Streams > 0 {
		return fmt.Errorf("%d requests failed, %d streams ended by error\n%s", s.Failed, s.Streams, strings.TrimSpace(result.Summary()))
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
