package edge

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// pause is looked at for a while, the first time: the machine stands still.
type pause time.Duration

func (p *pause) look(int64) {
	time.Sleep(time.Duration(*p))
	*p = 0
}

func TestTimeInWhichTheEdgeStoodStillDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go c.run(ctx)
		time.Sleep(10*time.Second + time.Millisecond)
		if before := c.elapsed.Load(); before != int64(10*time.Second) {
			t.Errorf("after ten seconds it is %s", time.Duration(before))
		}
		stands := pause(20 * time.Second)
		c.watch(&stands)
		time.Sleep(30 * time.Second)
		if after := time.Duration(c.elapsed.Load()); after < 20*time.Second || after > 20*time.Second+longestTick {
			t.Errorf("after ten more, and twenty in which it stood still, it is %s", after)
		}
	})
}
