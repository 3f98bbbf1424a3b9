package edge

// bell wakes the feed when there is something to report.
type bell struct {
	change chan struct{}
	hurry  chan struct{}
}

func newBell() *bell {
	return &bell{change: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
}

// changed asks for a report within the ordinary interval.
func (b *bell) changed() { notify(b.change) }

// urgent asks for a report at once.
func (b *bell) urgent() { notify(b.hurry) }

// clear forgets what a report that is about to be made will cover.
func (b *bell) clear() {
	select {
	case <-b.change:
	default:
	}
	select {
	case <-b.hurry:
	default:
	}
}
