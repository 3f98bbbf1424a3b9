package main

// checkTogether replays all moves, and looks whether more runs were under way at
// a time than a queue, an environment or a schedule allows. In the order in which
// moves were written down an end comes early rather than late.
func checkTogether(b *book, r *report) {
	alone := map[scheduleName]bool{}
	for _, s := range b.schedules {
		alone[s.scheduleName] = s.spec.Overlap != "allow"
	}
	for _, s := range b.settings { // one that ever allowed it does not count
		alone[s.scheduleName] = alone[s.scheduleName] && s.spec.Overlap != "allow"
	}
	queues, environments, schedules := map[int64]map[int64]bool{}, map[int64]map[int64]bool{}, map[scheduleName]map[int64]bool{}
	most := map[int64]int{}
	for _, e := range b.events {
		run := b.byNumber[e.run]
		if run == nil {
			continue
		}
		schedule := scheduleName{run.environment, run.schedule}
		entered := mark(queues, run.queue, e)
		mark(environments, run.environment, e)
		if run.slot != 0 && alone[schedule] && mark(schedules, schedule, e) && len(schedules[schedule]) > 1 {
			r.violation("two runs of %s at a time: %s began when %s was under way", run.schedule, identifier(e.run), another(schedules[schedule], e.run))
		}
		most[run.queue] = max(most[run.queue], len(queues[run.queue]))
		if l := b.queues[run.queue]; entered && l.most > 0 && len(queues[run.queue]) > l.most {
			r.violation("%d runs of queue %s were under way, its limit is %d: the last was %s", len(queues[run.queue]), l.name, l.most, identifier(e.run))
		}
		if l := b.environments[run.environment]; entered && l.most > 0 && len(environments[run.environment]) > l.most {
			r.violation("%d runs of %s were under way, the limit is %d: the last was %s", len(environments[run.environment]), l.name, l.most, identifier(e.run))
		}
	}
	for number, l := range b.queues {
		if l.most > 0 {
			r.number("runs of queue "+l.name+" at a time, at most", most[number])
		}
	}
}

// mark keeps those that are under way, and reports whether this one has just become so.
func mark[K comparable](sets map[K]map[int64]bool, key K, e event) (entered bool) {
	set := sets[key]
	if set == nil {
		set = map[int64]bool{}
		sets[key] = set
	}
	if !underWay(e.state) {
		delete(set, e.run)
		return false
	}
	entered = !set[e.run]
	set[e.run] = true
	return entered
}

func another(set map[int64]bool, than int64) string {
	for number := range set {
		if number != than {
			return identifier(number)
		}
	}
	return ""
}
