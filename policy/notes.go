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

// Notes returns the annotations that explain a decision on new work. `kubectl describe` shows them,
// and the loop reads them.
func (p *Policy) Notes(d plan.Decision) map[string]string {
	notes := map[string]string{v1alpha1.PolicyAnnotation: p.Name, v1alpha1.ReasonAnnotation: d.Reason()}
	if d.Holds() {
		notes[v1alpha1.PlannedStartAnnotation] = FormatTime(d.Start)
		notes[v1alpha1.LatestStartAnnotation] = FormatTime(d.LatestStart)
		notes[v1alpha1.IntensityAtCreationAnnotation] = EmittedAtOnce(d)
		if !d.NextRun.IsZero() {
			notes[v1alpha1.NextRunAnnotation] = FormatTime(d.NextRun)
		}
		if p.ChoosesLocation() {
			notes[v1alpha1.PlannedLocationAnnotation] = d.Location
		}
	}
	return notes
}

// AuditNotes returns the annotations that tell what would have happened to audited work: when the work
// would have started, and why. The intensity is left out if it is not known.
func (p *Policy) AuditNotes(d plan.Decision) map[string]string {
	notes := map[string]string{
		v1alpha1.PolicyAnnotation: p.Name, v1alpha1.ReasonAnnotation: d.AuditReason(),
		v1alpha1.PlannedStartAnnotation: FormatTime(d.Start), v1alpha1.LatestStartAnnotation: FormatTime(d.LatestStart),
	}
	if !math.IsNaN(d.EmittedAtOnce()) {
		notes[v1alpha1.IntensityAtCreationAnnotation] = EmittedAtOnce(d)
	}
	if !d.NextRun.IsZero() {
		notes[v1alpha1.NextRunAnnotation] = FormatTime(d.NextRun)
	}
	if p.ChoosesLocation() && !math.IsNaN(d.Expected) {
		notes[v1alpha1.PlannedLocationAnnotation] = d.Location
	}
	return notes
}

// DurationNotes returns the annotations that tell with what duration work is planned. If the work
// asks for a duration, there are none.
func DurationNotes(ask Ask) map[string]string {
	switch {
	case ask.Duration > 0:
		return nil
	case ask.EarlierRuns.Median > 0:
		return map[string]string{v1alpha1.ExpectedDurationAnnotation: plan.FormatDuration(ask.EarlierRuns.Median), v1alpha1.DurationSourceAnnotation: ask.EarlierRuns.String()}
	default:
		return map[string]string{v1alpha1.DurationSourceAnnotation: "the policy's default"}
	}
}

// PromiseNotes returns the annotations for the pod template of a held Job: what the Job asks for,
// and what was promised at its creation. So each pod is known to belong to held work.
func PromiseNotes(asked, notes map[string]string) map[string]string {
	promise := maps.Clone(asked)
	for _, key := range []string{v1alpha1.PolicyAnnotation, v1alpha1.PlannedStartAnnotation, v1alpha1.LatestStartAnnotation, v1alpha1.NextRunAnnotation, v1alpha1.IntensityAtCreationAnnotation} {
		if note, ok := notes[key]; ok {
			promise[key] = note
		}
	}
	return promise
}

// ForgetNotes removes the annotations that only Gridlatch writes. A new object can be a copy of an
// object that was held.
func ForgetNotes(annotations map[string]string) {
	for _, key := range WrittenKeys() {
		delete(annotations, key)
	}
}

// EmittedAtOnce writes what the work would have emitted if it had started at once.
func EmittedAtOnce(d plan.Decision) string { return strconv.FormatFloat(d.EmittedAtOnce(), 'f', 1, 64) }

// ReleaseReason returns the reason of a release and what the wait has saved. The saving is left out
// if the work does not run yet.
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

// FormatTime writes a time as the annotations have times.
func FormatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }
