// Command tide-files serves the shared folders of apps as S3, and those that are
// public to the edge: package gateway as a process of its own. It reads the key
// that credentials are derived from from a pipe, and begins only when it has it;
// it says on another that it serves.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/springtide/springtide/internal/files"
	"github.com/springtide/springtide/internal/files/gateway"
)

// The descriptors that the control plane hands over. The lock says for as long
// as it is open who serves.
const (
	keyPipe = 3 + iota
	readyPipe
	lockFile
)

func main() {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("part", "files")
	// This process outlives whoever reads what it logs.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:], logger); err != nil {
		logger.Error("shared files are not served", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, logger *slog.Logger) error {
	o := gateway.Options{Logger: logger}
	flags := flag.NewFlagSet("tide-files", flag.ContinueOnError)
	folder := flags.String("folder", "", "where the shared folders are")
	flags.StringVar(&o.Listen, "listen", "", "the address of S3, host:port")
	flags.StringVar(&o.Public, "public", "", "the address of public files, host:port")
	if err := flags.Parse(args); err != nil {
		return err
	}
	syscall.CloseOnExec(lockFile)
	var err error
	if o.Key, err = io.ReadAll(os.NewFile(keyPipe, "key")); err != nil {
		return err
	}
	if len(o.Key) == 0 {
		return errors.New("whoever started this died over it")
	}
	if o.Store, err = files.New(files.Options{Folder: *folder, Logger: logger}); err != nil {
		return err
	}
	ready := os.NewFile(readyPipe, "ready")
	o.Ready = func() {
		fmt.Fprintln(ready, "ready")
		ready.Close()
	}
	return gateway.Run(ctx, o)
}
