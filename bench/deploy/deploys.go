package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/springtide/springtide/bench/load"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/internal/api"
)

// deployed is what one deploy took.
type deployed struct {
	api.Deploy
	total, command time.Duration
}

// deploy makes a new version of the source and deploys it.
func deploy(ctx context.Context, p *platform.Platform, s *source, version int) (deployed, error) {
	var d deployed
	if err := platform.SetVersion(s.folder, fmt.Sprint(version)); err != nil {
		return d, err
	}
	began := time.Now()
	output, err := p.CLI(ctx, "deploy", s.folder, "--json")
	if err != nil {
		return d, err
	}
	d.total = time.Since(began)
	last := ""
	for lines := bufio.NewScanner(strings.NewReader(output)); lines.Scan(); {
		last = lines.Text()
		var event struct {
			Message string `json:"message"`
		}
		if json.Unmarshal([]byte(last), &event) == nil {
			if took, ok := took(event.Message); ok {
				d.command = took
			}
		}
	}
	if err := json.Unmarshal([]byte(last), &d.Deploy); err != nil {
		return d, fmt.Errorf("the last line of tide deploy --json: %w", err)
	}
	if d.command == 0 {
		return d, fmt.Errorf("the build did not tell how long its command took:\n%s", output)
	}
	return d, nil
}

// deploys deploys one version after the other while requests come in. After
// each, every answer has to be of the new release.
func (b *bench) deploys(ctx context.Context, target string) error {
	ca, err := b.platform.CA(ctx)
	if err != nil {
		return err
	}
	witness := newWitness(target, b.platform.HTTPS, ca)
	defer witness.close()
	loading, stop := context.WithCancel(ctx)
	defer stop()
	loaded := make(chan error, 1)
	go func() {
		var err error
		b.load, err = load.Run(loading, load.Options{
			Target: target, Dial: b.platform.HTTPS, CA: ca, RequestID: true, Mix: load.QuizMix(),
			Schedule:   load.Schedule{load.Steady(b.rate, time.Hour)},
			WebSockets: load.Streams{Clients: 5, Path: "/live/deploys-{client}"}, EventStreams: load.Streams{Clients: 5, Path: "/scores"},
		})
		loaded <- err
	}()
	err = b.deployInTurn(ctx, witness)
	stop()
	if loadErr := <-loaded; err == nil && !errors.Is(loadErr, context.Canceled) {
		err = loadErr
	}
	return err
}

func (b *bench) deployInTurn(ctx context.Context, witness *witness) error {
	for round := 1; round <= b.options.deploys; round++ {
		alone, err := startAlone(ctx, b.alone)
		if err != nil {
			return err
		}
		d, err := deploy(ctx, b.platform, b.source, round+1)
		if err != nil {
			return err
		}
		if err := witness.sees(ctx, d.Release); err != nil {
			return err
		}
		r := newDeployRow(round, d, alone)
		b.rows = append(b.rows, r)
		fmt.Fprintf(os.Stderr, "deploy %2d: %s\n", round, r)
	}
	return nil
}
