package redis

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// Ready gives nil when the server answers, if only that it has no connection to
// spare; of a replica when it has the primary's data. Users are not among the
// data: a replica is given those of today here.
func (Driver) Ready(ctx context.Context, server service.Server) error {
	err := with(ctx, server, func(c *connection) error {
		facts, err := c.info("persistence", "replication", "keyspace")
		switch {
		case err != nil:
			return err
		case facts["loading"] != "0":
			return springtide.Errorf(springtide.Unavailable, "redis of service %s reads its data", server.ID)
		case server.Role != service.RoleReplica:
			return nil
		case !hasData(facts):
			return springtide.Errorf(springtide.Unavailable, "the replica of service %s does not have its primary's data yet", server.ID)
		}
		return followUsers(c, server.Logins)
	})
	if failed, ok := errors.AsType[replyError](err); ok && strings.Contains(failed.Error(), "max number of clients") {
		return nil
	}
	return err
}

// Settle gives the server its users and its limits.
func (Driver) Settle(ctx context.Context, server service.Server) error {
	if err := check(server.ID.Name, server.Spec); err != nil {
		return err
	}
	return with(ctx, server, func(c *connection) error {
		if err := setUsers(c, server.Logins); err != nil {
			return err
		}
		return setLimits(c, server)
	})
}

// setUsers makes all users of the service, or has them be as wanted.
func setUsers(c *connection, logins service.Logins) error {
	all, err := accounts(logins)
	if err != nil {
		return err
	}
	for _, one := range all {
		if _, err := c.do(append([]string{"ACL", "SETUSER", one.name}, one.rules...)...); err != nil {
			return err
		}
	}
	_, err = c.do("ACL", "SAVE")
	return err
}

// followUsers has a replica know the users of the service and no others. It
// changes nothing if it does.
func followUsers(c *connection, logins service.Logins) error {
	wanted, err := accounts(logins)
	if err != nil {
		return err
	}
	reply, err := c.do("ACL", "LIST")
	if err != nil {
		return err
	}
	known := map[string]string{}
	lines, _ := reply.([]any)
	for _, line := range lines { // "user quiz_1 on #digest ~* …"
		text, _ := line.(string)
		if words := strings.Fields(text); len(words) > 1 {
			known[words[1]] = text
		}
	}
	delete(known, "default")
	delete(known, platformUser)
	same := len(known) == len(wanted)
	for _, one := range wanted {
		same = same && one.known(known[one.name])
		delete(known, one.name)
	}
	if same {
		return nil
	}
	for name := range known {
		if _, err := c.do("ACL", "DELUSER", name); err != nil {
			return err
		}
	}
	return setUsers(c, logins)
}

// setUser makes a user, or changes him, for good.
func setUser(c *connection, name string, rules ...string) error {
	if _, err := c.do(append([]string{"ACL", "SETUSER", name}, rules...)...); err != nil {
		return err
	}
	_, err := c.do("ACL", "SAVE")
	return err
}

func setLimits(c *connection, server service.Server) error {
	wanted := limitsOf(server.Spec)
	facts, err := c.info("memory")
	if err != nil {
		return err
	}
	used, _ := strconv.ParseInt(facts["used_memory"], 10, 64)
	limit, _ := strconv.ParseInt(wanted.memory, 10, 64)
	if wanted.policy == "noeviction" && used > limit && facts["maxmemory"] != wanted.memory {
		return springtide.Errorf(springtide.Conflict, "redis of service %s holds %d MiB: with a limit of %d MiB it would refuse every write", server.ID, used>>20, limit>>20).
			WithHint("delete data first, raise services.%s.memory, or choose a policy that evicts", server.ID.Name)
	}
	_, err = c.do("CONFIG", "SET", "maxmemory-policy", wanted.policy, "maxmemory", wanted.memory, "maxclients", wanted.clients)
	return err
}

// Rotate makes the next login beside the others: another user, or another
// password of the same.
func (Driver) Rotate(ctx context.Context, server service.Server, next service.Login) error {
	if err := checkName(next.Name); err != nil {
		return err
	}
	rules := newAccount(next, appRules).rules
	if next.Name == server.Logins.Current.Name {
		rules = []string{digest(next.Password)}
	}
	return with(ctx, server, func(c *connection) error { return setUser(c, next.Name, rules...) })
}

// Retire takes a login away. Connections of a user that goes are closed; where
// only a password goes, nobody knows who came with it, and they stay.
func (Driver) Retire(ctx context.Context, server service.Server, old service.Login) error {
	if old == server.Logins.Current {
		return springtide.Errorf(springtide.Invalid, "login %s of service %s is the one that is used", old.Name, server.ID)
	}
	if err := checkName(old.Name); err != nil {
		return err
	}
	return with(ctx, server, func(c *connection) error {
		if old.Name == server.Logins.Current.Name {
			// First it is made sure that it is there to be taken away.
			word := digest(old.Password)
			return setUser(c, old.Name, word, "!"+word[1:])
		}
		if _, err := c.do("ACL", "DELUSER", old.Name); err != nil {
			return err
		}
		_, err := c.do("ACL", "SAVE")
		return err
	})
}
