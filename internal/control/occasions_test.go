package control

import (
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

var firstOfMay = time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)

func occasion(id, calendar string, from time.Time, n int) springtide.Occasion {
	return springtide.Occasion{ID: id, Name: id, Calendar: calendar, From: from, Until: from.Add(time.Hour), Min: map[springtide.ProcessName]int{springtide.Web: n}}
}

func TestTheScalerIsToldOfEachTimeWithinADay(t *testing.T) {
	daily := occasion("news", "", firstOfMay.AddDate(0, 0, -100), 4)
	daily.Repeat = "FREQ=DAILY;BYHOUR=8,18"
	far := occasion("far", "", firstOfMay.AddDate(0, 0, 7), 9)
	over := springtide.Announcement{Name: "over", From: firstOfMay.Add(-2 * time.Hour), Until: firstOfMay.Add(-time.Hour), Instances: 7}
	c := &coming{}
	for range 2 { // the second time from what was expanded
		got := c.of(firstOfMay, springtide.Web, []springtide.Announcement{over}, []springtide.Occasion{daily, far})
		var times []string
		for _, a := range got {
			times = append(times, a.Name+" "+a.From.Format("02 15:04"))
		}
		if want := "news 01 18:00, news 02 08:00"; !strings.HasPrefix(strings.Join(times, ", "), want) || strings.Contains(strings.Join(times, ", "), "far") {
			t.Errorf("%q, want %s", times, want)
		}
	}
	if got := c.of(firstOfMay, "worker", nil, []springtide.Occasion{daily}); len(got) != 0 {
		t.Errorf("the worker is told of %+v", got)
	}
}

func TestACalendarIsReplacedAndOldEventsGo(t *testing.T) {
	before := []springtide.Occasion{
		occasion("a", "shows.ics", firstOfMay, 1), occasion("b", "", firstOfMay, 1), occasion("old", "", firstOfMay.AddDate(0, -2, 0), 1),
	}
	after, err := changed(before, api.AnnouncementsChange{Calendar: "shows.ics", Add: []springtide.Occasion{occasion("c", "shows.ics", firstOfMay, 1)}}, firstOfMay)
	if err != nil || len(after) != 2 || after[0].ID != "b" || after[1].ID != "c" {
		t.Errorf("%+v, %v", after, err)
	}
	if _, err := changed(after, api.AnnouncementsChange{Add: []springtide.Occasion{occasion("b", "", firstOfMay, 1)}}, firstOfMay); springtide.KindOf(err) != springtide.Conflict {
		t.Errorf("a second b: %v", err)
	}
	if _, err := changed(after, api.AnnouncementsChange{Remove: []string{"z"}}, firstOfMay); springtide.KindOf(err) != springtide.NotFound {
		t.Errorf("z is removed: %v", err)
	}
	var many []springtide.Occasion
	for i := range mostOccasions + 1 {
		many = append(many, occasion("m"+strings.Repeat("x", i%50)+time.Duration(i).String(), "", firstOfMay, 1))
	}
	if _, err := changed(nil, api.AnnouncementsChange{Add: many}, firstOfMay); springtide.KindOf(err) != springtide.Invalid {
		t.Errorf("%d events: %v", len(many), err)
	}
}
