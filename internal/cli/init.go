package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/manifest"
)

func (s *session) initCommand() *cobra.Command {
	var force, show bool
	command := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a tide.yaml from what the folder holds",
		Args:  cobra.MaximumNArgs(1),
		RunE: runs(func(_ context.Context, args []string) error {
			return s.writeManifest(folderOf(args), force, show)
		}),
	}
	command.Flags().BoolVar(&force, "force", false, "replace a tide.yaml that is there")
	command.Flags().BoolVar(&show, "print", false, "write it to stdout instead")
	return command
}

// folderOf gives the folder that a command is about.
func folderOf(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[0]
}

func (s *session) writeManifest(folder string, force, show bool) error {
	draft, err := manifest.Detect(folder)
	if err != nil {
		return err
	}
	text := draft.YAML()
	for _, notice := range draft.Notices {
		s.tell("note: %s", notice)
	}
	if show {
		_, err := s.stdout.Write(text)
		return err
	}
	path := filepath.Join(folder, manifest.FileName)
	mode := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		mode = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	file, err := os.OpenFile(path, mode, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return springtide.Errorf(springtide.Conflict, "%s exists", path).WithHint("--force replaces it, --print only shows what would be written")
	}
	if err != nil {
		return springtide.Errorf(springtide.Failed, "%w", err)
	}
	_, err = file.Write(text)
	if err := errors.Join(err, file.Close()); err != nil {
		return springtide.Errorf(springtide.Failed, "%w", err)
	}
	if s.json {
		return s.printJSON(map[string]string{"file": path, "from": draft.From})
	}
	return s.print("wrote %s from %s; `tide up` brings the app up", path, draft.From)
}
