package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/client"
	"github.com/springtide/springtide/internal/manifest"
)

// session is one execution of a command.
type session struct {
	program        Program
	now            func() time.Time
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
	colours        colours

	// The global flags.
	app, environment, data, server string
	json, quiet                    bool

	running bool // the command line made sense
	// flagged tells whether a global flag was set.
	flagged func(string) bool
	client  *client.Client
}

func (s *session) addFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	s.flagged = flags.Changed
	flags.StringVarP(&s.app, "app", "a", "", "the app; default: that of the manifest in this folder")
	flags.StringVarP(&s.environment, "env", "e", string(springtide.Production), "the app's environment")
	flags.StringVar(&s.data, "data", "", "the data folder of a platform on this machine (TIDE_DATA)")
	flags.StringVar(&s.server, "server", "", "https://host:port of a platform elsewhere (TIDE_SERVER, with TIDE_TOKEN and TIDE_CA)")
	flags.BoolVar(&s.json, "json", false, "write JSON")
	flags.BoolVarP(&s.quiet, "quiet", "q", false, "write only what was asked for, no progress")
	for name, complete := range map[string]cobra.CompletionFunc{"app": s.completeApps, "env": s.completeEnvironments} {
		if err := root.RegisterFlagCompletionFunc(name, complete); err != nil {
			panic(err) // the flag is added above
		}
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return springtide.Errorf(springtide.Invalid, "%w", err).WithHint("see `%s --help`", c.CommandPath())
	})
}

// dataFolder is --data, else TIDE_DATA, else the usual place for the user.
func (s *session) dataFolder() (string, error) {
	folder := s.data
	if folder == "" {
		folder = s.getenv("TIDE_DATA")
	}
	if folder == "" {
		folder = usualData(os.Getuid(), s.getenv)
	}
	if folder == "" {
		return "", springtide.Errorf(springtide.Invalid, "there is no HOME to keep data in").WithHint("set --data or TIDE_DATA")
	}
	return filepath.Abs(folder)
}

func usualData(uid int, getenv func(string) string) string {
	switch {
	case uid == 0:
		return "/var/lib/tide"
	case getenv("XDG_DATA_HOME") != "":
		return filepath.Join(getenv("XDG_DATA_HOME"), "tide")
	case getenv("HOME") != "":
		return filepath.Join(getenv("HOME"), ".local", "share", "tide")
	}
	return ""
}

// platform gives the client of the platform that was chosen.
func (s *session) platform() (_ *client.Client, err error) {
	if s.client != nil {
		return s.client, nil
	}
	options := client.Options{URL: s.server, Token: s.getenv("TIDE_TOKEN")}
	if options.URL == "" && s.data == "" {
		options.URL = s.getenv("TIDE_SERVER")
	}
	if options.URL == "" && s.data == "" && s.getenv("TIDE_DATA") == "" && s.getenv("TIDE_API") != "" {
		return nil, springtide.Errorf(springtide.Denied, "TIDE_API and TIDE_TOKEN are about jobs and locks of one environment, and about nothing else").
			WithHint("leave out --app and --env, or name a platform with --server and a token that is an operator's")
	}
	if options.URL == "" {
		folder, err := s.dataFolder()
		if err != nil {
			return nil, err
		}
		options.Data = folder
	} else if options.CA, err = s.authority(); err != nil {
		return nil, err
	}
	s.client, err = client.New(options)
	return s.client, err
}

// authority gives what the server is known by, in PEM; empty: the system knows it.
func (s *session) authority() (string, error) {
	path := s.getenv("TIDE_CA")
	if path == "" {
		return "", nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", springtide.Errorf(springtide.Invalid, "TIDE_CA: %w", err)
	}
	return string(text), nil
}

func (s *session) close() {
	if s.client != nil {
		s.client.Close()
	}
}

// target is the platform and the environment that a command is about.
func (s *session) target() (*client.Client, springtide.EnvironmentID, error) {
	if s.client == nil && s.insideInstance() {
		authority, err := s.authority()
		if err != nil {
			return nil, springtide.EnvironmentID{}, err
		}
		c, id, err := client.NewInstance(s.getenv("TIDE_API"), s.getenv("TIDE_TOKEN"), authority)
		s.client = c
		return c, id, err
	}
	id, err := s.environmentID(".")
	if err != nil {
		return nil, id, err
	}
	c, err := s.platform()
	return c, id, err
}

// scope is the platform, and the environment that a listing is of; none if it is
// of all.
func (s *session) scope(all bool) (c *client.Client, id springtide.EnvironmentID, err error) {
	c, err = s.platform()
	if !all && err == nil {
		id, err = s.environmentID(".")
	}
	return c, id, err
}

// insideInstance tells whether the command is about the instance's own
// environment: it runs in one, and no flag names another.
func (s *session) insideInstance() bool {
	elsewhere := slices.ContainsFunc([]string{"app", "env", "data", "server"}, s.flagged)
	return !elsewhere && s.getenv("TIDE_API") != "" && s.getenv("TIDE_TOKEN") != ""
}

// environmentID is what the flags name; the app's name may come from the
// manifest of a folder.
func (s *session) environmentID(folder string) (springtide.EnvironmentID, error) {
	id := springtide.EnvironmentID{App: springtide.AppName(s.app), Name: springtide.EnvironmentName(s.environment)}
	if id.App != "" {
		return id, nil
	}
	m, err := manifest.Read(folder)
	if springtide.KindOf(err) == springtide.NotFound {
		return id, springtide.Errorf(springtide.Invalid, "which app? This folder has no manifest").
			WithHint("name it with --app, or go to its folder; `tide ps --all` lists what runs")
	}
	if err != nil {
		return id, err
	}
	id.App = m.Name()
	return id, nil
}

// runs makes the function of a command that takes no part in parsing.
func runs(run func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error { return run(c.Context(), args) }
}

// exitError ends the program with the code of a command that ran elsewhere.
type exitError struct{ code int }

// Error is never shown.
func (e exitError) Error() string { return "ended with a code of its own" }

// report tells an error and gives the exit code.
func (s *session) report(ctx context.Context, err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[exitError](err); ok {
		return exit.code
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return interrupted
	}
	told, ok := errors.AsType[*springtide.Error](err)
	switch {
	case !ok && s.running:
		told = springtide.Errorf(springtide.Failed, "%w", err)
	case !ok:
		told = springtide.Errorf(springtide.Invalid, "%w", err).WithHint("`tide --help` lists the commands")
	}
	s.printError(told)
	return told.Kind.ExitCode()
}

// completeApps offers the apps of the platform.
func (s *session) completeApps(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return s.complete(c.Context(), func(id springtide.EnvironmentID) string { return string(id.App) })
}

// completeEnvironments offers the environments of the app, if one is named.
func (s *session) completeEnvironments(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return s.complete(c.Context(), func(id springtide.EnvironmentID) string {
		if s.app != "" && string(id.App) != s.app {
			return ""
		}
		return string(id.Name)
	})
}

// completeWithin is how long a shell waits for words.
const completeWithin = time.Second

func (s *session) complete(ctx context.Context, word func(springtide.EnvironmentID) string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(ctx, completeWithin)
	defer cancel()
	c, err := s.platform()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	environments, err := c.Environments(ctx, "")
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var words []string
	for _, environment := range environments {
		if w := word(environment.ID); w != "" && !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}
