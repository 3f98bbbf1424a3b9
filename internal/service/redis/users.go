package redis

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// platformUser is the platform's own.
const platformUser = "platform"

// What the users may do. The app's is kept from what is about the server and not
// about data; what is only slow, or tells about itself, frameworks rely on.
const (
	appRules         = "~* &* +@all -@admin -@dangerous -acl +flushdb +flushall +keys +sort +sort_ro +info +role +client|list"
	replicationRules = "+psync +replconf +ping"
	platformRules    = "~* &* +@all"
)

// account is a user that a server is to know.
type account struct {
	name string
	// rules are what makes him, beginning from nothing.
	rules []string
}

// accounts gives all users that must work, but for the platform's.
func accounts(logins service.Logins) ([]account, error) {
	app := newAccount(logins.Current, appRules)
	all := []account{app}
	switch previous := logins.Previous; previous.Name {
	case "":
	case app.name:
		all[0].rules = append(all[0].rules, digest(previous.Password))
	default:
		all = append(all, newAccount(previous, appRules))
	}
	if logins.Replication.Name != "" {
		all = append(all, newAccount(logins.Replication, replicationRules))
	}
	for _, one := range all {
		if err := checkName(one.name); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func newAccount(login service.Login, rules string) account {
	return account{name: login.Name, rules: append([]string{"reset", "on", digest(login.Password)}, strings.Fields(rules)...)}
}

// known reports whether a line of a server's list has all passwords of the user,
// and no others.
func (a account) known(line string) bool {
	var here, there []string
	for _, word := range a.rules {
		if strings.HasPrefix(word, "#") {
			here = append(here, word)
		}
	}
	for word := range strings.FieldsSeq(line) {
		if strings.HasPrefix(word, "#") {
			there = append(there, word)
		}
	}
	slices.Sort(here)
	slices.Sort(there)
	return slices.Equal(here, there)
}

// checkName keeps a name from being read as anything else.
func checkName(name string) error {
	if name == "" || name == "default" || name == platformUser || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return springtide.Errorf(springtide.Invalid, "%q cannot be the name of a login of redis", name)
	}
	return nil
}

// digest is a password as a server keeps it. It is random and long, so that
// nobody can guess it from that.
func digest(password string) string {
	sum := sha256.Sum256([]byte(password))
	return "#" + hex.EncodeToString(sum[:])
}

// usersFile is the content of users.acl.
func usersFile(logins service.Logins, key string) (string, error) {
	all, err := accounts(logins)
	if err != nil {
		return "", err
	}
	all = append(all, newAccount(service.Login{Name: platformUser, Password: key}, platformRules))
	var text strings.Builder
	text.WriteString("user default off resetpass\n")
	for _, one := range all {
		fmt.Fprintf(&text, "user %s %s\n", one.name, strings.Join(one.rules[1:], " ")) // in the file a user begins from nothing
	}
	return text.String(), nil
}

// replicationFile is the content of replication.conf.
func replicationFile(login service.Login) string {
	if login.Name == "" {
		return ""
	}
	return fmt.Sprintf("masteruser %s\nmasterauth %s\n", quoted(login.Name), quoted(login.Password))
}

// quoted writes any bytes as one word of a file of settings.
func quoted(text string) string {
	var word strings.Builder
	word.WriteByte('"')
	for _, b := range []byte(text) {
		fmt.Fprintf(&word, `\x%02x`, b)
	}
	word.WriteByte('"')
	return word.String()
}
