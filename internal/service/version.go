package service

import (
	"cmp"
	"strconv"
	"strings"
)

// Matches reports whether a version is one that was asked for: 10.11 is one of 10,
// and of the empty version, which is any.
func Matches(asked, version string) bool {
	return asked == "" || asked == version || strings.HasPrefix(version, asked+".")
}

// newer reports whether a version comes after another, number by number.
func newer(version, than string) bool {
	a, b := strings.Split(version, "."), strings.Split(than, ".")
	for i := range max(len(a), len(b)) {
		if order := cmp.Compare(part(a, i), part(b, i)); order != 0 {
			return order > 0
		}
	}
	return false
}

// part gives a number of a version; 0 where there is none.
func part(version []string, at int) int {
	if at >= len(version) {
		return 0
	}
	number, _ := strconv.Atoi(version[at])
	return number
}
