package widen

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
)

func TestAJobFollowsTheGrid(t *testing.T) {
	w := newWorld(t, running())
	w.turn(400, 100, 400, 100, 400, 100, 400)
	if result := w.look(t0.Add(time.Second)); result.RequeueAfter > DefaultInterval || result.RequeueAfter <= 0 {
		t.Errorf("looked at again after %v", result.RequeueAfter)
	}
	w.expectWidth(2)
	w.look(t0.Add(time.Hour))
	w.expectWidth(10)
	j := w.job()
	if j.Annotations[v1alpha1.OriginalParallelismAnnotation] != "4" || j.Annotations[v1alpha1.AppliedParallelismAnnotation] != "10" ||
		!strings.Contains(j.Annotations[v1alpha1.ReasonAnnotation], "its parallelism is 10: ") {
		t.Errorf("annotations %v", j.Annotations)
	}
	w.succeed(20)
	w.look(t0.Add(2 * time.Hour))
	w.expectWidth(2)
	if len(w.events) != 3 || !strings.HasPrefix(w.events[1], v1alpha1.EventWidthChanged+": parallelism is 10: ") {
		t.Errorf("events %q", w.events)
	}
}

func TestAJobThatWaitsHasTheLeastWidthAndTheReasonOfTheLoop(t *testing.T) {
	held := running()
	held.Labels[v1alpha1.StateLabel] = v1alpha1.StateHeld
	w := newWorld(t, held)
	w.turn(400, 100, 400)
	w.look(t0)
	w.expectWidth(2)
	if reason := w.job().Annotations[v1alpha1.ReasonAnnotation]; reason != "started" {
		t.Errorf("reason %q", reason)
	}
	w.edit(`{"metadata":{"labels":{"gridlatch.dev/state":"released"}}}`)
	w.look(t0.Add(time.Hour))
	w.look(t0.Add(time.Hour + time.Second))
	if width := w.width(); width <= 2 {
		t.Errorf("after its start, in the clean hours, it has a width of %d", width)
	}
}

// TestAJobIsDoneInTimeWhateverTheForecastSays lets the forecast change every twenty minutes, and the Job work as a Job
// does. It looks when the controller asks for that.
func TestAJobIsDoneInTimeWhateverTheForecastSays(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			deadline := time.Duration(11+random.IntN(20)) * time.Hour
			w := newWorld(t, running(v1alpha1.DeadlineAnnotation, deadline.String()))
			done, slots := 0.0, 0
			next := t0
			for now := t0; ; now = now.Add(time.Minute) {
				w.clock.SetTime(now)
				if now.Minute()%20 == 0 {
					values := make([]float64, 40)
					for i := range values {
						values[i] = float64(50 + random.IntN(500))
					}
					w.turn(values...)
					next = now
				}
				if now.Minute() == 0 {
					slots++
				}
				if !now.Before(next) {
					next = now.Add(w.look(now).RequeueAfter)
				}
				done += float64(w.width()) / 6 // completions: two pods take ten hours for 200
				if done >= 200 {
					break
				}
				w.succeed(int(done))
				if now.After(t0.Add(deadline)) {
					t.Fatalf("late: %.0f of 200 are done", done)
				}
			}
			if w.widths() > slots+3 { // the last ones may be for the deadline
				t.Errorf("%d changes of the width in %d slots", w.widths(), slots)
			}
		})
	}
}

func TestAWidthChangesAgainInTheNextSlotOnly(t *testing.T) {
	w := newWorld(t, running())
	w.turn(400, 100, 300)
	w.look(t0.Add(time.Minute))
	w.expectWidth(2)
	w.turn(100, 400, 400)
	result := w.look(t0.Add(7 * time.Minute))
	w.expectWidth(2)
	if want := 53 * time.Minute; result.RequeueAfter > want {
		t.Errorf("looked at again after %v", result.RequeueAfter)
	}
	w.clock.SetTime(t0.Add(time.Hour))
	w.turn(100, 400)
	w.look(t0.Add(time.Hour))
	w.expectWidth(10)
}

func TestAnotherRangeCountsAtOnce(t *testing.T) {
	w := newWorld(t, running())
	w.turn(100, 400)
	w.look(t0)
	w.expectWidth(10)
	w.edit(keyPatch(v1alpha1.ParallelismAnnotation, "3-5"))
	w.look(t0.Add(time.Second))
	w.expectWidth(5)
}

func TestAJobKeepsItsOwnWidth(t *testing.T) {
	for why, change := range map[string]func(*batchv1.Job){
		"it does not ask":           func(j *batchv1.Job) { delete(j.Annotations, v1alpha1.ParallelismAnnotation) },
		"it does not wait any more": func(j *batchv1.Job) { j.Annotations[v1alpha1.DelayTolerantAnnotation] = "false" },
		"it was not decided on":     func(j *batchv1.Job) { delete(j.Labels, v1alpha1.StateLabel) },
		"it is audited":             func(j *batchv1.Job) { j.Labels[v1alpha1.StateLabel] = v1alpha1.StateAudited },
		"its policy is audited":     func(j *batchv1.Job) { j.Annotations[v1alpha1.PolicyAnnotation] = "audit" },
		"its policy is gone":        func(j *batchv1.Job) { j.Annotations[v1alpha1.PolicyAnnotation] = "gone" },
		"it is in a queue":          func(j *batchv1.Job) { j.Labels[hold.KueueQueueLabel] = "team" },
		"it has another manager":    func(j *batchv1.Job) { j.Spec.ManagedBy = ptr.To("example.com/other") },
		"it is part of a JobSet": func(j *batchv1.Job) {
			j.OwnerReferences = []metav1.OwnerReference{{APIVersion: "jobset.x-k8s.io/v1alpha2", Kind: "JobSet", Name: "x", UID: "x", Controller: ptr.To(true)}}
		},
		"it has too few completions":      func(j *batchv1.Job) { j.Spec.Completions = ptr.To(int32(2)) },
		"it has no number of completions": func(j *batchv1.Job) { j.Spec.Completions = nil },
		"it can be paused":                func(j *batchv1.Job) { j.Annotations[v1alpha1.InterruptibleAnnotation] = "true" },
		"its range cannot be read":        func(j *batchv1.Job) { j.Annotations[v1alpha1.ParallelismAnnotation] = "many" },
		"it is over": func(j *batchv1.Job) {
			j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
		},
		"it was given back by hand": func(j *batchv1.Job) { j.Annotations[v1alpha1.ParallelismReleasedAnnotation] = "2026-11-27T13:00:00Z" },
	} {
		for _, isLent := range []bool{false, true} {
			t.Run(fmt.Sprint(why, ", lent ", isLent), func(t *testing.T) {
				j := running()
				if isLent {
					j.Spec.Parallelism = ptr.To(int32(9))
					j.Annotations[v1alpha1.OriginalParallelismAnnotation], j.Annotations[v1alpha1.AppliedParallelismAnnotation] = "4", "9"
				}
				change(j)
				audit := v1alpha1.Default()
				audit.Name, audit.Spec.Mode = "audit", v1alpha1.ModeAudit
				w := newWorld(t, j, audit)
				w.turn(100, 400)
				for range 3 {
					w.look(t0)
				}
				w.expectWidth(ownWidth)
				if _, isThere := w.job().Annotations[v1alpha1.OriginalParallelismAnnotation]; isThere || w.widths() > 1 || !isLent && w.widths() > 0 {
					t.Errorf("annotations %v, patches %q", w.job().Annotations, w.patched)
				}
			})
		}
	}
}

func TestASuspendedJobIsLeftAsItIs(t *testing.T) {
	j := running(v1alpha1.OriginalParallelismAnnotation, "4", v1alpha1.AppliedParallelismAnnotation, "9")
	j.Spec.Suspend, j.Spec.Parallelism = ptr.To(true), ptr.To(int32(9))
	w := newWorld(t, j)
	w.turn(400, 100)
	w.look(t0)
	if len(w.patched) > 0 {
		t.Errorf("patched %q", w.patched)
	}
}

func TestWhoSetsAnotherWidthHasTakenTheJobOver(t *testing.T) {
	w := newWorld(t, running())
	w.turn(400, 100, 300)
	w.look(t0)
	w.expectWidth(2)
	w.edit(`{"spec":{"parallelism":7}}`)
	for i := range 10 {
		w.look(t0.Add(time.Duration(i) * 30 * time.Minute))
		w.expectWidth(7)
	}
	if w.job().Annotations[v1alpha1.ParallelismReleasedAnnotation] != v1alpha1.ParallelismTaken {
		t.Errorf("annotations %v", w.job().Annotations)
	}
	w.edit(keyPatch(v1alpha1.ParallelismAnnotation, nil))
	w.look(t0.Add(6 * time.Hour))
	w.edit(keyPatch(v1alpha1.ParallelismAnnotation, "3-3"))
	w.look(t0.Add(7 * time.Hour))
	w.expectWidth(3)
	if original := w.job().Annotations[v1alpha1.OriginalParallelismAnnotation]; original != "7" {
		t.Errorf("the original is %s", original)
	}
}

func TestATugOfWarSlowsDown(t *testing.T) {
	w := newWorld(t, running())
	w.turn(400, 100, 300)
	w.look(t0)
	before := w.widths()
	for now := t0; now.Before(t0.Add(20 * time.Minute)); now = now.Add(time.Second) {
		w.look(now)
		if w.width() != ownWidth {
			w.edit(fmt.Sprintf(`{"spec":{"parallelism":%d}}`, ownWidth))
		}
	}
	if n := w.widths() - before; n < 3 || n > 12 {
		t.Errorf("%d changes in twenty minutes", n)
	}
	if !strings.Contains(strings.Join(w.events, "\n"), v1alpha1.EventWidthReverted) {
		t.Errorf("events %q", w.events)
	}
}

func TestWithoutAForecastAJobHasItsOwnWidthIfThatIsEnough(t *testing.T) {
	for _, tt := range []struct {
		deadline string
		want     int
	}{{"24h", ownWidth}, {"7h", ownWidth}, {"4h", 6}, {"2h", 10}, {"10m", 10}} {
		t.Run(tt.deadline, func(t *testing.T) {
			w := newWorld(t, running(v1alpha1.DeadlineAnnotation, tt.deadline, v1alpha1.OriginalParallelismAnnotation, "4", v1alpha1.AppliedParallelismAnnotation, "4"))
			rules, err := w.Policies.Get(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			w.Store.Fail(rules.Source, errors.New("it is gone"))
			w.look(t0)
			w.look(t0.Add(time.Second))
			w.expectWidth(tt.want)
		})
	}
}

func TestAForecastThatComesAndGoesChangesAWidthOncePerSlot(t *testing.T) {
	w := newWorld(t, running())
	rules, err := w.Policies.Get(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for minute := range 120 {
		now := t0.Add(time.Duration(minute) * time.Minute)
		w.clock.SetTime(now)
		if w.Store.Forget(rules.Source); minute%2 == 0 {
			w.turn(100, 400)
		} else {
			w.Store.Fail(rules.Source, errors.New("it is gone"))
		}
		w.look(now)
	}
	if n := w.widths(); n == 0 || n > 26 { // without a forecast there are no slots, but five minutes
		t.Errorf("%d changes in two hours", n)
	}
	w.Store.Forget(rules.Source)
	w.Store.Fail(rules.Source, errors.New("it is gone"))
	w.look(t0.Add(3 * time.Hour))
	w.look(t0.Add(4 * time.Hour))
	w.expectWidth(ownWidth)
	if _, isLent := w.job().Annotations[v1alpha1.OriginalParallelismAnnotation]; isLent {
		t.Errorf("it is still lent: %v", w.job().Annotations)
	}
}

func TestAJobWhoseOwnerLetsNoPodRunRunsNone(t *testing.T) {
	stopped := running()
	stopped.Spec.Parallelism = ptr.To(int32(0))
	w := newWorld(t, stopped)
	w.turn(100, 400)
	w.look(t0)
	w.expectWidth(0)
	w.edit(`{"spec":{"parallelism":4}}`)
	w.look(t0.Add(time.Minute))
	w.expectWidth(10)
	w.edit(`{"spec":{"parallelism":0}}`)
	w.look(t0.Add(2 * time.Minute))
	w.look(t0.Add(time.Hour))
	w.expectWidth(0)
}

func TestNothingChangesBeforeTheForecastIsRead(t *testing.T) {
	w := newWorld(t, running())
	if result := w.look(t0); len(w.patched) > 0 || result.RequeueAfter != time.Second {
		t.Errorf("patched %q, %v", w.patched, result)
	}
	w.turn(400, 100)
	w.whyNot = "it is not known yet whether Gridlatch is being removed"
	if w.look(t0); len(w.patched) > 0 {
		t.Errorf("patched %q", w.patched)
	}
}

func TestACeilingLimitsTheWidth(t *testing.T) {
	limited := v1alpha1.Default()
	limited.Spec.Buckets = []v1alpha1.Bucket{{Ceiling: 12}}
	w := newWorld(t, running(), limited)
	w.running = []plan.Run{{Until: t0.Add(48 * time.Hour), Pods: 7}}
	w.turn(400, 100, 400)
	w.look(t0)
	w.look(t0.Add(time.Hour))
	w.expectWidth(5)
	w.running[0].Pods = 12
	w.look(t0.Add(2 * time.Hour))
	w.expectWidth(2)
}

func TestWhatTheWorkSaysOfItsRestCountsIfItIsMore(t *testing.T) {
	w := newWorld(t, running(v1alpha1.DeadlineAnnotation, "11h", v1alpha1.RemainingAnnotation, "40h"))
	w.turn(400, 100)
	w.look(t0)
	w.look(t0.Add(time.Hour))
	if width := w.width(); width < 7 {
		t.Errorf("with 40 h of work and 11 h of time it has a width of %d", width)
	}
}

func TestARefusedChangeIsToldAndTriedAgain(t *testing.T) {
	w := newWorld(t, running())
	w.turn(400, 100)
	w.refuses = apierrors.NewForbidden(schema.GroupResource{Group: "batch", Resource: "jobs"}, name.Name, errors.New("no"))
	for range 2 {
		if _, err := w.Reconcile(t.Context(), name); !apierrors.IsForbidden(err) {
			t.Errorf("got %v", err)
		}
	}
	if len(w.events) != 1 || !strings.HasPrefix(w.events[0], v1alpha1.EventWidthFailed) {
		t.Errorf("events %q", w.events)
	}
	w.refuses = apierrors.NewConflict(schema.GroupResource{Group: "batch", Resource: "jobs"}, name.Name, errors.New("changed"))
	if result := w.look(t0); result.RequeueAfter != conflictRetry {
		t.Errorf("after a conflict: %v", result)
	}
	w.refuses = nil
	w.look(t0)
	w.expectWidth(2)
}

func TestAJobThatHasGoneIsForgotten(t *testing.T) {
	w := newWorld(t, running())
	w.turn(400, 100)
	w.look(t0)
	if err := w.api.Delete(t.Context(), w.job(), client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	w.look(t0)
	if _, isKnown := w.memories.Load(name); isKnown {
		t.Error("it is still remembered")
	}
}

func TestRestoreGivesEveryJobItsWidthBack(t *testing.T) {
	w := newWorld(t, running())
	w.turn(400, 100, 300)
	w.look(t0)
	w.expectWidth(2)
	restored, err := Restore(t.Context(), w.api, t0)
	if err != nil || restored != 1 {
		t.Errorf("%d were restored, %v", restored, err)
	}
	w.look(t0.Add(30 * time.Minute))
	w.expectWidth(ownWidth)
	w.look(t0.Add(61 * time.Minute))
	if w.width() == ownWidth {
		t.Error("it is still not widened after an hour")
	}
}

func TestForecastsAndPoliciesWakeTheirJobs(t *testing.T) {
	w := newWorld(t, running())
	w.turn(400, 100)
	w.look(t0)
	rules, _ := w.Policies.Get(t.Context(), "")
	w.onForecast(rules.Source)
	if w.queue.Len() != 1 {
		t.Errorf("%d are woken", w.queue.Len())
	}
	w.elastic = append(w.elastic, name)
	w.onPolicy(v1alpha1.Default(), w.queue)
	if err := w.watch(t.Context(), w.queue); err != nil || w.queue.Len() != 1 {
		t.Errorf("%d are woken, %v", w.queue.Len(), err)
	}
}

func FuzzNoJobPanics(f *testing.F) {
	f.Add("2-40", "1=1,10=8", "10h", "24h", "3h", "4", "7", "2026-11-27T12:00:00Z", "owner", int32(100), int32(3), int32(200))
	f.Add("100000-100000", "1=1e-300", "8784h", "1s", "0s", "-1", "99999999999", "x", "y", int32(-5), int32(-7), int32(0))
	f.Add("1-2", "\x00", "NaN", "Inf", "", "", "", "", "", int32(1<<30), int32(1<<30), int32(1<<30))
	f.Fuzz(func(t *testing.T, widths, speedup, duration, deadline, remaining, original, applied, changed, released string, parallelism, succeeded, completions int32) {
		j := running(v1alpha1.ParallelismAnnotation, widths, v1alpha1.SpeedupAnnotation, speedup, v1alpha1.DurationAnnotation, duration, v1alpha1.DeadlineAnnotation, deadline,
			v1alpha1.RemainingAnnotation, remaining, v1alpha1.OriginalParallelismAnnotation, original, v1alpha1.AppliedParallelismAnnotation, applied,
			v1alpha1.ParallelismChangedAnnotation, changed, v1alpha1.ParallelismReleasedAnnotation, released)
		j.Spec.Parallelism, j.Spec.Completions, j.Status.Succeeded = &parallelism, &completions, succeeded
		w := newWorld(t)
		w.turn(400, 100, 400)
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(j)
		if err != nil {
			t.Fatal(err)
		}
		read, err := readWork(&unstructured.Unstructured{Object: content})
		if err != nil {
			t.Fatal(err)
		}
		v, isOwn := w.whyOwn(read, t0)
		if !isOwn {
			rules, _, err := w.rules(t.Context(), read)
			if err != nil {
				t.Fatal(err)
			}
			if v, err = w.judge(t.Context(), read, rules, t0); err != nil {
				t.Fatal(err)
			}
			if asked := read.ask.Widths; v.width != 0 && (v.width < asked.Least || v.width > asked.Most) {
				t.Errorf("a width of %d, outside of %s", v.width, widths)
			}
		}
		read.settle(v, t0)
	})
}
