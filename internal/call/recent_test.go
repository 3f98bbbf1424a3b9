package call

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatNobodyUsesIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recent := NewRecent[int](1000, func(value *int) bool { return *value == 0 })
		create := func() *int { return new(int) }
		_, release := recent.Use(-1, create)
		busy, releaseBusy := recent.Use(-2, create)
		*busy = 1
		releaseBusy()
		for n := range 100 {
			_, release := recent.Use(n, create)
			release()
		}
		time.Sleep(idleFor / 2)
		_, again := recent.Use(7, create)
		again()
		time.Sleep(idleFor/2 + time.Minute)
		_, other := recent.Use(500, create)
		other()
		if kept := recent.entries; len(kept) != 3 {
			t.Errorf("%d are kept, not the one in use, the one used of late and the new one", len(kept))
		}
		release()
	})
}

func TestWhoMakesUpNamesThatAreInTroubleFillsNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recent := NewRecent[int](100, func(int) bool { return false })
		_, release := recent.Use(-1, func() int { return 0 })
		for n := range 100_000 {
			_, release := recent.Use(n, func() int { return 0 })
			release()
			time.Sleep(time.Millisecond)
		}
		if count := len(recent.entries); count > 1500 || recent.entries[-1] == nil {
			t.Errorf("%d are kept", count)
		}
		release()
	})
}

func TestTheIdleGoEarlierWhenThereAreTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recent := NewRecent[int](100, func(value *int) bool { return *value == 0 })
		for n := range 10_000 {
			value, release := recent.Use(n, func() *int { return new(int) })
			if n%1000 == 0 {
				*value = 1 // an open breaker is not forgotten
			}
			release()
			time.Sleep(10 * time.Millisecond)
		}
		kept := recent.entries
		if len(kept) > 250 {
			t.Errorf("%d are kept", len(kept))
		}
		for n := 0; n < 10_000; n += 1000 {
			if kept[n] == nil {
				t.Errorf("%d was in trouble, and is forgotten", n)
			}
		}
	})
}
