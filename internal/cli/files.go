package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/client"
)

func (s *session) files() *cobra.Command {
	command := s.filesUsage("files", "Show and move the files that all instances share")
	command.Long = `Show and move the files that all instances of the app share. A file there is written
as FILES:PATH, where FILES is its name in the manifest: uploads:2026/cat.png.`
	command.AddCommand(
		s.filesUsage("du", "Tell how full the shared folders are"),
		s.listFiles(), s.copyFile(), s.syncFiles(), s.removeFiles(), s.moveFiles(), s.destroyFiles(),
	)
	return command
}

func (s *session) filesUsage(use, short string) *cobra.Command {
	var all bool
	command := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: runs(func(ctx context.Context, _ []string) error {
			c, id, err := s.scope(all)
			if err != nil {
				return err
			}
			usage, err := c.FilesUsage(ctx, id)
			if err != nil {
				return err
			}
			nothing := "no files are shared"
			if !all {
				nothing = fmt.Sprintf("%s shares no files", id)
			}
			return printList(s, usage, nothing, "FILES|PATH|SIZE|COUNT|QUOTA|PUBLIC|", func(v api.FilesUsage) []string { return usageRow(v, all) })
		}),
	}
	command.Flags().BoolVar(&all, "all", false, "of all apps, those that no release names included")
	return command
}

func usageRow(v api.FilesUsage, all bool) []string {
	name, quota, note := string(v.Name), "-", ""
	if all {
		name = v.Environment.String() + "/" + name
	}
	if v.Claim != "" { // how full it is only the cluster knows
		return []string{name, v.Path, "-", "-", size(v.Quota), "", strings.TrimSuffix("claim "+v.Claim+": "+v.Reason, ": ")}
	}
	if v.Quota > 0 {
		quota = fmt.Sprintf("%s (%d%%)", size(v.Quota), v.Bytes*100/v.Quota)
	}
	switch {
	case v.Moved:
		note = "all of it is in " + v.Bucket
	case v.Bucket != "":
		note = "it is carried over to " + v.Bucket
	case v.Orphan:
		note = "no release names it"
	}
	return []string{name, v.Path, size(v.Bytes), fmt.Sprint(v.Files), quota, v.Public, note}
}

// placeOf reads "uploads:2026/cat.png"; not shared is a path of this machine.
func placeOf(text string) (place api.FilePlace, shared bool) {
	name, inside, found := strings.Cut(text, ":")
	if !found || name == "" || strings.ContainsAny(name, "/.") {
		return place, false
	}
	return api.FilePlace{Files: springtide.FilesName(name), Path: strings.Trim(inside, "/")}, true
}

func sharedPlace(text string) (api.FilePlace, error) {
	if place, shared := placeOf(text); shared {
		return place, nil
	}
	return api.FilePlace{}, springtide.Errorf(springtide.Invalid, "%q does not name a shared file", text).WithHint("like uploads:2026/cat.png")
}

func (s *session) listFiles() *cobra.Command {
	var deep bool
	command := &cobra.Command{
		Use: "ls FILES:[PATH]", Short: "List a folder", Args: cobra.ExactArgs(1),
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			place, err := sharedPlace(args[0])
			if err != nil {
				return err
			}
			files, err := c.ListFiles(ctx, id, place, deep)
			if err != nil {
				return err
			}
			return printList(s, files, args[0]+" is empty", "FILE|SIZE|AGE", func(v api.FileInfo) []string {
				if v.Folder {
					return []string{v.Path + "/", "", age(s.now(), v.Modified)}
				}
				return []string{v.Path, size(v.Size), age(s.now(), v.Modified)}
			})
		}),
	}
	command.Flags().BoolVarP(&deep, "recursive", "r", false, "list what is in folders too")
	return command
}

func (s *session) copyFile() *cobra.Command {
	return &cobra.Command{
		Use: "cp FROM TO", Short: "Copy a file to or from a shared folder; - is stdin or stdout", Args: cobra.ExactArgs(2),
		Example: "  tide files cp cat.png uploads:2026/\n  tide files cp uploads:2026/cat.png -",
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			from, fromShared := placeOf(args[0])
			to, toShared := placeOf(args[1])
			switch {
			case fromShared == toShared:
				return springtide.Errorf(springtide.Invalid, "one of %q and %q must be shared, the other a file of this machine", args[0], args[1]).WithHint("like uploads:2026/cat.png")
			case toShared:
				if strings.HasSuffix(args[1], "/") || to.Path == "" {
					to.Path = path.Join(to.Path, filepath.Base(args[0]))
				}
				return s.sendFile(ctx, c, id, args[0], to)
			}
			return s.fetchFile(ctx, c, id, from, args[1])
		}),
	}
}

func (s *session) sendFile(ctx context.Context, c *client.Client, id springtide.EnvironmentID, from string, to api.FilePlace) error {
	content, modified := s.stdin, s.now()
	if from != "-" {
		file, err := os.Open(from)
		if err != nil {
			return springtide.Errorf(springtide.Invalid, "%w", err)
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return springtide.Errorf(springtide.Invalid, "%s is no file", from).WithHint("copy a folder with `tide files sync`")
		}
		content, modified = file, info.ModTime()
	}
	put, err := c.PutFile(ctx, id, to, io.NopCloser(content), modified)
	if err != nil {
		return err
	}
	if s.json {
		return s.printJSON(put)
	}
	return s.print("%s:%s has %s", to.Files, put.Path, size(put.Size))
}

func (s *session) fetchFile(ctx context.Context, c *client.Client, id springtide.EnvironmentID, from api.FilePlace, to string) error {
	content, err := c.ReadFile(ctx, id, from)
	if err != nil {
		return err
	}
	defer content.Close()
	if to == "-" {
		_, err := io.Copy(s.stdout, content)
		return err
	}
	switch info, err := os.Stat(to); {
	case err != nil:
	case info.IsDir():
		to = filepath.Join(to, path.Base(from.Path))
	case !info.Mode().IsRegular(): // a pipe, or a device: nothing takes its place
		return writeInto(to, content)
	}
	// A file that is half there is not there.
	file, err := os.CreateTemp(filepath.Dir(to), ".tide-*")
	if err != nil {
		return springtide.Errorf(springtide.Invalid, "%w", err)
	}
	defer os.Remove(file.Name())
	if _, err := io.Copy(file, content); err != nil {
		return errors.Join(springtide.Errorf(springtide.Unavailable, "%s:%s breaks off: %w", from.Files, from.Path, err), file.Close())
	}
	if err := errors.Join(file.Chmod(0o644), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), to); err != nil {
		return err
	}
	return s.printResult(to, "written")
}

// writeInto writes into what is there already.
func writeInto(path string, content io.Reader) error {
	into, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return springtide.Errorf(springtide.Invalid, "%w", err)
	}
	_, err = io.Copy(into, content)
	return errors.Join(err, into.Close())
}

// synced is what a sync did.
type synced struct {
	Sent    int   `json:"sent"`
	Bytes   int64 `json:"bytes"`
	Deleted int   `json:"deleted"`
	Same    int   `json:"same"`
}

func (s *session) syncFiles() *cobra.Command {
	var remove bool
	command := &cobra.Command{
		Use: "sync FOLDER FILES:[PATH]", Short: "Send what is new or different in a folder", Args: cobra.ExactArgs(2),
		Long: `Send the files of a folder that a shared folder lacks, or has with another size or time.
With --delete what the folder does not have is deleted there.`,
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			place, err := sharedPlace(args[1])
			if err != nil {
				return err
			}
			done, err := s.syncFolder(ctx, c, id, args[0], place, remove)
			if err != nil {
				return err
			}
			if s.json {
				return s.printJSON(done)
			}
			return s.print("sent %d files with %s, deleted %d; %d are the same", done.Sent, size(done.Bytes), done.Deleted, done.Same)
		}),
	}
	command.Flags().BoolVar(&remove, "delete", false, "delete there what is not here")
	return command
}

func (s *session) syncFolder(ctx context.Context, c *client.Client, id springtide.EnvironmentID, folder string, place api.FilePlace, remove bool) (done synced, err error) {
	there, err := c.ListFiles(ctx, id, place, true)
	if err != nil && springtide.KindOf(err) != springtide.NotFound {
		return done, err
	}
	known := map[string]api.FileInfo{}
	for _, file := range there {
		if !file.Folder {
			known[file.Path] = file
		}
	}
	err = filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		target := path.Join(place.Path, filepath.ToSlash(relative))
		before, has := known[target]
		delete(known, target)
		if has && before.Size == info.Size() && before.Modified.Unix() == info.ModTime().Unix() {
			done.Same++
			return nil
		}
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		if _, err := c.PutFile(ctx, id, api.FilePlace{Files: place.Files, Path: target}, file, info.ModTime()); err != nil {
			return err
		}
		done.Sent, done.Bytes = done.Sent+1, done.Bytes+info.Size()
		return nil
	})
	if err != nil {
		return done, err
	}
	if remove {
		for target := range known {
			if err := c.DeleteFile(ctx, id, api.FilePlace{Files: place.Files, Path: target}); err != nil {
				return done, err
			}
			done.Deleted++
		}
	}
	return done, nil
}

func (s *session) removeFiles() *cobra.Command {
	return &cobra.Command{
		Use: "rm FILES:PATH...", Short: "Delete files", Args: cobra.MinimumNArgs(1),
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			for _, arg := range args {
				place, err := sharedPlace(arg)
				if err != nil {
					return err
				}
				if err := c.DeleteFile(ctx, id, place); err != nil {
					return err
				}
				if err := s.printResult(arg, "deleted"); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}
