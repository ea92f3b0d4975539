package widen

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

const (
	// widthField is what a Job lends.
	widthField = override.Field("/spec/parallelism")
	// maxNameBytes bounds the name of a policy.
	maxNameBytes = 253
)

// noteKeys returns the annotations that are written on a Job while its width is lent.
func noteKeys() []string {
	return []string{
		v1alpha1.OriginalParallelismAnnotation, v1alpha1.AppliedParallelismAnnotation, v1alpha1.ParallelismChangedAnnotation,
		v1alpha1.ParallelismReleasedAnnotation,
	}
}

// work is a Job, and what it lends.
type work struct {
	override.Object
	job *batchv1.Job
	ask policy.Ask
	// mistake says what in the annotations cannot be read.
	mistake error
}

// readWork reads a Job. The mistakes of its owner are no error.
func readWork(o *unstructured.Unstructured) (*work, error) {
	w := &work{Object: override.Read(o, widthField), job: &batchv1.Job{}}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, w.job); err != nil {
		return nil, fmt.Errorf("read Job %s/%s: %w", o.GetNamespace(), o.GetName(), err)
	}
	ask, errs := policy.ParseAsk(policy.AskAnnotations(w.job), policy.WaitsSince(w.job), field.NewPath("metadata", "annotations"))
	w.ask, w.mistake = ask, errs.ToAggregate()
	return w, nil
}

// asks reports whether the owner lends the width.
func (w *work) asks() bool { return w.has(v1alpha1.ParallelismAnnotation) }

func (w *work) has(key string) bool {
	_, ok := w.Annotations[key]
	return ok
}

// hasNotes reports whether any note of ours is on the Job.
func (w *work) hasNotes() bool { return slices.ContainsFunc(noteKeys(), w.has) }

func (w *work) state() string { return w.job.Labels[v1alpha1.StateLabel] }

// isHeld reports whether the Job waits for its start.
func (w *work) isHeld() bool { return w.state() == v1alpha1.StateHeld }

func (w *work) isSuspended() bool { return ptr.Deref(w.job.Spec.Suspend, false) }

// isOver reports whether the Job runs no more pods.
func (w *work) isOver() bool {
	return w.job.DeletionTimestamp != nil || slices.ContainsFunc(w.job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Status == corev1.ConditionTrue && (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed ||
			c.Type == batchv1.JobSuccessCriteriaMet || c.Type == batchv1.JobFailureTarget)
	})
}

// policy returns the name of the policy that was found for the Job.
func (w *work) policy() string {
	if name := w.Annotations[v1alpha1.PolicyAnnotation]; name != "" {
		return override.Shorten(name, maxNameBytes) // no policy has a longer name
	}
	return v1alpha1.DefaultPolicy
}

// time returns the time that an annotation has, zero if it has none.
func (w *work) time(key string) time.Time {
	at, _ := time.Parse(time.RFC3339, w.Annotations[key])
	return at
}

// isTaken reports whether somebody else has set the width.
func (w *work) isTaken() bool {
	return w.Annotations[v1alpha1.ParallelismReleasedAnnotation] == v1alpha1.ParallelismTaken
}

// offUntil returns until when the Job is to keep its own width, the zero time if that is over.
func (w *work) offUntil(now time.Time) time.Time {
	if until := w.time(v1alpha1.ParallelismReleasedAnnotation); now.Before(until) {
		return until
	}
	return time.Time{}
}

// loan returns what the notes remember of the width, nil if it is not lent. Where the other note is
// lost, what is there counts as what was set.
func (w *work) loan() *override.Loan {
	original, ok := readWidth(w.Annotations[v1alpha1.OriginalParallelismAnnotation])
	if !ok {
		return nil
	}
	loan := &override.Loan{Original: override.ValueOf(original), Applied: w.Value(widthField)}
	if applied, ok := readWidth(w.Annotations[v1alpha1.AppliedParallelismAnnotation]); ok {
		loan.Applied = override.ValueOf(applied)
	}
	return loan
}

// original returns the width that the owner wants.
func (w *work) original() int { return widthOf(w.Standing(widthField, w.loan()).Original) }

// readWidth reads a width that the API server lets a Job have.
func readWidth(text string) (int, bool) {
	width, err := strconv.ParseUint(text, 10, 31)
	return int(width), err == nil // it has 31 bits
}

// widthOf returns the width that a field has. A Job without the field runs one pod at once.
func widthOf(v override.Value) int {
	if width, ok := readWidth(string(v)); ok {
		return width
	}
	return 1
}

// whyOwn says why the Job keeps its own width whatever the grid does; empty if it lends its width.
func (w *work) whyOwn() string {
	wish, _ := policy.Wish(w.job)
	switch {
	case w.isOver():
		return "it is over"
	case wish != "true":
		return "it does not ask to wait any more"
	case w.state() != v1alpha1.StateHeld && w.state() != v1alpha1.StateReleased:
		return "it was not decided on"
	default:
		return w.whyOthersDecide()
	}
}

// whyOthersDecide says who else decides how many pods run; empty if nobody does.
func (w *work) whyOthersDecide() string {
	owner, manager := door.OfController(w.job), w.job.Spec.ManagedBy
	switch {
	case w.job.Labels[hold.KueueQueueLabel] != "" || hold.HasQuota(w.job.Spec.Template.Labels):
		return "Kueue has given it quota, or is going to, for the pods that it asks for"
	case manager != nil && *manager != batchv1.JobControllerName:
		return "it is managed by " + override.Shorten(*manager, maxNameBytes)
	case w.loan() == nil && widthOf(w.Value(widthField)) == 0:
		return "its owner has set it to 0, so that no pod runs"
	case owner != nil && owner.WritesChildren:
		return "its " + owner.Kind.Kind + " writes its spec"
	default:
		return ""
	}
}

// mistakes returns what is wrong with the wish of the Job, nil if nothing is.
func (w *work) mistakes() error {
	least := 0
	if w.ask.Widths != nil {
		least = w.ask.Widths.Least
	}
	switch completions := w.job.Spec.Completions; {
	case w.mistake != nil:
		return w.mistake
	case w.ask.Interruptible:
		return fmt.Errorf("want one of %s and %s", v1alpha1.InterruptibleAnnotation, v1alpha1.ParallelismAnnotation)
	case completions == nil || int(*completions) <= least:
		return fmt.Errorf("spec.completions: want more than %d, the least of %s", least, v1alpha1.ParallelismAnnotation)
	default:
		return nil
	}
}

// elastic returns the work as the planner needs it. The Job must have widths and no mistakes.
func (w *work) elastic(rules *policy.Policy) plan.Elastic {
	return rules.ElasticOf(w.job, w.ask, widthOf(w.Value(widthField)))
}
