package exporter

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/gridlatch/gridlatch/exporter/provider"
)

const (
	// firstPause is the pause after the first failure. Each further pause is twice as long, up to
	// maxPause. The provider's client has tried several times before.
	firstPause, maxPause = time.Minute, time.Hour
	// firstPastPause and maxPastPause are the same for the past of a zone of which something is known.
	firstPastPause, maxPastPause = time.Hour, 24 * time.Hour
	// askAgainPause is the pause after an answer that stays the same for long: not in this plan.
	askAgainPause = 24 * time.Hour
)

// question is something that is asked again and again about a zone. The zero question is due at
// once.
type question struct {
	asked, due time.Time
	failures   int
	problem    problem
}

// problem says why a question has no good answer. The zero problem says that there is one.
type problem struct {
	// kind is the same for all failures with the same cause, whatever their text.
	kind string
	text string
}

// isDue reports whether it is time to ask.
func (q *question) isDue(now time.Time) bool { return !q.due.After(now) }

// succeed notes an answer.
func (q *question) succeed(next time.Time, p problem) {
	q.due, q.failures = next, 0
	q.note(p)
}

// postpone notes that there is nothing to ask for until the customer's plan, or the provider, has
// changed. This is no problem.
func (q *question) postpone(now time.Time) { q.succeed(now.Add(askAgainPause), problem{}) }

// fail notes a failure that may pass. The pauses between failures grow.
func (q *question) fail(now time.Time, first, longest time.Duration, p problem) {
	q.due = now.Add(pauseAfter(q.failures, first, longest))
	q.failures++
	q.note(p)
}

// pauseAfter returns the pause after a failure. failures counts those before: each doubles the pause.
func pauseAfter(failures int, first, longest time.Duration) time.Duration {
	const maxDoublings = 16
	return min(longest, first<<min(failures, maxDoublings))
}

// note keeps the text of a problem for as long as its kind stays the same. A server may write a new
// number into each message, and each new text would be written to the ConfigMap.
func (q *question) note(p problem) {
	if p.kind == "" || p.kind != q.problem.kind {
		q.problem = p
	}
}

// problemOf returns what an error says.
func problemOf(err error) problem {
	if err == nil {
		return problem{}
	}
	for _, known := range []error{
		provider.ErrRefusedKey, provider.ErrNotInPlan, provider.ErrUnavailable, provider.ErrUnknownZone, provider.ErrRateLimited,
		provider.ErrNoData, provider.ErrUnreadable,
	} {
		if errors.Is(err, known) {
			return problem{known.Error(), err.Error()}
		}
	}
	if status, ok := errors.AsType[*provider.StatusError](err); ok {
		return problem{"status " + strconv.Itoa(status.Status), err.Error()}
	}
	return problem{"unreachable", err.Error()}
}

// isOutsidePlan reports whether an error says that the provider does not give this customer what was
// asked for. A proxy, or a server that is being changed, refuses with the same status: where every
// customer has a thing, such an error is a failure like others.
func isOutsidePlan(err error, thing provider.Availability) bool {
	return thing != provider.Available && (errors.Is(err, provider.ErrNotInPlan) || errors.Is(err, provider.ErrUnavailable))
}

// isOfTheZone reports whether an error is about one zone, so that other zones may have answers.
func isOfTheZone(err error) bool {
	for _, known := range []error{
		provider.ErrNotInPlan, provider.ErrUnavailable, provider.ErrUnknownZone, provider.ErrNoData,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// readingProblem says what is left out of a reading.
func readingProblem(r provider.Reading) problem {
	switch {
	case r.Doubt != "":
		return problem{"doubt", fmt.Sprintf("zone %q: %s", r.Zone, r.Doubt)}
	case r.BadElements > 0:
		return problem{"bad elements", fmt.Sprintf("zone %q: %d of %d elements are bad, the first: %s", r.Zone, r.BadElements, r.Elements, r.Problem)}
	}
	return problem{}
}
