package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// record is what processes that are killed wrote of what they did: a line for
// each thing, written at once, so that a kill loses none.
type record struct {
	ended map[int]int // how often each job ran to its end
	ends  int
	slots map[string]bool
	// unfinished is how many jobs the subject said last that it has.
	unfinished int
	leader     string
	lastEnd    time.Time
}

// workUntilKilled carries out jobs, and writes down what happens.
func workUntilKilled(ctx context.Context, q queue, path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error {
		return q.Work(ctx, worker{
			job: func(n int) {
				time.Sleep(50*time.Millisecond + rand.N(950*time.Millisecond))
				fmt.Fprintf(file, "end %d %d\n", n, time.Now().UnixMilli())
			},
			slot: func(identity string) {
				time.Sleep(50 * time.Millisecond)
				fmt.Fprintf(file, "slot %s\n", identity)
			},
		})
	})
	all.Go(func() error {
		for pause(ctx, 500*time.Millisecond) == nil {
			leader, err := q.Leader(ctx)
			if err != nil {
				continue // a database that is busy is asked again
			}
			if count, err := q.Unfinished(ctx); err == nil {
				fmt.Fprintf(file, "unfinished %d %s\n", count, leader)
			}
		}
		return nil
	})
	return all.Wait()
}

func readRecord(path string) (record, error) {
	r := record{ended: map[int]int{}, slots: map[string]bool{}, unfinished: -1}
	data, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return r, err
	}
	for line := range bytes.Lines(data) {
		word, rest, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		switch word {
		case "end":
			var n int
			var at int64
			if _, err := fmt.Sscan(rest, &n, &at); err != nil {
				return r, fmt.Errorf("%q: %w", line, err)
			}
			r.ended[n]++
			r.ends++
			r.lastEnd = time.UnixMilli(at)
		case "slot":
			r.slots[rest] = true
		case "unfinished":
			count, leader, _ := strings.Cut(rest, " ")
			if _, err := fmt.Sscan(count, &r.unfinished); err != nil {
				return r, fmt.Errorf("%q: %w", line, err)
			}
			r.leader = leader
		}
	}
	return r, nil
}

// loss is what a subject lost.
type loss struct {
	Subject   string `json:"subject"`
	Processes int    `json:"processes"`
	Kills     int    `json:"kills"`
	Jobs      int    `json:"jobs"`
	// Lost jobs neither ended nor are known any more, Stuck ones are known and
	// nothing happens to them; Twice are those that ran to their end again.
	Lost  int `json:"lost"`
	Stuck int `json:"stuck"`
	Twice int `json:"twice"`
	// Expected slots, give or take one, and those for which a job ran.
	Expected  int `json:"slots_expected"`
	Slots     int `json:"slots"`
	SlotsLost int `json:"slots_lost"`
	// Recovery is from the last kill until the last job ended, in seconds.
	Recovery float64 `json:"recovery_seconds"`
}

func (l *loss) add(r record) {
	for _, times := range r.ended {
		if times > 1 {
			l.Twice++
		}
	}
	l.Stuck = max(0, r.unfinished)
	l.Lost = max(0, l.Jobs-len(r.ended)-l.Stuck)
	l.Slots = len(r.slots)
}

// String gives one line.
func (l loss) String() string {
	return fmt.Sprintf("%s: of %d jobs lost %d, stuck %d, twice %d; of %d slots lost %d; the last job ended %.0f s after the last of %d kills",
		l.Subject, l.Jobs, l.Lost, l.Stuck, l.Twice, l.Expected, l.SlotsLost, l.Recovery, l.Kills)
}

func reportLosses(o options, losses []loss) error {
	if o.json {
		encoder := json.NewEncoder(os.Stdout)
		for _, l := range losses {
			if err := encoder.Encode(l); err != nil {
				return err
			}
		}
		return nil
	}
	fmt.Println("| subject | processes | kills | jobs | lost | stuck | run to the end twice | slots | slots lost | last job over, s after the last kill |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|")
	for _, l := range losses {
		fmt.Printf("| %s | %d | %d | %d | %d | %d | %d | %d | %d | %.0f |\n",
			l.Subject, l.Processes, l.Kills, l.Jobs, l.Lost, l.Stuck, l.Twice, l.Expected, l.SlotsLost, l.Recovery)
	}
	return nil
}
