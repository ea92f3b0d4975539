package policy

import (
	"fmt"
	"maps"
	"math"
	"strconv"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// Notes returns the annotations that explain a decision on work that was just
// created, for `kubectl describe` and for the loop.
func (p *Policy) Notes(d plan.Decision) map[string]string {
	notes := map[string]string{v1alpha1.PolicyAnnotation: p.Name, v1alpha1.ReasonAnnotation: d.Reason()}
	if d.Holds() {
		notes[v1alpha1.PlannedStartAnnotation] = Stamp(d.Start)
		notes[v1alpha1.LatestStartAnnotation] = Stamp(d.LatestStart)
		notes[v1alpha1.IntensityAtCreationAnnotation] = EmittedAtOnce(d)
		if p.Movable() {
			notes[v1alpha1.PlannedLocationAnnotation] = d.Location
		}
	}
	return notes
}

// Guess returns the annotations that tell with what duration work is planned
// that asks for none; nothing if it asks for one.
func DurationNotes(ask Ask) map[string]string {
	switch {
	case ask.Duration > 0:
		return nil
	case ask.Earlier.Median > 0:
		return map[string]string{v1alpha1.ExpectedDurationAnnotation: plan.FormatDuration(ask.Earlier.Median), v1alpha1.DurationSourceAnnotation: ask.Earlier.String()}
	default:
		return map[string]string{v1alpha1.DurationSourceAnnotation: "the policy's default"}
	}
}

// Promise returns the annotations that a held Job's pod template carries, so
// that each of its pods is known to belong to work that is held: what was asked
// for, and what was planned and promised at the Job's creation.
func PromiseNotes(asked, notes map[string]string) map[string]string {
	promise := maps.Clone(asked)
	for _, key := range []string{v1alpha1.PolicyAnnotation, v1alpha1.PlannedStartAnnotation, v1alpha1.LatestStartAnnotation, v1alpha1.IntensityAtCreationAnnotation} {
		if note, ok := notes[key]; ok {
			promise[key] = note
		}
	}
	return promise
}

// Forget removes what Gridlatch has written from the annotations of an object
// that is created anew, perhaps from a copy of one that was held.
func ForgetNotes(annotations map[string]string) {
	for _, key := range WrittenKeys() {
		delete(annotations, key)
	}
}

// emitted writes what starting at once would have emitted.
func EmittedAtOnce(d plan.Decision) string { return strconv.FormatFloat(d.EmittedAtOnce(), 'f', 1, 64) }

// compared adds to the reason of a release what the wait has saved; nothing if the
// work does not run yet.
func ReleaseReason(d plan.Decision, annotations map[string]string) string {
	before, err := strconv.ParseFloat(annotations[v1alpha1.IntensityAtCreationAnnotation], 64)
	if err != nil || d.StillWaitsFor != "" || !(before > 0) || math.IsInf(before, 0) || math.IsNaN(d.Expected) {
		return d.Reason()
	}
	saved := 100 * (before - d.Emitted()) / before
	if saved < 0 {
		return d.ReasonWith(fmt.Sprintf("; %.0f %% more than the %.0f at its creation", -saved, before))
	}
	return d.ReasonWith(fmt.Sprintf("; %.0f %% less than the %.0f at its creation", saved, before))
}

func Stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
