package cron

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
)

const userCrontab = `# m h  dom mon dow   command
MAILTO="me@example.com"
SHELL=/bin/bash
PATH=/usr/local/bin:/usr/bin
LANG = 'de_DE.UTF-8'
@reboot /srv/quiz/warm-up

*/5 * * * *	cd /srv/quiz && ./tidy-up --date=$(date +\%F) >> /tmp/log 2>&1
CRON_TZ=Europe/Berlin
30  2 * * mon-fri	mail -s "100\% done" boss%Hello,%all is well.
@daily  ./report
`

func TestACrontabIsRead(t *testing.T) {
	got, err := ReadCrontab(strings.NewReader(strings.ReplaceAll(userCrontab, "\n", "\r\n")), CrontabOptions{})
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"LANG": "de_DE.UTF-8"}
	want := []Entry{
		{Line: 8, Cron: "*/5 * * * *", Command: "cd /srv/quiz && ./tidy-up --date=$(date +%F) >> /tmp/log 2>&1", Env: env},
		{Line: 10, Cron: "30 2 * * mon-fri", Timezone: "Europe/Berlin", Command: `mail -s "100% done" boss`, Stdin: "Hello,\nall is well.\n", Env: env},
		{Line: 11, Cron: "@daily", Timezone: "Europe/Berlin", Command: "./report", Env: env},
	}
	if diff := cmp.Diff(want, got.Entries); diff != "" {
		t.Error(diff)
	}
	var told []string
	for _, warning := range got.Warnings {
		line, _, _ := strings.Cut(warning.String(), ";")
		told = append(told, line)
	}
	if diff := cmp.Diff([]string{
		"crontab:2: MAILTO does not carry over: output is not mailed",
		"crontab:3: SHELL does not carry over: commands are run by sh",
		"crontab:4: PATH does not carry over: commands have the app's",
		"crontab:6: left out: @reboot has no time: an app runs on servers that come and go",
		"crontab:8: the times are taken for UTC",
	}, told); diff != "" {
		t.Error(diff)
	}
}

func TestTheCrontabOfASystemHasUsers(t *testing.T) {
	system := "TZ=Asia/Tokyo\n17 *\t* * *\troot\tcd / && run-parts --report /etc/cron.hourly\n@weekly quiz ./newsletter\n"
	got, err := ReadCrontab(strings.NewReader(system), CrontabOptions{File: "/etc/crontab", System: true, Timezone: "Europe/Paris"})
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"TZ": "Asia/Tokyo"}
	want := Crontab{
		Entries: []Entry{
			{Line: 2, Cron: "17 * * * *", Timezone: "Europe/Paris", User: "root", Command: "cd / && run-parts --report /etc/cron.hourly", Env: env},
			{Line: 3, Cron: "@weekly", Timezone: "Europe/Paris", User: "quiz", Command: "./newsletter", Env: env},
		},
		Warnings: []Warning{
			{"/etc/crontab", 1, "TZ is set for the commands and does not change their times, as in cron; set timezone if that was meant"},
			{"/etc/crontab", 2, "the user root does not carry over: commands run as the app does"},
			{"/etc/crontab", 3, "the user quiz does not carry over: commands run as the app does"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatCronWouldRefuseIsToldWithItsLine(t *testing.T) {
	for _, bad := range []struct{ crontab, want string }{
		{"# a\n61 * * * * ./a\n* * * * *\n", "quiz.cron:2: the minute \"61\" is out of range; write a number from 0 to 59, a range, a list, or * with a step, like */5\nquiz.cron:3: want times and a command"},
		{"@daily\n", "quiz.cron:1: want times and a command"},
		{"0 8 30 2 * ./a\n", "quiz.cron:1: 0 8 30 2 * never fires"},
		{"0 8 * * * %input\n", "quiz.cron:1: there is no command before the %"},
		{"CRON_TZ=Europa/Berlin\n", "quiz.cron:1: CRON_TZ: the timezone \"Europa/Berlin\" is not known; did you mean Europe/Berlin?"},
		{"0 8 * * * ./a\x00b\n", "quiz.cron:1: holds what is no text"},
		{"0 8 * * * \xff\n", "quiz.cron:1: holds what is no text"},
		{"\n" + strings.Repeat("a", lineLimit), "quiz.cron:2: cannot be read"},
		{strings.Repeat("#\n", crontabLimit), "quiz.cron is longer than 1048576 bytes"},
		{strings.Repeat("x\n", 25), "quiz.cron: 5 more problems"},
	} {
		_, err := ReadCrontab(strings.NewReader(bad.crontab), CrontabOptions{File: "quiz.cron"})
		if springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%.40q: %v, want %s", bad.crontab, err, bad.want)
		}
	}
	if _, err := ReadCrontab(strings.NewReader(""), CrontabOptions{Timezone: "Mars"}); springtide.KindOf(err) != springtide.Invalid {
		t.Error(err)
	}
}

func FuzzReadCrontab(f *testing.F) {
	f.Add(userCrontab, false)
	f.Add("17 * * * * root cd / && run-parts --report /etc/cron.hourly\n@daily\n", true)
	f.Add("\"A\"='b\n* * * * * %\\%\\\\%\n", false)
	f.Fuzz(func(t *testing.T, text string, system bool) {
		crontab, err := ReadCrontab(strings.NewReader(text), CrontabOptions{System: system})
		if err != nil {
			if springtide.KindOf(err) != springtide.Invalid || strings.Count(err.Error(), "\n") > problemLimit {
				t.Fatal(err)
			}
			return
		}
		for _, entry := range crontab.Entries {
			if entry.Command == "" || (entry.User == "") == system || parsed(t, entry.Cron, entry.Timezone).Next(time.Now()).IsZero() {
				t.Fatalf("%+v", entry)
			}
		}
	})
}
