// Command knative asks Knative Serving's own autoscaler, with the time it is told.
//
// It reads a line a second: the second, instances that are ready, instances that
// are coming, mean requests in flight, requests that arrived. It answers each
// with the number of instances that are wanted.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"knative.dev/serving/pkg/apis/autoscaling/v1alpha1"
	"knative.dev/serving/pkg/autoscaler/metrics"
	"knative.dev/serving/pkg/autoscaler/scaling"
)

type pods struct{ ready, coming int }

func (p *pods) ReadyCount() (int, error)    { return p.ready, nil }
func (p *pods) NotReadyCount() (int, error) { return p.coming, nil }

func main() {
	slots := flag.Float64("slots", 10, "requests an instance serves at a time")
	flag.Parse()
	if err := answer(*slots); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// answer decides as the defaults of Knative do: 70% of the slots, a stable
// window of 60 s, a panic window of a tenth of it, a tick of 2 s.
func answer(slots float64) error {
	log := zap.NewNop().Sugar()
	collector := metrics.NewMetricCollector(func(*v1alpha1.Metric, *zap.SugaredLogger) (metrics.StatsScraper, error) { return nil, nil }, log)
	if err := collector.CreateOrUpdate(&v1alpha1.Metric{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app"},
		Spec:       v1alpha1.MetricSpec{StableWindow: time.Minute, PanicWindow: 6 * time.Second},
	}); err != nil {
		return err
	}
	// While it is made none is ready: it would take the time of day for that of a panic.
	counts := &pods{}
	autoscaler := scaling.New(context.Background(), "ns", "app", collector, counts, &scaling.DeciderSpec{
		MaxScaleUpRate: 1000, MaxScaleDownRate: 2, ScalingMetric: "concurrency",
		TargetValue: 0.7 * slots, TotalValue: slots, TargetBurstCapacity: 211, ActivatorCapacity: 100,
		PanicThreshold: 2, StableWindow: time.Minute, InitialScale: 1, Reachable: true,
	})
	began := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	key := types.NamespacedName{Namespace: "ns", Name: "app"}
	in, out := bufio.NewScanner(os.Stdin), bufio.NewWriter(os.Stdout)
	wanted := 0
	for in.Scan() {
		var second int
		var inFlight, arrived float64
		if _, err := fmt.Sscan(in.Text(), &second, &counts.ready, &counts.coming, &inFlight, &arrived); err != nil {
			return err
		}
		if wanted == 0 {
			wanted = counts.ready + counts.coming
		}
		now := began.Add(time.Duration(second) * time.Second)
		collector.Record(key, now, metrics.Stat{PodName: "activator", AverageConcurrentRequests: inFlight, RequestCount: arrived})
		if second%2 == 0 {
			if answer := autoscaler.Scale(log, now); answer.ScaleValid {
				wanted = int(answer.DesiredPodCount)
			}
		}
		fmt.Fprintln(out, wanted)
		if err := out.Flush(); err != nil {
			return err
		}
	}
	return in.Err()
}
