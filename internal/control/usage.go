package control

import (
	"context"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/scale"
)

// measureEvery is how often it is measured what instances use; each tenth time it is
// written down, for recommendations.
const measureEvery = time.Second

// measure tells the scaler what instances use of the machine, and metrics how it
// is shared, until ctx ends.
func (p *plane) measure(ctx context.Context) error {
	for n := 1; ctx.Err() == nil; n++ {
		usage := p.machine.Usage()
		p.scaler.ReportUsage(usage)
		if n%10 == 0 {
			p.demand.Use(usage)
		}
		machine := p.scaler.Machine()
		lacks := make(map[springtide.GroupID]int, len(machine.Short))
		for _, short := range machine.Short {
			lacks[short.Group] = short.Wanted - short.Granted
		}
		p.metrics.Machine(machine.Memory, machine.Wanted, lacks)
		_ = pauseFor(ctx, measureEvery)
	}
	return nil
}

// capacity tells how the machine is shared; nil: that is not known.
func capacity(machine scale.Machine, full string) *api.Capacity {
	if machine.Memory == 0 && full == "" {
		return nil
	}
	told := &api.Capacity{Memory: machine.Memory, Wanted: machine.Wanted, Full: full}
	for _, short := range machine.Short {
		told.Short = append(told.Short, api.Shortage(short))
	}
	return told
}
