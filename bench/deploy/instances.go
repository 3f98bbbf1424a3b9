package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/springtide/springtide"
)

// instances asks for one more instance and takes it away, again and again.
func (b *bench) instances(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	before, err := b.scale(ctx, 1)
	if err != nil {
		return err
	}
	for round := 1; round <= b.options.instances; round++ {
		alone, err := startAlone(ctx, b.alone)
		if err != nil {
			return err
		}
		asked := time.Now()
		after, err := b.scale(ctx, 2)
		if err != nil {
			return err
		}
		added := after[slices.IndexFunc(after, func(i springtide.Instance) bool { return i.ID != before[0].ID })]
		r := newInstanceRow(round, asked, added, alone)
		b.rows = append(b.rows, r)
		fmt.Fprintf(os.Stderr, "instance %2d: %s\n", round, r)
		if before, err = b.scale(ctx, 1); err != nil {
			return err
		}
	}
	return nil
}

// scale has n instances run, no more and no fewer, and gives them.
func (b *bench) scale(ctx context.Context, n int) ([]springtide.Instance, error) {
	if _, err := b.platform.CLI(ctx, "scale", fmt.Sprintf("web=%d", n), "--app", string(b.environment.App)); err != nil {
		return nil, err
	}
	return b.platform.Ready(ctx, b.environment, n)
}
