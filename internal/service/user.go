package service

import (
	"os"
	"os/user"
	"strconv"

	"github.com/springtide/springtide"
)

// nobodys is the user ID of servers whose package has made no user.
const nobodys = 59999

// UserOf gives whom servers of the kind run as: their package's user; the zero
// value if this process may not become anybody else.
func UserOf(kind springtide.ServiceKind) User {
	if os.Geteuid() != 0 {
		return User{}
	}
	name := map[springtide.ServiceKind]string{
		springtide.ServicePostgres: "postgres", springtide.ServiceMariaDB: "mysql", springtide.ServiceRedis: "redis",
	}[kind]
	if found, err := user.Lookup(name); err == nil {
		uid, err1 := strconv.Atoi(found.Uid)
		gid, err2 := strconv.Atoi(found.Gid)
		if err1 == nil && err2 == nil && uid != 0 {
			return User{UID: uid, GID: gid}
		}
	}
	return User{UID: nobodys, GID: nobodys}
}
