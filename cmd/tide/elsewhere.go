package main

import (
	"context"
	"flag"
	"os"
	"path/filepath"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cli"
	"github.com/springtide/springtide/internal/control"
	"github.com/springtide/springtide/internal/peer"
)

// serveWithoutEdges is a control plane alone, whose edges run elsewhere: whoever
// starts it starts it again. When it ends, instances and edges go on.
func serveWithoutEdges(ctx context.Context, o cli.ServeOptions) error {
	if err := os.MkdirAll(filepath.Join(o.Data, "run"), 0o700); err != nil {
		return springtide.Errorf(springtide.Denied, "cannot use the data folder: %w", err).WithHint("choose another with --data, or make it yours")
	}
	return runControl(ctx, append([]string{"--data", o.Data}, arguments(o)...))
}

// checkElsewhere tries what is said of other machines.
func checkElsewhere(o cli.ServeOptions) error {
	if (o.Edges == "") != (o.EdgeToken == "") {
		return springtide.Errorf(springtide.Invalid, "--edges and --edge-token need each other").WithHint("see `tide edge --help`")
	}
	if o.Store == "" && os.Getenv(storeVariable) == "" && (o.Advertise != "" || o.SharedKey != "") {
		return springtide.Errorf(springtide.Invalid, "--advertise and --shared-key are for control planes that share a --store")
	}
	_, err := elsewhere(o.EdgeToken, o.SharedKey)
	return err
}

// secrets are what is read from files.
type secrets struct {
	token  peer.Token
	shared string
}

func elsewhere(token, shared string) (s secrets, err error) {
	if token != "" {
		if s.token, err = peer.ReadToken(token); err != nil {
			return s, err
		}
	}
	if shared != "" {
		s.shared, err = control.ReadSharedKey(shared)
	}
	return s, err
}

// elsewhereArguments are flags of `tide control`.
func elsewhereArguments(o cli.ServeOptions) (list []string) {
	for _, flag := range [][2]string{{"--edges", o.Edges}, {"--edge-token", o.EdgeToken}, {"--advertise", o.Advertise}, {"--shared-key", o.SharedKey}} {
		if flag[1] != "" {
			list = append(list, flag[0], flag[1])
		}
	}
	return list
}

// addElsewhere adds them to the flags of `tide control`; what it gives reads the files.
func addElsewhere(flags *flag.FlagSet, o *control.Options) (read func() error) {
	flags.StringVar(&o.Edges.Address, "edges", "", "an address for edges elsewhere")
	flags.StringVar(&o.Advertise, "advertise", "", "the host by which others reach this one")
	token := flags.String("edge-token", "", "a file with what edges are known by")
	shared := flags.String("shared-key", "", "a file with what is shared is sealed with")
	return func() error {
		s, err := elsewhere(*token, *shared)
		o.Edges.Token, o.SharedKey = s.token, s.shared
		return err
	}
}
