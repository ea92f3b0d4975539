package gating

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// A worker is an interruptible Job that is done minute by minute.
type worker struct {
	job     *batchv1.Job
	rules   *policy.Policy
	began   time.Time // of the pod of the present run
	restart time.Duration
	lost    time.Duration // of the restart that goes on
	left    time.Duration
	pauses  int
}

// step looks at the Job as a pass does, pauses or resumes it, and lets a minute pass.
func (w *worker) step(t *testing.T, snapshot *forecast.Snapshot, now time.Time) {
	t.Helper()
	p := &pass{policy: w.rules, snapshot: snapshot, now: now}
	owner := stripped(t, newRecordMaker(), w.job)
	if w.job.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld {
		p.groups = []*group{{owner: owner}}
		setTasks(w.rules, p.groups)
		p.decide()
		if p.groups[0].isDue() {
			w.job.Labels[v1alpha1.StateLabel], w.job.Spec.Suspend = v1alpha1.StateReleased, ptr.To(false)
			w.job.Annotations[v1alpha1.StartedAnnotation] = policy.FormatTime(now)
			for _, gone := range []string{v1alpha1.HeldByAnnotation, v1alpha1.PausedAnnotation, v1alpha1.PlannedStartAnnotation} {
				delete(w.job.Annotations, gone)
			}
			w.began, w.lost = now, w.restart
		}
	} else if task, isKnown := w.rules.RunningTaskOf(owner, policy.RunBegan(owner), now); isKnown && !task.IsNearlyDone() {
		g := &group{owner: owner, task: task.Task, run: &task}
		p.pausable = []*group{g}
		p.decide()
		if note, ok := p.pauseNote(g, owner, w.began, now); ok && g.decision.Holds() {
			w.apply(t, note.Patch(owner, owner.GroupVersionKind().GroupKind()).Data)
			w.pauses++
		}
	}
	if w.job.Labels[v1alpha1.StateLabel] == v1alpha1.StateReleased {
		restart := min(w.lost, time.Minute)
		w.lost, w.left = w.lost-restart, w.left-time.Minute+restart
	}
}

// apply writes what a pause writes.
func (w *worker) apply(t *testing.T, data func(o client.Object) ([]byte, error)) {
	t.Helper()
	body, err := data(w.job)
	if err != nil {
		t.Fatal(err)
	}
	var patch struct {
		Metadata struct{ Labels, Annotations map[string]string }
		Spec     struct{ Suspend *bool }
	}
	if err := json.Unmarshal(body, &patch); err != nil {
		t.Fatal(err)
	}
	for key, value := range patch.Metadata.Annotations {
		w.job.Annotations[key] = value
	}
	w.job.Labels[v1alpha1.StateLabel], w.job.Spec.Suspend = patch.Metadata.Labels[v1alpha1.StateLabel], patch.Spec.Suspend
}

// spoil has somebody write over what Gridlatch has written on a Job.
func (w *worker) spoil(random *rand.Rand) {
	keys := []string{v1alpha1.PausedAnnotation, v1alpha1.RanAnnotation, v1alpha1.PausesAnnotation, v1alpha1.FinishByAnnotation, v1alpha1.LatestStartAnnotation, v1alpha1.StartedAnnotation, v1alpha1.PlannedStartAnnotation}
	values := []string{"400d", "-1", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "NaN", ""}
	key, value := keys[random.IntN(len(keys))], values[random.IntN(len(values))]
	if w.job.Annotations[key] = value; value == "" {
		delete(w.job.Annotations, key)
	}
}

// The forecast is another one each minute, so that every moment looks like one in which to pause, or to resume.
func TestAnInterruptibleJobIsDoneInTimeThoughTheForecastFlapsAndItsNotesAreSpoilt(t *testing.T) {
	rules, pauses := builtin(), 0
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			snapshots := make([]*forecast.Snapshot, 2+random.IntN(4))
			for i := range snapshots {
				hours := make([]float64, 40)
				for h := range hours {
					hours[h] = float64(20 + random.IntN(600))
				}
				snapshots[i] = grid(t, rules, map[string][]float64{"here": hours})
			}
			deadline := time.Duration(5+random.IntN(28)) * time.Hour
			w := &worker{job: runningJob(), rules: rules, began: t0, restart: time.Duration(random.IntN(40)) * time.Minute, left: 4 * time.Hour}
			w.job.CreationTimestamp = metav1.NewTime(t0)
			minRun := time.Duration(1+random.IntN(60)) * time.Minute
			for key, value := range map[string]string{
				v1alpha1.DeadlineAnnotation: policy.FormatTime(t0.Add(deadline)), v1alpha1.RestartCostAnnotation: w.restart.String(), v1alpha1.MinRunAnnotation: minRun.String(),
				v1alpha1.LatestStartAnnotation: policy.FormatTime(plan.LatestStart(t0.Add(deadline), 4*time.Hour)),
			} {
				w.job.Annotations[key] = value
			}
			for now := t0; w.left > 0; now = now.Add(time.Minute) {
				if seed%2 == 1 && random.IntN(50) == 0 {
					w.spoil(random)
				}
				w.step(t, snapshots[random.IntN(len(snapshots))], now)
				if now.After(t0.Add(deadline)) {
					t.Fatalf("late: %s are left at the deadline: %v", w.left, w.job.Annotations)
				}
			}
			if seed%2 == 0 && w.pauses > plan.MaxRuns-1 {
				t.Errorf("%d pauses", w.pauses)
			}
			pauses += w.pauses
		})
	}
	if pauses < 30 {
		t.Errorf("only %d pauses in all", pauses)
	}
}
