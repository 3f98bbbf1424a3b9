package main

import (
	"os"
	"os/signal"
	"syscall"
)

// upgrades gives a value whenever the binary on disk is to take over.
func upgrades() (hangup <-chan os.Signal, stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	return signals, func() { signal.Stop(signals) }
}
