package cli

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/build"
	"github.com/springtide/springtide/internal/calendar"
	"github.com/springtide/springtide/internal/client"
	"github.com/springtide/springtide/internal/manifest"
)

func (s *session) deploy() *cobra.Command {
	var description string
	command := &cobra.Command{
		Use:   "deploy [DIR]",
		Short: "Build an app's folder and bring it to its traffic",
		Long: `Build an app's folder and bring it to its traffic.

The command reads the manifest, sends the folder and follows the deploy to its
end. A release that does not become ready changes nothing: the command fails and
shows why. If the connection breaks the deploy goes on, and so does the command
once it is connected again.`,
		Args: cobra.MaximumNArgs(1),
		RunE: runs(func(ctx context.Context, args []string) error {
			c, err := s.platform()
			if err != nil {
				return err
			}
			return s.goesOn(ctx, s.deployFolder(ctx, c, folderOf(args), description))
		}),
	}
	command.Flags().StringVarP(&description, "message", "m", "", "what the source is; default: the last commit")
	return command
}

// deployFolder sends a folder and follows the deploy to its end.
func (s *session) deployFolder(ctx context.Context, c *client.Client, folder, description string) error {
	app, err := s.readApp(folder)
	if err != nil {
		return err
	}
	for _, warning := range calendar.Over(app, s.now()) {
		s.tell("warning: %s", warning)
	}
	if description == "" {
		description = lastCommit(ctx, folder)
	}
	id := springtide.EnvironmentID{App: app.Name, Name: springtide.EnvironmentName(s.environment)}
	started, err := s.send(ctx, c, id, folder, description)
	if err != nil {
		return err
	}
	return s.followDeploy(ctx, c, started)
}

// readApp reads the manifest of a folder for the environment that was chosen.
// What the manifest asks for and will not get is told.
func (s *session) readApp(folder string) (springtide.App, error) {
	app, notices, err := manifest.Load(folder, springtide.EnvironmentName(s.environment))
	if err != nil {
		return app, err
	}
	for _, notice := range notices {
		s.tell("note: %s", notice)
	}
	if s.app != "" && s.app != string(app.Name) {
		return app, springtide.Errorf(springtide.Invalid, "the manifest in %s is that of %s, not of %s", folder, app.Name, s.app).
			WithHint("leave out --app, or name another folder")
	}
	return app, nil
}

// send packs the folder and sends it as it is packed.
func (s *session) send(ctx context.Context, c *client.Client, id springtide.EnvironmentID, folder, description string) (api.Deploy, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reader, writer := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := pack(ctx, folder, writer)
		packed <- err
		writer.CloseWithError(err) // nil is the end
	}()
	counted := &countingReader{reader: reader}
	stop := s.showSent(counted)
	deploy, err := c.Deploy(ctx, id, counted, description)
	stop()
	reader.CloseWithError(errSent) // the server has what it wanted
	packErr := <-packed
	if packErr != nil && !errors.Is(packErr, errSent) && !errors.Is(packErr, context.Canceled) {
		return deploy, packErr
	}
	if err == nil {
		s.tell("sent %s", size(counted.bytes.Load()))
	}
	return deploy, err
}

// pack writes the folder as tar.gz. Speed counts more than size: on one machine
// it goes no further than a socket.
func pack(ctx context.Context, folder string, w io.Writer) error {
	zipped, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if _, err := build.Pack(ctx, folder, zipped); err != nil {
		return err
	}
	return zipped.Close()
}

// errSent ends packing when the server has answered.
var errSent = errors.New("the server has answered")

// countingReader counts what is read.
type countingReader struct {
	reader io.Reader
	bytes  atomic.Int64
}

// Read passes on what is read.
func (r *countingReader) Read(b []byte) (int, error) {
	n, err := r.reader.Read(b)
	r.bytes.Add(int64(n))
	return n, err
}

// showSent shows on a terminal how much was sent, until stop is called.
func (s *session) showSent(counted *countingReader) (stop func()) {
	if s.quiet || s.json || !isTerminal(s.stderr) {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprintf(s.stderr, "\r\x1b[Ksending %s", size(counted.bytes.Load()))
			case <-end:
				fmt.Fprint(s.stderr, "\r\x1b[K")
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}

// lastCommit describes what git has checked out: "4f2a91c Add a slow page". It
// is empty where there is no git.
func lastCommit(ctx context.Context, folder string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "git", "-C", folder, "log", "-1", "--format=%h %s").Output()
	if err != nil {
		return ""
	}
	description := []rune(strings.TrimSpace(string(out)))
	return oneLine(string(description[:min(len(description), 200)]))
}

// goesOn says after a Ctrl-C that the deploy goes on by itself.
func (s *session) goesOn(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		s.tell("what was sent goes on without this command; `tide releases` shows how it ended")
	}
	return err
}

// followDeploy shows a deploy, a rollback or a restart to its end.
func (s *session) followDeploy(ctx context.Context, c *client.Client, started api.Deploy) error {
	progress := newProgress(s, started.Started)
	deploy, err := c.FollowDeploy(ctx, started.ID, progress.event)
	if err != nil {
		return err
	}
	if s.json {
		if err := s.printJSONLine(deploy); err != nil {
			return err
		}
	}
	if deploy.Error != nil {
		return deploy.Error
	}
	if s.json {
		return nil
	}
	t := deploy.Timings
	took := fmt.Sprintf("start %s, switch %s", seconds(t.StartSeconds), seconds(t.SwitchSeconds))
	if t.BuildSeconds > 0 {
		took = fmt.Sprintf("build %s, ", seconds(t.BuildSeconds)) + took
	}
	return s.print("%s serves %s (%s)", s.colours.bold(version(deploy.Release)), s.colours.bold(deploy.URL), took)
}
