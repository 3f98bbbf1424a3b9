package control

import (
	"bytes"
	"context"
	"log/slog"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/scale"
	"github.com/springtide/springtide/internal/store"
)

const (
	// lessonsEvery is how old what was learnt can be that is not in the store.
	lessonsEvery = 10 * time.Second
	// lessonsLimit is how long the last write may take.
	lessonsLimit = 5 * time.Second
)

// lessons keeps what the scaler learns in the store, so that the next control plane
// goes on with it.
type lessons struct {
	store  store.Lessons
	scaler *scale.Scaler
	logger *slog.Logger
	stored map[store.ProcessID][]byte
}

// recall tells the scaler what is stored. What cannot be read is learnt again.
func (l *lessons) recall(ctx context.Context) {
	all, err := l.store.Lessons(ctx)
	if err != nil {
		l.logger.Warn("what was learnt of processes cannot be read; it is learnt again", "error", err)
	}
	l.stored = make(map[store.ProcessID][]byte, len(all))
	told := make([]scale.Lesson, 0, len(all))
	for of, learnt := range all {
		l.stored[of] = learnt
		told = append(told, scale.Lesson{Environment: of.Environment, Process: of.Process, Learnt: learnt})
	}
	l.scaler.Recall(told)
}

// Run stores what is new until ctx ends, and then once more.
func (l *lessons) Run(ctx context.Context) error {
	for pauseFor(ctx, lessonsEvery) == nil {
		l.put(ctx)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lessonsLimit)
	defer cancel()
	l.put(last)
	return nil
}

func (l *lessons) put(ctx context.Context) {
	fresh := map[store.ProcessID][]byte{}
	known := map[store.ProcessID][]byte{}
	for _, lesson := range l.scaler.Lessons() {
		of := store.ProcessID{Environment: lesson.Environment, Process: lesson.Process}
		known[of] = lesson.Learnt
		if !bytes.Equal(lesson.Learnt, l.stored[of]) {
			fresh[of] = lesson.Learnt
		}
	}
	if len(fresh) == 0 {
		return
	}
	if err := l.store.PutLessons(ctx, fresh); err != nil {
		l.logger.Warn("what was learnt of processes cannot be stored", "error", err)
		return
	}
	l.stored = known
}

// replayed makes decisions again from their evidence.
func replayed(decisions []springtide.Decision) []springtide.Decision {
	for i := range decisions {
		evidence, err := scale.Unpack(decisions[i].Evidence)
		if err != nil {
			continue // it is an old one
		}
		again := evidence.Decide()
		decisions[i].Replayed = &springtide.Replay{
			To: again.To, Sentence: again.Sentence, Same: again.To == decisions[i].To && again.Sentence == decisions[i].Sentence,
		}
	}
	return decisions
}
