package ledger

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
	postgres15 "github.com/springtide/springtide/test/postgres"
)

// batch is how many jobs the benchmarks handle in one call.
const batch = 100

func onBothForSpeed(b *testing.B, bench func(b *testing.B, l *Ledger)) {
	open := func(b *testing.B, location string) *Ledger {
		l, err := Open(context.Background(), location, Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { l.Close() })
		return l
	}
	b.Run("sqlite", func(b *testing.B) { bench(b, open(b, filepath.Join(b.TempDir(), "jobs.db"))) })
	b.Run("postgres", func(b *testing.B) {
		server := postgres15.Start(b) // it waits for the disk
		bench(b, open(b, server.URL("ledger")))
	})
}

func enqueueSome(b *testing.B, l *Ledger, count int) {
	list := make([]springtide.Job, count)
	for i := range list {
		list[i].Payload = []byte(`{"n": 1}`)
	}
	if _, err := l.Enqueue(context.Background(), quiz, list, nil); err != nil {
		b.Fatal(err)
	}
}

func claimSome(b *testing.B, l *Ledger) []springtide.Run {
	runs, err := l.Claim(context.Background(), jobs.Claim{Environment: quiz, Most: batch, Runner: "a", Started: true})
	if err != nil {
		b.Fatal(err)
	}
	return runs
}

func finishSome(b *testing.B, l *Ledger, runs []springtide.Run) {
	outcomes := make([]jobs.Outcome, len(runs))
	for i, run := range runs {
		outcomes[i] = jobs.Outcome{Hold: hold(run), Verdict: jobs.Succeeded}
	}
	accepted, err := l.Finish(context.Background(), outcomes)
	if err != nil {
		b.Fatal(err)
	}
	for _, ok := range accepted {
		if !ok {
			b.Fatal("refused")
		}
	}
}

func perSecond(b *testing.B, jobs int) {
	b.ReportMetric(float64(jobs)/b.Elapsed().Seconds(), "jobs/s")
}

func BenchmarkEnqueueOne(b *testing.B) {
	onBothForSpeed(b, func(b *testing.B, l *Ledger) {
		for b.Loop() {
			enqueueSome(b, l, 1)
		}
		perSecond(b, b.N)
	})
}

func BenchmarkEnqueueOneByMany(b *testing.B) {
	onBothForSpeed(b, func(b *testing.B, l *Ledger) {
		b.SetParallelism(16)
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				enqueueSome(b, l, 1)
			}
		})
		perSecond(b, b.N)
	})
}

func BenchmarkEnqueueBatch(b *testing.B) {
	onBothForSpeed(b, func(b *testing.B, l *Ledger) {
		for b.Loop() {
			enqueueSome(b, l, batch)
		}
		perSecond(b, b.N*batch)
	})
}

func BenchmarkClaimBatch(b *testing.B) {
	onBothForSpeed(b, func(b *testing.B, l *Ledger) {
		for b.Loop() {
			b.StopTimer()
			enqueueSome(b, l, batch)
			b.StartTimer()
			claimSome(b, l)
		}
		perSecond(b, b.N*batch)
	})
}

func BenchmarkFinishBatch(b *testing.B) {
	onBothForSpeed(b, func(b *testing.B, l *Ledger) {
		for b.Loop() {
			b.StopTimer()
			enqueueSome(b, l, batch)
			runs := claimSome(b, l)
			b.StartTimer()
			finishSome(b, l, runs)
		}
		perSecond(b, b.N*batch)
	})
}

// BenchmarkWork claims and finishes what four others enqueue.
func BenchmarkWork(b *testing.B) {
	onBothForSpeed(b, func(b *testing.B, l *Ledger) {
		const backlog = 100
		for range backlog {
			enqueueSome(b, l, batch)
		}
		done := 0
		for b.Loop() {
			runs := claimSome(b, l)
			finishSome(b, l, runs)
			enqueueSome(b, l, batch)
			done += len(runs)
		}
		perSecond(b, done)
	})
}
