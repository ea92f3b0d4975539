package exporter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/exporter/provider"
)

const (
	// maxFailuresInARow ends a round: a provider that does not answer is not asked for 60 more zones.
	maxFailuresInARow = 3
	// refusedPause is how long a provider is left alone that has refused the key, unless the Secret
	// changes.
	refusedPause = time.Hour
	// firstWritePause and writePause are the shortest times between two writes in a round. A provider that
	// allows few requests needs longer for a round: what it says first of a zone is soon written. What
	// only becomes newer waits for longer, so that a usual round is one write.
	firstWritePause, writePause = time.Minute, 10 * time.Minute
)

// silence is what is known of a provider that does not answer.
type silence struct {
	// rounds counts the rounds in a row in which the provider has answered for no zone.
	rounds int
	// isBroken reports whether the provider has answered for a zone in this round.
	isBroken bool
}

// inquiry is a question about many zones.
type inquiry struct {
	// question returns the question about one zone; nil if there is none now.
	question func(*zone) *question
	// isFirst says that each answer tells something that was not known.
	isFirst bool
	ask     func(context.Context, *zone) error
	// miss notes that there is no answer about one zone.
	miss func(z *zone, err error, now time.Time)
}

// dueZones returns the zones of which a question is due. Those come first that were not asked for the
// longest time, so that zones that always fail keep no others from being asked for.
func (a *asker) dueZones(of inquiry) []*zone {
	now := a.exporter.Clock.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.provider == nil || now.Before(a.notBefore) {
		return nil
	}
	var due []*zone
	for _, z := range a.zones {
		if q := of.question(z); q != nil && q.isDue(now) {
			due = append(due, z)
		}
	}
	slices.SortFunc(due, func(x, y *zone) int {
		return cmp.Or(of.question(x).asked.Compare(of.question(y).asked), strings.Compare(x.name, y.name))
	})
	return due
}

// ask asks for one zone after the other, and reports whether any was due. If the provider has answered
// for no zone in this round, the zones that were not asked for have the same problem.
func (a *asker) ask(ctx context.Context, of inquiry) bool {
	due, inARow := a.dueZones(of), 0
	for i, z := range due {
		if a.hasOtherTargets() {
			return true
		}
		err := of.ask(ctx, z)
		if ctx.Err() != nil {
			return true
		}
		a.noteAnswer(of, z, err)
		if a.mayWrite() {
			a.writeAll(ctx)
		}
		if err == nil || isOfTheZone(err) {
			inARow, a.silence = 0, silence{isBroken: true}
			a.isKeyGood = a.isKeyGood || err == nil
			continue
		}
		log.FromContext(ctx).V(1).Info("a provider has no answer", "provider", a.source.kind, "zone", z.name, "why", err.Error())
		others := due[i+1:]
		if inARow++; a.isOfTheProvider(err) || inARow >= maxFailuresInARow && len(others) > 0 {
			a.pause(err)
			a.noteSilence(of, others, err)
			return true
		}
	}
	return len(due) > 0
}

// noteAnswer notes that a zone was asked for, and what is wrong if there is no answer.
func (a *asker) noteAnswer(of inquiry, z *zone, err error) {
	a.note(func(now time.Time) {
		q := of.question(z)
		a.hasFirst = a.hasFirst || of.isFirst || q.asked.IsZero()
		q.asked = now
		if err != nil {
			of.miss(z, err, now)
		}
	})
}

// beginRound notes that a round begins. A clock that was ahead has made pauses that nobody waits for:
// all is due then.
func (a *asker) beginRound() {
	now := a.exporter.Clock.Now().Round(0) // without the monotonic clock, which never steps back
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Before(a.began.Add(-maxClockStep)) {
		a.keyDue, a.notBefore = time.Time{}, time.Time{}
		a.makeAllDue(now)
		a.makeWeatherDue()
	}
	a.began, a.written, a.silence.isBroken, a.isAssigned = now, now, false, false
}

// hasOtherTargets reports whether there are other targets than when the round began.
func (a *asker) hasOtherTargets() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.isAssigned
}

// mayWrite reports whether to write in the middle of a round. The first forecast of a ConfigMap is
// written at once.
func (a *asker) mayWrite() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, b := range a.books {
		if b.isOpen && !b.hasForecast && slices.ContainsFunc(b.places, func(p place) bool { return !a.zones[p.zone].forecast.IsEmpty() }) {
			return true
		}
	}
	pause := writePause
	if a.hasFirst {
		pause = firstWritePause
	}
	return a.hasNews && a.exporter.Clock.Since(a.written) >= pause
}

// isOfTheProvider reports whether an error is about all zones. A provider that has answered to the key
// may refuse it for a zone that the plan does not have.
func (a *asker) isOfTheProvider(err error) bool {
	return errors.Is(err, provider.ErrRefusedKey) && !a.isKeyGood || errors.Is(err, provider.ErrRateLimited)
}

// pause ends a round: it notes when to ask the provider again. The pauses grow for as long as the
// provider answers for no zone.
func (a *asker) pause(err error) {
	pause := pauseAfter(a.silence.rounds, firstPause, maxPause)
	status, hasStatus := errors.AsType[*provider.StatusError](err)
	switch {
	case errors.Is(err, provider.ErrRefusedKey) && !a.isKeyGood:
		pause = refusedPause
		a.keyDue = time.Time{} // perhaps there is a new one already
	case errors.Is(err, provider.ErrRateLimited) && hasStatus:
		pause = max(pause, status.RetryAfter)
	}
	if !a.silence.isBroken {
		a.silence.rounds++
	}
	a.notBefore, a.isKeyRefused = a.exporter.Clock.Now().Add(pause), errors.Is(err, provider.ErrRefusedKey)
}

// noteSilence notes why there is no answer about zones that were not asked for. The zones stay due:
// once the provider answers again, all of them are asked for. The first zones may fail while the
// others have answers, and so only a second round without an answer tells of all zones.
func (a *asker) noteSilence(of inquiry, others []*zone, err error) {
	if a.silence.isBroken || a.silence.rounds < 2 && !a.isOfTheProvider(err) {
		return
	}
	p := problem{kind: problemOf(err).kind, text: "the provider does not answer: " + causeOf(err)}
	a.note(func(time.Time) {
		for _, z := range others {
			of.question(z).note(p)
		}
	})
}

// causeOf says what is wrong without the zone that was asked for.
func causeOf(err error) string {
	if status, ok := errors.AsType[*provider.StatusError](err); ok {
		return fmt.Sprintf("%d %s", status.Status, http.StatusText(status.Status))
	}
	if errors.Is(err, provider.ErrUnreadable) {
		return provider.ErrUnreadable.Error()
	}
	return "no complete response"
}
