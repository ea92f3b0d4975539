package hold

import (
	"encoding/json"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// PauseNote says what is written on work that runs, as it is paused.
type PauseNote struct {
	Reason string
	At     time.Time
	// PlannedStart is when the work is to be resumed, LatestStart is until when it must be, and FinishBy is
	// when it must be done.
	PlannedStart, LatestStart, FinishBy time.Time
	// Ran is how long the work has run, without restarts, and Pauses counts the pauses with this one.
	Ran    time.Duration
	Pauses int
}

// pauseKeys returns the annotations that only a pause writes.
func pauseKeys() []string {
	return []string{v1alpha1.PausedAnnotation, v1alpha1.RanAnnotation, v1alpha1.PausesAnnotation, v1alpha1.FinishByAnnotation}
}

// Patch pauses an owner: it closes the door and notes why, both or neither. From then on the owner is
// held like one that has not started. The patch fails with a conflict if the owner has changed since it
// was read.
func (n PauseNote) Patch(owner metav1.Object, kind schema.GroupKind) client.Patch {
	annotations := map[string]any{
		v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend, v1alpha1.ReasonAnnotation: n.Reason,
		v1alpha1.PausedAnnotation: policy.FormatTime(n.At), v1alpha1.PausesAnnotation: strconv.Itoa(n.Pauses),
		v1alpha1.PlannedStartAnnotation: policy.FormatTime(n.PlannedStart), v1alpha1.LatestStartAnnotation: policy.FormatTime(n.LatestStart),
		v1alpha1.FinishByAnnotation: policy.FormatTime(n.FinishBy),
	}
	if ran := n.Ran.Truncate(time.Second); ran > 0 {
		annotations[v1alpha1.RanAnnotation] = plan.FormatDuration(ran)
	}
	if hasOutcome(owner) {
		annotations[v1alpha1.OutcomeAnnotation] = nil
	}
	by := doorOf(kind)
	data, _ := json.Marshal(nested(by.Field, by.Closed, map[string]any{ // of strings and booleans alone: no error is possible
		"metadata": map[string]any{
			"uid": owner.GetUID(), "resourceVersion": owner.GetResourceVersion(),
			"labels": map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld}, "annotations": annotations,
		},
	}))
	return client.RawPatch(types.MergePatchType, data)
}

// nested adds a value at a path to an object, and returns the object. No part of the path is in the object.
func nested(path []string, value any, o map[string]any) map[string]any {
	for i := len(path) - 1; i > 0; i-- {
		value = map[string]any{path[i]: value}
	}
	o[path[0]] = value
	return o
}

// TakenPatch notes on an owner that a user has taken it over: Gridlatch pauses it no more.
func TakenPatch(owner metav1.Object) client.Patch {
	return NotesPatch(owner, map[string]string{
		v1alpha1.OutcomeAnnotation: v1alpha1.OutcomeTaken, v1alpha1.ReasonAnnotation: reasonSuspendedByOthers,
	})
}

// reasonSuspendedByOthers is the reason on interruptible work that somebody else has suspended.
const reasonSuspendedByOthers = "never paused again: somebody else has suspended it, and decides when it runs"
