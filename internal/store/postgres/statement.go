package postgres

import (
	"strconv"
	"strings"
)

// numbered gives parameters their numbers: ? is the next one, ?2 is $2.
func numbered(statement string) string {
	parts := strings.Split(statement, "?")
	if len(parts) == 1 {
		return statement
	}
	var made strings.Builder
	made.WriteString(parts[0])
	for i, part := range parts[1:] {
		made.WriteByte('$')
		if part == "" || part[0] < '0' || part[0] > '9' {
			made.WriteString(strconv.Itoa(i + 1))
		}
		made.WriteString(part)
	}
	return made.String()
}

// plain is a text without what PostgreSQL has no place for.
func plain(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}
