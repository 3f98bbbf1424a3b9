package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
)

// subject is one way to have instances for the traffic.
type subject struct {
	name        string
	least, most int // as the manifest says
	// drive has more instances come and go meanwhile, until ctx ends; nil: the
	// platform does by itself, if least and most let it.
	drive func(ctx context.Context, r *round) error
}

func (o options) all() []subject {
	before, after := o.comfortable(o.rate), o.comfortable(o.peak())
	return []subject{
		{"tide", 1, o.max, nil},
		{fmt.Sprintf("fixed %d", before), before, before, nil},
		{fmt.Sprintf("fixed %d", after), after, after, nil},
		{"hpa", 1, 1, driveByHPA},
	}
}

func (s subject) wanted(names string) bool {
	return slices.ContainsFunc(strings.Split(names, ","), func(part string) bool { return strings.Contains(s.name, part) })
}

func ceil(x float64) int { return max(int(math.Ceil(x)), 1) }
