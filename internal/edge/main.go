package edge

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Main is [Run] under the signals of the process: SIGTERM drains, SIGQUIT
// finishes, SIGINT is ignored, since the terminal sends it to the whole group.
func Main(ctx context.Context, options Options) error {
	signal.Ignore(syscall.SIGINT)
	// quic-go would write to the standard logger that a UDP socket's buffer is small;
	// the documentation says what can be done.
	if err := os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true"); err != nil {
		return err
	}
	drain, finish := make(chan struct{}), make(chan struct{})
	options.Drain, options.Finish = drain, finish

	signals := make(chan os.Signal, 4)
	// For good: one that comes when Run has returned must not kill what ends anyway.
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGQUIT)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case received := <-signals:
				channel := &drain
				if received == syscall.SIGQUIT {
					channel = &finish
				}
				if *channel != nil {
					close(*channel)
					*channel = nil
				}
			case <-ended:
				return
			}
		}
	}()
	return Run(ctx, options)
}
