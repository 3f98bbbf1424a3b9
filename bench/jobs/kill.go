package main

import (
	"context"
	"errors"
	"time"
)

const slotEvery = 2 * time.Second

type killing struct {
	Kills       int
	Every, Wait time.Duration
}

func killAll(context.Context, options, []subject) error    { return errors.New("not yet") }
func workUntilKilled(context.Context, queue, string) error { return errors.New("not yet") }
