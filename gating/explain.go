package gating

import (
	"context"
	"iter"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// explain updates the annotations of waiting work whose planned start or location has changed. It
// stops after maxExplainTime and when the next release is due, and the next pass goes on from
// there. It returns how many writes failed that are to be tried again soon.
func (l *Loop) explain(ctx context.Context, p *pass) int {
	var failed failures
	var writes errgroup.Group
	writes.SetLimit(l.Workers)
	until := l.Clock.Now().Add(maxExplainTime)
	if next := p.nextStart(); next.Before(until) {
		until = next
	}
	before, _ := l.explainedUpTo.Load(p.policy.Name)
	from, _ := before.(int) // zero at first
	at, stop := 0, 0
	for o, g := range p.plannedRecords() {
		start := policy.FormatTime(g.decision.Start)
		if at++; at <= from || isExplained(o, start, g.location) {
			continue
		}
		if !l.Clock.Now().Before(until) {
			stop = at - 1
			break
		}
		if !l.mayExplain(o) {
			continue
		}
		writes.Go(func() error {
			failed.add(l.writeExplanation(ctx, p, o, hold.NotesPatch(o, g.notes(o))))
			return nil
		})
	}
	_ = writes.Wait() // failed has the errors
	if stop > 0 {
		l.explainedUpTo.Store(p.policy.Name, stop)
	} else {
		l.explainedUpTo.Delete(p.policy.Name)
	}
	n := failed.report(ctx, "cannot write explanations, will try again", p.policy.Name)
	p.hasMoreToExplain = n == 0 && (stop > 0 || from > 0) // from the start again, once it was at the end
	return n
}

// isExplained reports whether the annotations have a planned start and a location already.
func isExplained(o *record, start, location string) bool {
	return o.Annotations[v1alpha1.PlannedStartAnnotation] == start && (location == "" || o.Annotations[v1alpha1.PlannedLocationAnnotation] == location)
}

// mayExplain reports whether annotations may be written on an object: the API server has not
// refused that, or it is time to try again.
func (l *Loop) mayExplain(o *record) bool {
	return !l.unexplained.has(o) || l.unexplained.begin(o, l.Clock.Now())
}

// writeExplanation writes annotations on an object, and notes whether that was refused.
func (l *Loop) writeExplanation(ctx context.Context, p *pass, o *record, patch client.Patch) error {
	err := l.patch(ctx, o, patch)
	switch {
	case hold.IsRefusal(err):
		l.unexplained.note(p.policy.Name, o, "", l.Clock.Now())
	case err != nil:
		l.unexplained.endAttempt(o)
	default:
		l.unexplained.forget(o, l.Clock.Now())
	}
	return err
}

// plannedRecords yields the objects that wait for a planned start, with their groups.
func (p *pass) plannedRecords() iter.Seq2[*record, *group] {
	return func(yield func(*record, *group) bool) {
		for _, g := range p.groups {
			if g.isDue() || g.waitsForUser || g.decision.Cause == plan.CauseNoForecast {
				continue
			}
			if g.owner != nil && !yield(g.owner, g) {
				return
			}
			for _, pod := range g.pods {
				if !yield(pod, g) {
					return
				}
			}
		}
	}
}
