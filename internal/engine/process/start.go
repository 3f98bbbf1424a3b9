package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine/process/order"
)

// launch is one start of the command of an instance or a task.
type launch struct {
	folder    folder
	spec      spec
	isolation Isolation
	user      int // the user ID, where the isolation has one per app
	limits    springtide.Limits
	// logs is the folder of the log, logName the file.
	logs, logName string
	// root is the unpacked release and the working directory.
	root    string
	command string
	env     []string
	grant   Grant
	timeout time.Duration
	grace   time.Duration
	// begun is called right before the init is told to go. An error stops it.
	begun func() error
}

// launch starts an init and gives it its order. At every instruction the
// engine may die:
//
//	lock, fork      the init waits for its order; its pipe ends; it ends
//	record          as before, and whoever comes next knows the init's PID
//	order           the command runs, and is adopted
//
// The lock is held from the first step until the init is dead.
func (e *Engine) launch(l launch, r record) (started *running, err error) {
	if err := e.programs.install(); err != nil {
		e.log.Warn("the tide on the PATH of instances is not this one", "path", e.programs.tide(), "error", err)
	}
	lock, err := l.folder.lock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", l.folder, err)
	}
	defer lock.Close()
	if err := os.Remove(l.folder.file(order.StatusFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	binds, err := e.arrange(l)
	if err != nil {
		return nil, err
	}
	stale := e.groups.existing(l.spec.key())
	stale.kill()
	stale.remove()
	group, err := e.groups.create(l.spec.key(), l.limits)
	if err != nil {
		return nil, fmt.Errorf("make the control group: %w", err)
	}
	pipe, pid, err := e.fork(l, lock)
	if err != nil {
		group.remove()
		return nil, err
	}
	started = &running{pid: pid, namespace: l.isolation.PIDNamespace, name: l.spec.name(), group: group, child: true}
	defer func() {
		pipe.Close()
		if err != nil {
			started.kill()
			started.close()
			group.remove()
		}
	}()
	if err := started.open(); err != nil {
		return nil, err
	}
	if l.isolation.Network == networkNamespace {
		if err := e.network.attach(pid, l.spec.Slot); err != nil {
			return nil, err
		}
	}
	r.PID, r.Namespace, r.Boot = pid, l.isolation.PIDNamespace, e.boot
	if r.Ticks, err = startTicks(pid); err != nil {
		return nil, err
	}
	if err := l.folder.writeRecord(r); err != nil {
		return nil, err
	}
	if l.begun != nil {
		if err := l.begun(); err != nil {
			return nil, err
		}
	}
	if _, err := pipe.Write(e.order(l, r.Attempt, group, binds).Encode()); err != nil {
		return nil, fmt.Errorf("the init ended at once: %s: %w", l.folder.initOutput(), err)
	}
	return started, nil
}

// arrange makes the places for what is granted, and says where the mounts go.
func (e *Engine) arrange(l launch) ([]order.Bind, error) {
	e.removeCredentials(l.spec)
	if l.isolation.MountNamespace {
		return e.binds(l.root, l.grant.Mounts)
	}
	if len(l.grant.Credentials) > 0 {
		return nil, e.makeMemory()
	}
	return nil, nil
}

func (e *Engine) order(l launch, attempt int, group *cgroup, binds []order.Bind) order.Order {
	o := order.Order{
		Attempt: attempt, Command: l.command, Dir: l.root, Env: l.env,
		SwitchUser: l.isolation.UserPerApp, UID: l.user, GID: l.user,
		CgroupTasks: group.taskFiles(), CgroupFolder: group.folder(),
		Mounts:  l.isolation.MountNamespace,
		LogName: l.logName, LogSize: e.options.LogSize,
		Timeout: l.timeout, Grace: l.grace,
		Binds: binds, Hide: l.grant.Hide, CredentialsFolder: e.credentialsOf(l.folder, l.spec, l.isolation),
	}
	for name, value := range l.grant.Credentials {
		o.Credentials = append(o.Credentials, order.Credential{Name: name, Value: value})
	}
	if l.isolation.PIDNamespace {
		o.Hostname = hostname(l.spec.name())
	}
	if l.isolation.MountNamespace {
		o.Writable = []string{l.folder.file(homeFolder)}
		if l.root != o.Writable[0] {
			o.ReadOnly = []string{l.root}
		}
		if _, err := os.Stat(e.programs.folder); err == nil {
			o.ReadOnly = append(o.ReadOnly, e.programs.folder)
		}
		if l.isolation.UserPerApp {
			o.Cover = e.cover
		}
	}
	return o
}

// hostname makes a DNS label of the name.
func hostname(name string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r == '.' || r == '_' {
			return '-'
		}
		return r
	}, name[:min(len(name), 63)]), "-")
}

// fork starts the init, which waits for its order at the pipe.
func (e *Engine) fork(l launch, lock *os.File) (pipe *os.File, pid int, err error) {
	logs, err := os.Open(l.logs)
	if err != nil {
		return nil, 0, err
	}
	defer logs.Close()
	place, err := os.Open(string(l.folder))
	if err != nil {
		return nil, 0, err
	}
	defer place.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, 0, err
	}
	defer null.Close()
	complaints, err := os.OpenFile(l.folder.file(initLogFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, 0, err
	}
	defer complaints.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return nil, 0, err
	}
	defer read.Close()

	files := make([]uintptr, order.LogFD+1)
	for fd, file := range map[int]*os.File{
		0: null, 1: null, 2: complaints,
		order.PipeFD: read, order.LockFD: lock, order.FolderFD: place, order.LogFD: logs,
	} {
		files[fd] = file.Fd()
	}
	attributes := &syscall.SysProcAttr{Setsid: true}
	if l.isolation.PIDNamespace {
		attributes.Cloneflags |= syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
	}
	if l.isolation.MountNamespace {
		attributes.Cloneflags |= syscall.CLONE_NEWNS
	}
	if l.isolation.Network == networkNamespace {
		attributes.Cloneflags |= syscall.CLONE_NEWNET
	}
	if l.isolation.UserNamespace {
		attributes.Cloneflags |= syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		// The init keeps what it needs to mount and to name its host; it takes it
		// from the command.
		attributes.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
	}
	pid, err = syscall.ForkExec(e.init, []string{"tide-init", l.spec.name()}, &syscall.ProcAttr{
		Dir: "/", Env: []string{"GOMAXPROCS=1"}, Files: files, Sys: attributes,
	})
	if err != nil {
		write.Close()
		return nil, 0, fmt.Errorf("start the init: %w", err)
	}
	return write, pid, nil
}

// makeFolder makes the folder of an instance or a task, with a home in it.
func makeFolder(place folder) error {
	// Others may pass through, so that the app reaches its home.
	if err := os.Mkdir(string(place), 0o711); err != nil {
		return err
	}
	if err := os.Mkdir(place.file(homeFolder), 0o700); err != nil {
		return err
	}
	return os.Mkdir(filepath.Join(place.file(homeFolder), "tmp"), 0o700)
}

// giveHome gives the home to its user.
func giveHome(place folder, user int) error {
	home := place.file(homeFolder)
	if err := os.Lchown(home, user, user); err != nil {
		return err
	}
	return os.Lchown(filepath.Join(home, "tmp"), user, user)
}

// initOutput is what the init itself had to say.
func (f folder) initOutput() string {
	data, _ := os.ReadFile(f.file(initLogFile))
	return strings.TrimSpace(string(data[:min(len(data), 2000)]))
}

// coverOf gives the folder to hide from apps: the data folder, or the one above
// it through which an app's user could not pass anyway.
func coverOf(data string) string {
	cover := data
	for parent := data; parent != "/"; parent = filepath.Dir(parent) {
		if info, err := os.Stat(parent); err == nil && info.Mode().Perm()&0o001 == 0 {
			cover = parent
		}
	}
	return cover
}
