package webhook

import (
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// longCompletion is how long a completion takes that is a pity to begin anew.
const longCompletion = 30 * time.Minute

// checkWidths returns what is wrong with a Job that asks to run at several widths.
func checkWidths(job *batchv1.Job, ask policy.Ask) field.ErrorList {
	if ask.Widths == nil || !ask.WantsToWait {
		return nil
	}
	path, want := field.NewPath("spec", "completions"), fmt.Sprintf("want more than %d, the least pods of %s: Gridlatch changes how many pods run at once, and never what there is to do", ask.Widths.Least, v1alpha1.ParallelismAnnotation)
	switch completions := job.Spec.Completions; {
	case completions == nil:
		return field.ErrorList{field.Required(path, want)}
	case int(*completions) <= ask.Widths.Least:
		return field.ErrorList{field.Invalid(path, *completions, want)}
	default:
		return nil
	}
}

// warnOfWidths returns what a user should know of a Job that asks to run at several widths.
func warnOfWidths(job *batchv1.Job, ask policy.Ask, duration time.Duration) []string {
	if ask.Widths == nil {
		return nil
	}
	key := field.NewPath("metadata", "annotations").Key(v1alpha1.ParallelismAnnotation)
	if job.Labels[hold.KueueQueueLabel] != "" {
		return []string{fmt.Sprintf("%s: has no effect, because Kueue gives quota for the pods that the Job asks for", key)}
	}
	each := duration * time.Duration(ask.Widths.Least) / time.Duration(max(ptr.Deref(job.Spec.Completions, 1), 1))
	if each > longCompletion {
		return []string{fmt.Sprintf("%s: each completion takes about %s, and begins anew if its pod ends because the Job becomes narrower: "+
			"more and shorter completions lose less", key, plan.FormatDuration(each.Round(time.Minute)))}
	}
	return nil
}

// noteWidths writes on a Job what it, or its template, asks for. Users change and withdraw the wish there.
func noteWidths(job *batchv1.Job, asked map[string]string) {
	for _, key := range []string{v1alpha1.ParallelismAnnotation, v1alpha1.SpeedupAnnotation} {
		if value, ok := asked[key]; ok {
			job.Annotations[key] = value
		}
	}
}
