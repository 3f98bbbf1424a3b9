package process

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// userCount is how many user IDs there are for apps.
const userCount = 5000

// users gives every app a user ID of its own, for ever: files that one app left
// must never belong to another.
type users struct {
	path  string
	first int

	mu   sync.Mutex
	apps map[springtide.AppName]int
}

func openUsers(data string, first int) (*users, error) {
	u := &users{path: filepath.Join(data, "instances", "users.json"), first: first, apps: map[springtide.AppName]int{}}
	if err := readJSON(u.path, &u.apps); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, springtide.Errorf(springtide.Internal, "read the users of the apps: %w", err)
	}
	return u, nil
}

// of gives the user ID of the app.
func (u *users) of(app springtide.AppName) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if id, ok := u.apps[app]; ok {
		return id, nil
	}
	id := u.first
	for _, other := range u.apps {
		id = max(id, other+1)
	}
	if id >= u.first+userCount {
		return 0, springtide.Errorf(springtide.Failed, "%d apps have had a user ID of this machine: there are no more", userCount)
	}
	u.apps[app] = id
	data, err := json.Marshal(u.apps)
	if err == nil {
		err = durable.WriteFile(u.path, data, 0o600)
	}
	if err != nil {
		delete(u.apps, app)
		return 0, err
	}
	return id, nil
}
