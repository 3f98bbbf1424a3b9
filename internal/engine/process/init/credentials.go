package main

import (
	"errors"
	"os"
	"strconv"
	"syscall"

	"github.com/springtide/springtide/internal/engine/process/order"
)

// giveCredentials writes the credentials into files in memory that only the
// command's user can read. Where this process has a mount namespace the files
// are in a file system of their own, which nobody can write to afterwards.
func giveCredentials(asked order.Order) error {
	folder := asked.CredentialsFolder
	if asked.Mounts {
		if err := mountCredentials(asked); err != nil {
			return errors.New("mount " + folder + ": " + err.Error())
		}
	} else if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	give := func(path string) error {
		if !asked.SwitchUser {
			return nil
		}
		return os.Lchown(path, asked.UID, asked.GID)
	}
	for _, credential := range asked.Credentials {
		path := folder + "/" + credential.Name
		if err := os.WriteFile(path, credential.Value, 0o400); err != nil {
			return err
		}
		if err := give(path); err != nil {
			return err
		}
	}
	if asked.Mounts {
		return remount(folder, syscall.MS_RDONLY|syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC)
	}
	return give(folder)
}

func mountCredentials(asked order.Order) error {
	folder := asked.CredentialsFolder
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	options := "mode=0700"
	if asked.SwitchUser {
		options += ",uid=" + strconv.Itoa(asked.UID) + ",gid=" + strconv.Itoa(asked.GID)
	}
	mount := func(options string) error {
		return syscall.Mount("tmpfs", folder, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, options)
	}
	if mount(options+",noswap") == nil {
		return nil
	}
	return mount(options) // Older kernels, and user namespaces, cannot keep it from the swap.
}
