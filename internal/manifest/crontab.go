package manifest

import (
	"fmt"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/springtide/springtide/internal/cron"
)

// FromCrontab gives the schedules section of a tide.yaml that does what a crontab
// file asks for.
func FromCrontab(crontab cron.Crontab) []byte {
	written := &document{Schedules: map[name]*scheduleSection{}}
	w := yamlWriter{comments: map[string]string{}}
	for _, entry := range crontab.Entries {
		named := scheduleName(entry.Command, written.Schedules)
		schedule := &scheduleSection{Cron: setTo(expression(entry.Cron)), Command: setTo(command(script(entry)))}
		if entry.Timezone != "" {
			schedule.Timezone = setTo(zone(entry.Timezone))
		}
		written.Schedules[named] = schedule
		w.comments["schedules."+string(named)] = fmt.Sprintf("Line %d.", entry.Line)
	}
	w.section(reflect.ValueOf(written).Elem(), "", 0)
	return []byte(strings.TrimPrefix(w.out.String(), "\n"))
}

// script gives a command with its variables and its standard input, for sh.
func script(entry cron.Entry) string {
	var b strings.Builder
	for _, variable := range sortedKeys(entry.Env) {
		fmt.Fprintf(&b, "export %s=%s; ", variable, quoteShell(entry.Env[variable]))
	}
	if entry.Stdin == "" {
		return b.String() + entry.Command
	}
	fmt.Fprintf(&b, "printf %%s %s | {\n%s\n}", quoteShell(entry.Stdin), entry.Command)
	return b.String()
}

// carriers are commands that carry out another one, which says more.
var carriers = []string{
	"sh", "bash", "dash", "python", "python3", "ruby", "node", "php", "perl", "bundle", "exec", "poetry", "uv", "run", "npm", "npx",
	"env", "nice", "ionice", "sudo", "timeout", "flock", "chronic", "time", "nohup", "test", "export",
}

// scheduleName names a schedule after what its command runs, as no other is
// named yet.
func scheduleName(run string, taken map[name]*scheduleSection) name {
	if folder, rest, found := strings.Cut(run, "&&"); found && strings.HasPrefix(strings.TrimSpace(folder), "cd ") {
		run = rest
	}
	base := name("schedule")
	for word := range strings.FieldsSeq(run) {
		file := path.Base(word)
		named := asName(strings.TrimSuffix(file, path.Ext(file)))
		if named == "" || strings.HasPrefix(word, "-") || strings.ContainsAny(word, "=;|&<>$(){}") || '0' <= word[0] && word[0] <= '9' {
			continue
		}
		base = named
		if !slices.Contains(carriers, string(named)) {
			break
		}
	}
	for number := 1; ; number++ {
		numbered := base
		if number > 1 {
			suffix := "-" + strconv.Itoa(number)
			numbered = asName(string(base[:min(len(base), nameLimit-len(suffix))])) + name(suffix)
		}
		if taken[numbered] == nil {
			return numbered
		}
	}
}
