package call

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestABacklogComesBackInTurnAndPassesAtTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const runs, perSecond = 500, 5.0
		pace, begin := NewPace(), time.Now()
		waits := make(chan int)
		for range runs {
			go func() {
				for tries := 1; ; tries++ {
					later, err := pace.Wait(t.Context(), perSecond)
					if err != nil {
						t.Error(err)
					}
					if later == 0 {
						waits <- tries
						return
					}
					time.Sleep(later)
				}
			}()
		}
		tries := 0
		for range runs {
			tries += <-waits
		}
		took, ideal := time.Since(begin), time.Duration((runs-1)/perSecond*float64(time.Second))
		if took < ideal || took > ideal*11/10 {
			t.Errorf("it took %s, and at best %s", took, ideal)
		}
		if tries > 3*runs {
			t.Errorf("%d runs came %d times", runs, tries)
		}
	})
}

func TestWhatIsHeldComesBackWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pace := NewPace()
		pace.Hold(time.Minute)
		pace.Hold(time.Second)
		later, err := pace.Wait(t.Context(), 0)
		if err != nil || later < time.Minute || later > 76*time.Second || pace.Idle() {
			t.Errorf("%s, %v", later, err)
		}
		time.Sleep(later)
		if later, err = pace.Wait(t.Context(), 0); err != nil || later != 0 || !pace.Idle() {
			t.Errorf("%s, %v", later, err)
		}
	})
}

func TestWhoGivesUpWaitingIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pace := NewPace()
		if later, err := pace.Wait(t.Context(), 1); later != 0 || err != nil {
			t.Errorf("%s, %v", later, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		for range mostWaiting + 1 {
			if _, err := pace.Wait(ctx, 1); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
		if pace.waiting != 0 {
			t.Errorf("%d are waiting", pace.waiting)
		}
	})
}
