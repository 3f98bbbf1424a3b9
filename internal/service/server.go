package service

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// MakeFolders makes the server's folder and what is in it but for the data, and
// gives it to the server's user. The folders above it must be passable for him.
func (s Server) MakeFolders() error {
	for _, folder := range []string{"", "run", "log"} {
		path := filepath.Join(s.Folder, folder)
		if err := os.MkdirAll(path, 0o700); err != nil {
			return err
		}
		if s.User == (User{}) {
			continue
		}
		if err := os.Lchown(path, s.User.UID, s.User.GID); err != nil {
			return err
		}
	}
	return nil
}

// Command makes a program ready to be started as the server's user in its
// folder, with no variables but those it is given, a PATH and a language.
func (s Server) Command(ctx context.Context, process Process) *exec.Cmd {
	command := exec.CommandContext(ctx, process.Path, process.Args...)
	command.Dir = s.Folder
	command.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=" + s.Folder}, process.Env...)
	command.SysProcAttr = &syscall.SysProcAttr{}
	if s.User != (User{}) {
		command.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(s.User.UID), Gid: uint32(s.User.GID)}
	}
	return command
}
