package edge

// signals wake the feed when there is something to report.
type signals struct {
	change chan struct{}
	hurry  chan struct{}
}

func newSignals() *signals {
	return &signals{change: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
}

// changed asks for a report within the ordinary interval.
func (s *signals) changed() { notify(s.change) }

// urgent asks for a report at once.
func (s *signals) urgent() { notify(s.hurry) }

// clear forgets what a report that is about to be made will cover.
func (s *signals) clear() {
	select {
	case <-s.change:
	default:
	}
	select {
	case <-s.hurry:
	default:
	}
}
