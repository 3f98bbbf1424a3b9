package supervisor

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

func TestAPartThatCannotBeStartedIsTriedAtGrowingIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Duration
		began := time.Now()
		dead := &child{done: make(chan struct{}), started: began}
		close(dead.done)
		p := &part{
			child: dead, name: "control", longest: 10 * time.Second, logger: slog.New(slog.DiscardHandler),
			start: func() (*child, error) {
				tries = append(tries, time.Since(began))
				return nil, errors.New("no such file")
			},
		}
		for len(tries) < 6 {
			select {
			case <-p.ended():
				p.schedule()
			case <-p.due:
				p.again()
			}
		}
		for i, want := range []time.Duration{0, 1, 3, 7, 15, 25} {
			if tries[i] != want*time.Second {
				t.Errorf("try %d was after %s", i, tries[i])
			}
		}
	})
}

func TestAPartThatLivedIsStartedAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lived := &child{done: make(chan struct{}), started: time.Now().Add(-time.Minute)}
		close(lived.done)
		p := &part{child: lived, longest: 10 * time.Second, pause: 8 * time.Second, logger: slog.New(slog.DiscardHandler)}
		p.schedule()
		began := time.Now()
		<-p.due
		if waited := time.Since(began); waited != 0 {
			t.Errorf("it waits for %s", waited)
		}
	})
}
