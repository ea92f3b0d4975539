package policy

import (
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// Progress is what the status of work that may be paused says of how far the work has come.
type Progress struct {
	// Completions is how many pods have to succeed, and Succeeded is how many have. One completion or
	// none says nothing of the progress.
	Completions, Succeeded int32
	// Ready is how many pods are ready. It is negative if nobody knows.
	Ready int32
}

// ProgressOf returns the progress of work that may be paused; nil if it may not. A Job may be paused if
// it asks for that, and if it was decided on as a Job that is held by its spec.suspend: its pod template
// then says that its pods are released.
func ProgressOf(object metav1.Object) *Progress {
	switch o := object.(type) {
	case interface{ Progress() *Progress }:
		return o.Progress()
	case *batchv1.Job:
		return progressOfJob(o)
	default:
		return nil
	}
}

func progressOfJob(job *batchv1.Job) *Progress {
	manager := ptr.Deref(job.Spec.ManagedBy, batchv1.JobControllerName)
	isReleasedByJob := job.Spec.Template.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased
	if job.Annotations[v1alpha1.InterruptibleAnnotation] != "true" || !isReleasedByJob || manager != batchv1.JobControllerName || hasEnded(job) {
		return nil
	}
	return &Progress{Completions: ptr.Deref(job.Spec.Completions, 0), Succeeded: max(job.Status.Succeeded, 0), Ready: ptr.Deref(job.Status.Ready, -1)}
}

func hasEnded(job *batchv1.Job) bool {
	return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue
	})
}

// Runs is what Gridlatch has written on interruptible work about its runs. The zero value is for work
// that was never paused.
type Runs struct {
	// Paused is since when the work is paused; zero if it is not.
	Paused time.Time
	// Ran is how long the work has run before the present run or pause, without restarts.
	Ran time.Duration
	// Pauses is how often the work was paused.
	Pauses int
	// FinishBy is when the work must be done; zero if it was never paused.
	FinishBy time.Time
}

// maxPauses bounds how many pauses are believed.
const maxPauses = 1000

// ReadRuns reads what the annotations of work say of its runs. What cannot be read is left out.
func ReadRuns(annotations map[string]string) (r Runs) {
	r.Paused = readInstant(annotations[v1alpha1.PausedAnnotation])
	r.FinishBy = readInstant(annotations[v1alpha1.FinishByAnnotation])
	if text := annotations[v1alpha1.RanAnnotation]; len(text) <= MaxValue {
		r.Ran, _ = plan.ParseDuration(text) // zero if there is none
	}
	if n, err := strconv.Atoi(annotations[v1alpha1.PausesAnnotation]); err == nil {
		r.Pauses = max(0, min(n, maxPauses))
	}
	if r.Ran > 0 { // which only a pause writes
		r.Pauses = max(r.Pauses, 1)
	}
	return r
}

// readInstant reads an instant; zero if a text is none.
func readInstant(text string) time.Time {
	at, _ := time.Parse(time.RFC3339, text) // zero if there is none
	return at.UTC()
}

// UsefulRun returns how long work has run, up to an instant, that has been running since began: with the
// runs before, and without what its resumes cost.
func (r Runs) UsefulRun(began, until time.Time, restartCost time.Duration) time.Duration {
	present := until.Sub(began)
	if r.Pauses > 0 {
		present -= restartCost
	}
	return r.Ran + max(0, present)
}

// IsPaused reports whether an object waits that had run before. Either note tells: somebody may have
// removed the other.
func IsPaused(object metav1.Object) bool {
	annotations := object.GetAnnotations()
	hasRun := annotations[v1alpha1.PausedAnnotation] != "" || annotations[v1alpha1.FinishByAnnotation] != ""
	return hasRun && object.GetLabels()[v1alpha1.StateLabel] == v1alpha1.StateHeld
}

// RunBegan returns when the present run of released work began, as far as its object tells: at its
// release, or when it was resumed last.
func RunBegan(object metav1.Object) time.Time {
	began := object.GetCreationTimestamp().UTC()
	if started := readInstant(object.GetAnnotations()[v1alpha1.StartedAnnotation]); started.After(began) {
		began = started
	}
	if resumed := resumedAt(object); resumed.After(began) {
		return resumed
	}
	return began
}

// RunningTask is the task of interruptible work that runs: about what is left of the work.
type RunningTask struct {
	plan.Task
	// Done is how long the work has run, without restarts.
	Done time.Duration
	// FinishBy is when the work must be done.
	FinishBy time.Time
	// PausedBefore is how often the work was paused.
	PausedBefore int
}

// RunningTaskOf returns the task of interruptible work that runs at a moment, since began. isKnown is
// false if nothing was promised to the work, if it is not interruptible, or if what it asks for cannot be
// read: nobody knows how long such work takes.
func (p *Policy) RunningTaskOf(object metav1.Object, began, now time.Time) (t RunningTask, isKnown bool) {
	task, ask, isReadable := p.taskAndAsk(object)
	annotations := object.GetAnnotations()
	runs := ReadRuns(annotations)
	if !isReadable || task.Pauses == nil || runs.FinishBy.IsZero() && readInstant(annotations[v1alpha1.LatestStartAnnotation]).IsZero() {
		return RunningTask{}, false
	}
	t = RunningTask{Done: runs.UsefulRun(began, now, task.Pauses.RestartCost), FinishBy: runs.finish(task), PausedBefore: runs.Pauses}
	task.Pauses.State, task.Pauses.RanFor, task.Pauses.Runs = plan.Running, max(0, now.Sub(began)), plan.MaxRuns-1-runs.Pauses
	p.leave(&task, object, ask, t.FinishBy, t.Done)
	t.Task = task
	return t, true
}

// ResumeBy returns until when the work must be resumed if it is paused now.
func (t RunningTask) ResumeBy() time.Time {
	return t.LatestStart.Add(-t.Pauses.RestartCost).Truncate(time.Second).UTC()
}

// IsNearlyDone reports whether too little is left of the work for a pause.
func (t RunningTask) IsNearlyDone() bool { return t.Duration < t.Pauses.MinRun+t.Pauses.RestartCost }

// finish returns when the work of a task must be done. The task is about the whole work.
func (r Runs) finish(task plan.Task) time.Time {
	finish := task.LatestStart.Add(task.Duration)
	if !r.FinishBy.IsZero() && r.FinishBy.Before(finish) {
		return r.FinishBy
	}
	return finish
}

// leave makes the task of started work be about what is left of the work, of which so much is done. The
// plan takes what the work says is left, or else what its completions say, or else the time. The latest
// start leaves time for the largest of these. Work that has run for longer than expected has an unknown
// rest, and so no time for a pause.
func (p *Policy) leave(task *plan.Task, object metav1.Object, ask Ask, finish time.Time, done time.Duration) {
	whole := task.Duration
	byTime := whole - done
	planned, largest := byTime, byTime
	if progress := ProgressOf(object); progress != nil && progress.Completions > 1 {
		left := max(progress.Completions-progress.Succeeded, 0)
		planned = time.Duration(float64(whole) * float64(left) / float64(progress.Completions))
		largest = max(largest, planned)
	}
	if ask.Remaining != nil {
		planned, largest = *ask.Remaining, max(largest, *ask.Remaining)
	}
	task.EstimatedDuration, task.Duration = "", max(planned, time.Second)
	task.LatestStart = finish.Add(-largest)
	if task.Pauses.State == plan.Paused {
		task.LatestStart = task.LatestStart.Add(-task.Pauses.RestartCost)
	}
	if byTime <= 0 && ask.Remaining == nil {
		task.LatestStart = object.GetCreationTimestamp().Time
	}
	task.LatestStart = task.LatestStart.Truncate(time.Second).UTC()
}

// pausedTask makes the task of paused work be about what is left. The latest start is never later than
// promised by the pause.
func (p *Policy) pausedTask(task *plan.Task, object metav1.Object, ask Ask) {
	runs := ReadRuns(object.GetAnnotations())
	task.Pauses.State, task.Pauses.Runs = plan.Paused, max(1, plan.MaxRuns-runs.Pauses)
	p.leave(task, object, ask, runs.finish(*task), runs.Ran)
	promised := readInstant(object.GetAnnotations()[v1alpha1.LatestStartAnnotation])
	if promised.Before(task.LatestStart) { // without a promise, the zero time
		task.LatestStart = promised
	}
}

// RestartCost returns how much run time a resume costs, given what the work says in its annotation; empty
// if the work says nothing.
func (p *Policy) RestartCost(said string) time.Duration {
	if cost, err := parseDelay(v1alpha1.Duration(said)); err == nil && len(said) <= MaxValue {
		return cost
	}
	return p.restartCost
}

// pauses returns what the planner knows of interruptible work that has not started; nil for other work.
func (p *Policy) pauses(ask Ask) *plan.Pauses {
	if !ask.Interruptible {
		return nil
	}
	return &plan.Pauses{
		RestartCost: ptr.Deref(ask.RestartCost, p.restartCost), MinRun: ptr.Deref(ask.MinRun, p.minRun), Runs: plan.MaxRuns,
	}
}
