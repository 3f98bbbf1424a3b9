package manifest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

const events = `app: quiz
processes:
  web: { command: ./web, scale: { max: 20 } }
events:
  - { name: Top 10, at: "2026-11-28T18:00+01:00", for: 90m, min: { web: 12 } }
  - { at: "2026-11-29T18:00:00Z", min: { web: 5 } }
  - { name: news, at: "2026-11-30T08:00", timezone: Europe/Warsaw, every: weekday, min: { web: 3 } }
`

func TestEventsAreAnnouncedToTheirProcessesInProduction(t *testing.T) {
	m := parse(t, events)
	got := m.App(springtide.Production).Processes["web"].Announcements
	begin := time.Date(2026, 11, 28, 17, 0, 0, 0, time.UTC)
	want := []springtide.Announcement{
		{Name: "Top 10", From: begin, Until: begin.Add(90 * time.Minute), Instances: 12},
		{Name: "2", From: begin.Add(25 * time.Hour), Until: begin.Add(26 * time.Hour), Instances: 5},
		{
			Name: "news", From: begin.Add(38 * time.Hour), Until: begin.Add(39 * time.Hour), Instances: 3,
			Repetition: springtide.Repetition{Repeat: "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", Timezone: "Europe/Warsaw"},
		},
	}
	if !slices.EqualFunc(got, want, func(a, b springtide.Announcement) bool {
		return a.Name == b.Name && a.Instances == b.Instances && a.From.Equal(b.From) && a.Until.Equal(b.Until) && a.Repeat == b.Repeat && a.Timezone == b.Timezone
	}) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := m.App("staging").Processes["web"].Announcements; got != nil {
		t.Errorf("staging is not visited, but has %+v", got)
	}
}

func TestAnEventThatCannotBeIsToldWhere(t *testing.T) {
	_, err := Parse(FileName, []byte(`app: quiz
processes:
  web: { command: ./web }
  clock: ./clock
events:
  - { at: "18:00", min: { web: 3 } }
  - { min: { web: 3 } }
  - { at: "2026-11-28T18:00Z" }
  - { at: "2026-11-28T18:00Z", min: { web: 9, clock: 1, wep: 2 } }
  - { at: "2026-11-28T18:00Z", for: -1h, min: { web: 0 } }
  - { at: "2026-11-28T18:00", every: hour, min: { web: 1 } }
`))
	if err == nil {
		t.Fatal("no problem")
	}
	for _, want := range []string{
		`tide.yaml:6:11: events.at: want a time with its offset`,
		`tide.yaml:7:7: events[1]: at is missing`,
		`tide.yaml:8:7: events[2]: min is missing`,
		`events[3].min.web: 9 is more than processes.web.scale.max, which is 4`,
		`events[3].min.clock: the process is given no requests`,
		`events[3].min: there is no process "wep"`,
		`events.for: -1h is negative`,
		`events[4].min.web: 0 is too little`,
		`tide.yaml:11:11: events[5].at: want a time with its offset`,
		`events.every: want day, weekday, week, month, year, or a rule`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not say %s", err, want)
		}
	}
}

func TestAnEnvironmentHasEventsOfItsOwnInPlaceOfTheOthers(t *testing.T) {
	m := parse(t, events+`environments:
  staging: { events: [{ name: rehearsal, at: "2026-11-27T18:00Z", min: { web: 2 } }] }
  production: { events: [] }
  demo: {}
`)
	for environment, want := range map[springtide.EnvironmentName][]string{"staging": {"rehearsal"}, springtide.Production: nil, "demo": nil} {
		var got []string
		for _, one := range m.App(environment).Processes["web"].Announcements {
			got = append(got, one.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has %v, want %v", environment, got, want)
		}
	}
}

func TestAnEventOfAnEnvironmentThatCannotBeIsToldWhere(t *testing.T) {
	_, err := Parse(FileName, []byte(`app: quiz
processes:
  web: ./web
environments:
  staging:
    scale: { web: { max: 2 } }
    events:
      - { at: "2026-11-28T18:00Z", min: { web: 3 } }
`))
	if err == nil || !strings.Contains(err.Error(), "tide.yaml:8:") || !strings.Contains(err.Error(), "3 is more than processes.web.scale.max, which is 2") {
		t.Errorf("%v", err)
	}
}
