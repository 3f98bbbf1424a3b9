package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/client"
)

// movePasses is how often a move goes through all files, at most, until nothing
// changed: an app may write all the time, and the deploy carries over the rest.
const movePasses = 5

func (s *session) moveFiles() *cobra.Command {
	return &cobra.Command{
		Use: "move FILES s3://BUCKET/PREFIX?endpoint=URL", Short: "Copy a shared folder to a bucket of your own, while the app runs", Args: cobra.ExactArgs(2),
		Long: `Copy all files of a shared folder to a bucket of your own, and again what changed
meanwhile, until there is nothing more; then every object is checked. The app runs on.
The bucket's keys are the secrets S3_ACCESS_KEY_ID_FILES and S3_SECRET_ACCESS_KEY_FILES,
with the folder's name for FILES. Then name the bucket in the manifest and deploy: the
new release uses it, and what the old one still wrote is carried over.`,
		Example: "  tide files move uploads 's3://shop-uploads?endpoint=https://s3.example.com&region=eu-west-3'",
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			name := springtide.FilesName(strings.TrimSuffix(args[0], ":"))
			done, err := s.moveAll(ctx, c, id, name, args[1])
			if err != nil {
				return err
			}
			if s.json {
				return s.printJSON(done)
			}
			return s.print("%s: %d files are in the bucket, %s were sent now; %d are newer there and stay\n"+
				"next: files: { %s: { s3: %q } } in tide.yaml, and `tide deploy`", name, done.Same, size(done.Bytes), done.Newer, name, args[1])
		}),
	}
}

// moveAll copies until a pass over all files finds nothing more to do, and checks.
func (s *session) moveAll(ctx context.Context, c *client.Client, id springtide.EnvironmentID, name springtide.FilesName, to string) (total api.FilesMoved, err error) {
	for pass, check := 0, false; ; pass++ {
		done, err := s.movePass(ctx, c, id, name, api.FilesMove{To: to, Check: check})
		if err != nil {
			return total, err
		}
		total = api.FilesMoved{Copied: total.Copied + done.Copied, Bytes: total.Bytes + done.Bytes, Same: done.Same + done.Copied, Newer: done.Newer}
		if check && done.Copied == 0 || pass == movePasses {
			return total, nil
		}
		check = done.Copied == 0 || pass == movePasses-1
	}
}

// movePass goes through all files once.
func (s *session) movePass(ctx context.Context, c *client.Client, id springtide.EnvironmentID, name springtide.FilesName, move api.FilesMove) (api.FilesMoved, error) {
	var total api.FilesMoved
	for {
		done, err := c.MoveFiles(ctx, id, name, move)
		if err != nil {
			return total, err
		}
		total.Copied, total.Bytes = total.Copied+done.Copied, total.Bytes+done.Bytes
		total.Same, total.Newer = total.Same+done.Same, total.Newer+done.Newer
		if done.Next == "" {
			return total, nil
		}
		move.After = done.Next
		if !s.json {
			if err := s.print("sent %d files with %s so far, %d were there", total.Copied, size(total.Bytes), total.Same); err != nil {
				return total, err
			}
		}
	}
}

func (s *session) destroyFiles() *cobra.Command {
	return &cobra.Command{
		Use: "destroy APP/ENVIRONMENT/NAME", Short: "Delete a shared folder and all of its files, for good", Args: cobra.ExactArgs(1),
		RunE: runs(func(ctx context.Context, args []string) error {
			parts := strings.Split(args[0], "/")
			if len(parts) != 3 {
				return springtide.Errorf(springtide.Invalid, "%q does not name a shared folder in full", args[0]).WithHint("like shop/production/uploads; see `tide files --all`")
			}
			c, err := s.platform()
			if err != nil {
				return err
			}
			id := springtide.EnvironmentID{App: springtide.AppName(parts[0]), Name: springtide.EnvironmentName(parts[1])}
			if err := c.DestroyFiles(ctx, id, springtide.FilesName(parts[2])); err != nil {
				return err
			}
			return s.printResult(args[0], "destroyed")
		}),
	}
}
