package process

import (
	"os"

	"github.com/springtide/springtide"
)

// User gives the user and group that an app's instances, tasks and builds run
// as: its own where there is one for each app, else the platform's.
func (e *Engine) User(app springtide.AppName) (uid, gid int, err error) {
	if !e.isolation.UserPerApp {
		return os.Geteuid(), os.Getegid(), nil
	}
	uid, err = e.users.of(app)
	return uid, uid, err
}
