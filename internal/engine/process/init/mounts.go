package main

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/springtide/springtide/internal/engine/process/order"
)

const (
	oPath      = 0x200000
	stRelatime = 0x1000
)

// arrangeMounts gives the mount namespace a /proc of its own, hides the folder
// to cover, and makes the release read-only.
func arrangeMounts(asked order.Order) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SLAVE, ""); err != nil {
		return errors.New("make / a slave: " + err.Error())
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return errors.New("mount /proc: " + err.Error())
	}
	// What is to stay visible is opened before it is hidden.
	sources := map[string]string{}
	paths := append(append([]string{}, asked.ReadOnly...), asked.Writable...)
	for _, bind := range asked.Binds {
		paths = append(paths, bind.Source)
	}
	for _, path := range paths {
		fd, err := syscall.Open(path, oPath|syscall.O_CLOEXEC, 0)
		if err != nil {
			return errors.New("open " + path + ": " + err.Error())
		}
		defer syscall.Close(fd)
		sources[path] = "/proc/self/fd/" + strconv.Itoa(fd)
	}
	if asked.Cover != "" {
		if err := syscall.Mount("tmpfs", asked.Cover, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=0755,size=64k"); err != nil {
			return errors.New("cover " + asked.Cover + ": " + err.Error())
		}
	}
	for _, path := range asked.Writable {
		if below(path, asked.Cover) {
			if err := bind(sources[path], path); err != nil {
				return err
			}
		}
	}
	for _, path := range asked.ReadOnly {
		if err := bind(sources[path], path); err != nil {
			return err
		}
		if err := remount(path, syscall.MS_RDONLY); err != nil {
			return errors.New("make " + path + " read-only: " + err.Error())
		}
	}
	for _, asked := range asked.Binds {
		if err := bind(sources[asked.Source], asked.Target); err != nil {
			return err
		}
		flags := uintptr(syscall.MS_NOSUID | syscall.MS_NODEV)
		if asked.ReadOnly {
			flags |= syscall.MS_RDONLY
		}
		if err := remount(asked.Target, flags); err != nil {
			return errors.New("limit " + asked.Target + ": " + err.Error())
		}
	}
	return nil
}

func below(path, folder string) bool {
	return folder != "" && (path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/"))
}

func bind(source, path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount(source, path, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return errors.New("bind " + path + ": " + err.Error())
	}
	return nil
}

// remount adds flags to those of the mount: in a user namespace none may be
// dropped.
func remount(path string, flags uintptr) error {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(path, &stat); err != nil {
		return err
	}
	kept := uintptr(stat.Flags) & (syscall.MS_RDONLY | syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC | syscall.MS_NOATIME | syscall.MS_NODIRATIME)
	if stat.Flags&stRelatime != 0 {
		kept |= syscall.MS_RELATIME
	}
	return syscall.Mount("", path, "", syscall.MS_BIND|syscall.MS_REMOUNT|flags|kept, "")
}
