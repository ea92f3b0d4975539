package gating

import (
	"fmt"
	"maps"
	"math"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// Clock tells the time; k8s.io/utils/clock has one that tests can set.
type Clock interface{ Now() time.Time }

// Notes returns the annotations that explain a decision on work that was just
// created, for `kubectl describe` and for the loop.
func Notes(policy *Policy, d plan.Decision) map[string]string {
	notes := map[string]string{v1alpha1.PolicyAnnotation: policy.Name, v1alpha1.ReasonAnnotation: d.Reason()}
	if d.Holds() {
		notes[v1alpha1.PlannedStartAnnotation] = stamp(d.Start)
		notes[v1alpha1.LatestStartAnnotation] = stamp(d.LatestStart)
		notes[v1alpha1.IntensityAtCreationAnnotation] = emitted(d)
		if policy.Movable() {
			notes[v1alpha1.PlannedLocationAnnotation] = d.Location
		}
	}
	return notes
}

// Guess returns the annotations that tell with what duration work is planned
// that asks for none; nothing if it asks for one.
func Guess(ask Ask) map[string]string {
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
func Promise(asked, notes map[string]string) map[string]string {
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
func Forget(annotations map[string]string) {
	for _, key := range written() {
		delete(annotations, key)
	}
}

// TaskOf returns the task of held work: what its annotations ask for, or what
// was expected of it at its admission, and no later than promised then. Of what
// is asked for, whatever cannot be read makes it start now rather than wait for
// something else than was meant. If its policy is gone, whose delay it may have
// asked for, the promise holds.
func TaskOf(policy *Policy, object metav1.Object) plan.Task {
	created := since(object)
	ask, errs := ParseAsk(object.GetAnnotations(), created, field.NewPath("metadata", "annotations"))
	if expected := object.GetAnnotations()[v1alpha1.ExpectedDurationAnnotation]; len(expected) <= maxValue {
		ask.Earlier.Median, _ = plan.ParseDuration(expected) // zero if there is none
	}
	ask.Only = object.GetAnnotations()[v1alpha1.CandidateLocationsAnnotation]
	task := policy.Task(ask, created)
	task.PlannedLocation = object.GetAnnotations()[v1alpha1.PlannedLocationAnnotation]
	task.ID = TaskID(object, object.GetUID())
	task.PlannedStart, _ = time.Parse(time.RFC3339, object.GetAnnotations()[v1alpha1.PlannedStartAnnotation]) // zero if there is none
	promised, err := time.Parse(time.RFC3339, object.GetAnnotations()[v1alpha1.LatestStartAnnotation])
	switch {
	case err == nil && (len(errs) > 0 || policy.gone || promised.Before(task.LatestStart)):
		task.LatestStart = promised.UTC()
	case err != nil && len(errs) > 0:
		task.LatestStart = created.UTC()
	}
	return task
}

// TaskID returns the ID of the task of work, by which it picks one of several
// starts that are as good: the UID of the controller that owns it, so that all
// that one owner creates for the same deadline, such as the Jobs of a JobSet or
// the pods of a ReplicaSet, picks the same; else its own.
func TaskID(object metav1.Object, own types.UID) string {
	if owner := metav1.GetControllerOfNoCopy(object); owner != nil {
		return string(owner.UID)
	}
	return string(own)
}

// emitted writes what starting at once would have emitted.
func emitted(d plan.Decision) string { return strconv.FormatFloat(d.EmittedAtOnce(), 'f', 1, 64) }

// compared adds to the reason of a release what the wait has saved; nothing if the
// work does not run yet.
func compared(d plan.Decision, annotations map[string]string) string {
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

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
