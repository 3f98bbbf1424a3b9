package observe

import (
	"maps"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/springtide/springtide"
)

// fleet collects how many instances there are and should be.
type fleet struct {
	instances *prometheus.Desc
	wanted    *prometheus.Desc

	mutex   sync.Mutex
	byState map[fleetState]int
	want    map[series]int
}

type fleetState struct {
	series
	state springtide.InstanceState
}

func newFleet() *fleet {
	return &fleet{
		instances: prometheus.NewDesc("tide_instances", "Instances, by state.", append(seriesLabels(), "state"), nil),
		wanted:    prometheus.NewDesc("tide_replicas_wanted", "Replicas that the groups should have.", seriesLabels(), nil),
		byState:   map[fleetState]int{},
		want:      map[series]int{},
	}
}

func (f *fleet) setInstances(snapshot springtide.Snapshot) {
	byState := map[fleetState]int{}
	for _, instance := range snapshot.Instances {
		byState[fleetState{seriesOf(instance.Group), instance.State}]++
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.byState = byState
}

func (f *fleet) setGroups(groups []springtide.Group) {
	want := map[series]int{}
	for _, group := range groups {
		want[seriesOf(group.ID)] += group.Replicas
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.want = want
}

func (f *fleet) forget(id springtide.EnvironmentID) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	maps.DeleteFunc(f.byState, func(s fleetState, _ int) bool { return s.environment == id })
	maps.DeleteFunc(f.want, func(s series, _ int) bool { return s.environment == id })
}

// Describe implements prometheus.Collector.
func (f *fleet) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- f.instances
	descriptions <- f.wanted
}

// Collect implements prometheus.Collector.
func (f *fleet) Collect(metrics chan<- prometheus.Metric) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for s, count := range f.byState {
		metrics <- prometheus.MustNewConstMetric(f.instances, prometheus.GaugeValue, float64(count), s.values(string(s.state))...)
	}
	for s, count := range f.want {
		metrics <- prometheus.MustNewConstMetric(f.wanted, prometheus.GaugeValue, float64(count), s.values()...)
	}
}
