package files

import (
	"strings"
	"unicode/utf8"

	"github.com/springtide/springtide"
)

// The longest names there may be, in bytes: S3's limit, and the file system's.
const (
	nameLimit      = 1024
	componentLimit = 255
)

// checkName reports what keeps a name from being the path of a file below a
// shared folder, in the one spelling there is of it.
func checkName(name string) error {
	invalid := func(why string) error {
		return springtide.Errorf(springtide.Invalid, "%.80q cannot be the name of a file: %s", name, why).
			WithHint("names are like pictures/cat.png, relative to the shared folder")
	}
	switch {
	case name == "":
		return springtide.Errorf(springtide.Invalid, "the name of a file is missing")
	case len(name) > nameLimit:
		return invalid("it is longer than 1024 bytes")
	case !utf8.ValidString(name):
		return invalid("it is not UTF-8")
	case strings.Contains(name, "\x00"):
		return invalid("it contains a NUL")
	case name[0] == '/':
		return invalid("it is absolute")
	}
	for component := range strings.SplitSeq(name, "/") {
		switch {
		case component == "":
			return invalid("it has an empty part")
		case component == "." || component == "..":
			return invalid("it has the part " + component)
		case len(component) > componentLimit:
			return invalid("a part is longer than 255 bytes")
		}
	}
	return nil
}

func isName(name string) bool { return checkName(name) == nil }

// checkNoun reports whether an app, an environment or a shared folder may be
// called so: it becomes the name of a folder.
func checkNoun(noun string) error {
	ok := noun != "" && len(noun) <= 40 && noun[0] != '-'
	for _, letter := range []byte(noun) {
		ok = ok && (letter >= 'a' && letter <= 'z' || letter >= '0' && letter <= '9' || letter == '-')
	}
	if !ok {
		return springtide.Errorf(springtide.Invalid, "%.80q cannot be a name", noun).
			WithHint("lower-case letters, digits and hyphens, at most 40")
	}
	return nil
}
