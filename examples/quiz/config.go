package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// config is what the environment says.
type config struct {
	Host, Port string
	// Uploads is the folder that pictures are kept in; empty: a temporary one.
	Uploads string
	// Grace is how long the app may take to leave.
	Grace time.Duration
	// Release and Instance are what the platform calls this copy.
	Release, Instance string
	// StartDelay makes the start slow, for trying what a platform does meanwhile.
	StartDelay time.Duration
	// Break makes the app misbehave, for trying failure.
	Break failure
}

func readConfig(getenv func(string) string) (config, error) {
	or := func(name, otherwise string) string {
		if value := getenv(name); value != "" {
			return value
		}
		return otherwise
	}
	c := config{
		Host:     getenv("HOST"),
		Port:     or("PORT", "3000"),
		Uploads:  getenv("UPLOADS"),
		Release:  or("TIDE_RELEASE", "none"),
		Instance: or("TIDE_INSTANCE", "local"),
		Break:    failure(getenv("BREAK")),
	}
	var err error
	if c.Grace, err = time.ParseDuration(or("GRACE", "9s")); err != nil {
		return c, fmt.Errorf("GRACE: %w", err)
	}
	if c.StartDelay, err = time.ParseDuration(or("START_DELAY", "0s")); err != nil {
		return c, fmt.Errorf("START_DELAY: %w", err)
	}
	return c, c.Break.validate()
}

// failure is a way to misbehave, chosen by $BREAK.
type failure string

const (
	breakExit      failure = "exit"      // exit at once; "1" means the same
	breakSilent    failure = "silent"    // never listen
	breakPort      failure = "port"      // listen on a port nobody asked for
	breakUnhealthy failure = "unhealthy" // answer /healthz with 503
	breakCrash     failure = "crash"     // exit 5 s after the start
	breakStubborn  failure = "stubborn"  // ignore SIGTERM
)

func (f failure) validate() error {
	switch f {
	case "", "1", breakExit, breakSilent, breakPort, breakUnhealthy, breakCrash, breakStubborn:
		return nil
	}
	return fmt.Errorf("BREAK=%s: want exit, silent, port, unhealthy, crash or stubborn", f)
}

// atStart does what has to be done before listening.
func (f failure) atStart(ctx context.Context, c *config) error {
	switch f {
	case "1", breakExit:
		return fmt.Errorf("BREAK=%s: exiting as asked", f)
	case breakSilent:
		<-ctx.Done()
	case breakPort:
		c.Port = "0"
	case breakCrash:
		time.AfterFunc(5*time.Second, func() {
			fmt.Fprintln(os.Stderr, "quiz: BREAK=crash: exiting as asked")
			os.Exit(1)
		})
	}
	return nil
}
