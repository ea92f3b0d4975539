package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/override"
	"github.com/gridlatch/gridlatch/test/env"
)

// ownWidth is the parallelism that the owner of each Job in these tests has written.
const ownWidth = 4

// elastic is an Indexed Job that lends its width. Each completion takes so many seconds.
func elastic(ns, name string, completions int32, seconds int, annotations ...string) *batchv1.Job {
	j := job(ns, name, tolerant(append([]string{v1alpha1.ParallelismAnnotation, "2-10"}, annotations...)...), ownWidth)
	j.Spec.Completions, j.Spec.CompletionMode = &completions, ptr(batchv1.IndexedCompletion)
	j.Spec.Template.Annotations = map[string]string{"kwok.gridlatch.dev/run-for": fmt.Sprintf("%ds", seconds)}
	return j
}

// gridOf writes a forecast of slots from a time on. The last value holds for hours.
func gridOf(t *testing.T, c *env.Cluster, start time.Time, slot time.Duration, values ...float64) {
	t.Helper()
	elements := append(env.Elements(location, start.Add(-time.Hour), time.Hour, values[0]), env.Elements(location, start, slot, values...)...)
	elements = append(elements, env.Elements(location, start.Add(slot*time.Duration(len(values))), time.Hour, values[len(values)-1], values[len(values)-1], values[len(values)-1])...)
	if err := c.Forecast(t.Context(), elements...); err != nil {
		t.Fatal(err)
	}
}

// widthSeen is a width that a Job had at a time.
type widthSeen struct {
	at    time.Time
	width int32
}

// follow returns all widths of a Job until the Job is complete, and the Job.
func follow(t *testing.T, c *env.Cluster, ns, name string, timeout time.Duration) (seen []widthSeen, j *batchv1.Job) {
	t.Helper()
	for end := time.Now().Add(timeout); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		j = &batchv1.Job{}
		if err := c.Client.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, j); err != nil {
			t.Fatal(err)
		}
		if width := *j.Spec.Parallelism; len(seen) == 0 || seen[len(seen)-1].width != width {
			seen = append(seen, widthSeen{time.Now(), width})
			t.Logf("%s: %d pods at most, %d done, %s: %s", time.Now().Format(time.TimeOnly), width, j.Status.Succeeded, j.Labels[v1alpha1.StateLabel], j.Annotations[v1alpha1.ReasonAnnotation])
		}
		if j.Status.CompletionTime != nil {
			return seen, j
		}
	}
	t.Fatalf("the Job is not complete: %+v", j.Status)
	return nil, nil
}

// awaitOwnWidth waits until a Job has its owner's width, and no note of a width.
func awaitOwnWidth(t *testing.T, c *env.Cluster, j *batchv1.Job, width int32) {
	t.Helper()
	awaitJob(t, c, j, patience, func(j *batchv1.Job) error {
		for key := range j.Annotations {
			if strings.HasPrefix(key, v1alpha1.Prefix) && strings.Contains(key, "-parallelism") || strings.Contains(key, "parallelism-") {
				return fmt.Errorf("annotations left: %v", j.Annotations)
			}
		}
		if *j.Spec.Parallelism != width {
			return fmt.Errorf("parallelism %d, want %d", *j.Spec.Parallelism, width)
		}
		for _, e := range j.ManagedFields {
			if e.Manager == override.Manager && strings.Contains(string(e.FieldsV1.GetRawBytes()), `"f:parallelism"`) {
				return fmt.Errorf("%s owns the parallelism", e.Manager)
			}
		}
		return nil
	})
}

// awaitLent waits until a Job lends its width.
func awaitLent(t *testing.T, c *env.Cluster, j *batchv1.Job, timeout time.Duration) {
	t.Helper()
	awaitJob(t, c, j, timeout, func(j *batchv1.Job) error {
		original, applied := j.Annotations[v1alpha1.OriginalParallelismAnnotation], j.Annotations[v1alpha1.AppliedParallelismAnnotation]
		if original != fmt.Sprint(ownWidth) || applied != fmt.Sprint(*j.Spec.Parallelism) || applied == original {
			return fmt.Errorf("parallelism %d, annotations %v", *j.Spec.Parallelism, j.Annotations)
		}
		return nil
	})
}

// TestAJobRunsWideWhileTheGridIsCleanAndIsDoneInTime has slots of 20 s, of which the second and the fourth
// are clean. One of these is not enough for the work.
func TestAJobRunsWideWhileTheGridIsCleanAndIsDoneInTime(t *testing.T) {
	c, _ := ownCluster(t, "--width-interval=1s")
	const slot, completions = 20 * time.Second, 140
	start := time.Now().Truncate(time.Second).Add(2 * time.Second)
	gridOf(t, c, start, slot, 400, 100, 400, 100, 400)
	awaitIntensity(t, c, 400)
	ns := namespace(t, c)
	j := elastic(ns, "render", completions, 2, v1alpha1.DurationAnnotation, "220s", v1alpha1.DeadlineAnnotation, "6m")
	create(t, c, j)
	deadline := j.CreationTimestamp.Add(6 * time.Minute)
	seen, j := follow(t, c, ns, "render", 7*time.Minute)

	if done := j.Status.CompletionTime; done.After(deadline) {
		t.Errorf("done at %s, the deadline is %s", done, deadline)
	}
	if j.Status.Succeeded != completions || j.Status.CompletedIndexes != fmt.Sprintf("0-%d", completions-1) || j.Status.Failed > 0 {
		t.Errorf("status %+v", j.Status)
	}
	widest := func(from, to time.Time) (most, least int32) {
		least = 1000
		for i, s := range seen {
			until := time.Now()
			if i+1 < len(seen) {
				until = seen[i+1].at
			}
			if s.at.Before(to) && until.After(from) {
				most, least = max(most, s.width), min(least, s.width)
			}
		}
		return most, least
	}
	const settled = 5 * time.Second // of a slot: the change is made by then
	for n := range 4 {
		from := start.Add(time.Duration(n)*slot + settled)
		most, least := widest(from, from.Add(slot-settled-time.Second))
		if !from.Before(j.Status.CompletionTime.Time) {
			break
		}
		t.Logf("slot %d: %d to %d pods", n, least, most)
		// Of 10, the last slot may need fewer. A busy machine makes pods slow, so that a dirty slot may need
		// one or two more than the least.
		if n%2 == 1 && most < 8 || n%2 == 0 && (least < 2 || most > 4) {
			t.Errorf("in slot %d it had %d to %d pods at most", n, least, most)
		}
	}
	if len(seen) > 10 { // its own at the begin and in the end, one in each slot, and room for a deadline that is close
		t.Errorf("%d widths: %v", len(seen), seen)
	}
	awaitOwnWidth(t, c, j, ownWidth)
	described, err := c.Kubectl(t.Context(), "describe", "job", "render", "-n", ns)
	if err != nil || !strings.Contains(described, "WidthChanged") || !strings.Contains(described, "its parallelism is") {
		t.Errorf("kubectl describe job says nothing of the width (%v):\n%s", err, described)
	}
}

// TestTheOwnersWordOnTheWidthCounts has work that takes for ever, and a grid that is clean now.
func TestTheOwnersWordOnTheWidthCounts(t *testing.T) {
	c, g := ownCluster(t, "--width-interval=1s")
	start := time.Now().Truncate(time.Second)
	gridOf(t, c, start, 5*time.Minute, 100, 400)
	awaitIntensity(t, c, 100)
	ns := namespace(t, c)
	started := func(name string, annotations ...string) *batchv1.Job {
		t.Helper()
		j := elastic(ns, name, 50, 600, append([]string{v1alpha1.DurationAnnotation, "20m", v1alpha1.DeadlineAnnotation, "2h"}, annotations...)...)
		create(t, c, j)
		awaitLent(t, c, j, patience)
		return j
	}

	byHand := started("by-hand")
	editAt(t, c, byHand, `{"spec":{"parallelism":7}}`)
	awaitEvent(t, c, byHand, v1alpha1.EventWidthReverted)
	reverted := started("reverted")
	withdrawn := started("withdrawn")
	editAt(t, c, withdrawn, `{"metadata":{"annotations":{"gridlatch.dev/parallelism":null}}}`)
	awaitOwnWidth(t, c, withdrawn, ownWidth)

	// A tool puts the value of git back for some seconds, as often as Gridlatch changes it.
	generation, times := reverted.Generation, 0
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(reverted), reverted); err != nil {
			t.Fatal(err)
		}
		if *reverted.Spec.Parallelism != ownWidth {
			editAt(t, c, reverted, fmt.Sprintf(`{"spec":{"parallelism":%d}}`, ownWidth))
			times++
		}
	}
	if writes := reverted.Generation - generation; writes > 10 || times < 2 {
		t.Errorf("%d changes in ten seconds, of which the tool made %d", writes, times)
	}
	awaitLent(t, c, reverted, 2*patience) // the tool has given up

	// The controller is killed, and somebody asks for another range meanwhile.
	killed := started("killed")
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	editAt(t, c, killed, `{"metadata":{"annotations":{"gridlatch.dev/parallelism":"3-3"}}}`)
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(byHand), byHand); err != nil || *byHand.Spec.Parallelism != 7 {
		t.Errorf("the width that was set by hand is %d (%v)", *byHand.Spec.Parallelism, err)
	}
	c.Controller(t, g.Webhook, "--width-interval=1s")
	awaitJob(t, c, killed, patience, func(j *batchv1.Job) error {
		if *j.Spec.Parallelism != 3 || j.Annotations[v1alpha1.OriginalParallelismAnnotation] != fmt.Sprint(ownWidth) {
			return fmt.Errorf("parallelism %d, annotations %v", *j.Spec.Parallelism, j.Annotations)
		}
		return nil
	})
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(byHand), byHand); err != nil || *byHand.Spec.Parallelism != 7 {
		t.Errorf("the width that was set by hand is %d (%v)", *byHand.Spec.Parallelism, err)
	}
	editAt(t, c, byHand, `{"metadata":{"annotations":{"gridlatch.dev/parallelism":null}}}`)
	awaitOwnWidth(t, c, byHand, 7)

	told, err := c.ReleaseAll(t.Context())
	if err != nil || !strings.Contains(told, "gave 2 Jobs their parallelism back") {
		t.Errorf("release --all: %q, %v", told, err)
	}
	for _, j := range []*batchv1.Job{reverted, killed} {
		awaitJob(t, c, j, patience, func(j *batchv1.Job) error {
			if _, isLent := j.Annotations[v1alpha1.OriginalParallelismAnnotation]; isLent || *j.Spec.Parallelism != ownWidth {
				return fmt.Errorf("parallelism %d, annotations %v", *j.Spec.Parallelism, j.Annotations)
			}
			return nil
		})
	}
	time.Sleep(3 * time.Second)
	for _, j := range []*batchv1.Job{reverted, killed} {
		if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(j), j); err != nil || *j.Spec.Parallelism != ownWidth {
			t.Errorf("after release --all, the width is %d (%v)", *j.Spec.Parallelism, err)
		}
	}
}

// editAt applies a merge patch to an object of a cluster, as a user would.
func editAt(t *testing.T, c *env.Cluster, o client.Object, patch string) {
	t.Helper()
	if err := c.Client.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		t.Fatal(err)
	}
}

func TestAJobThatCannotRunWiderIsRefused(t *testing.T) {
	ns := namespace(t, cluster)
	for name, tt := range map[string]struct {
		change func(*batchv1.Job)
		want   string
	}{
		"no range":                  {func(j *batchv1.Job) { j.Annotations[v1alpha1.ParallelismAnnotation] = "many" }, "metadata.annotations[gridlatch.dev/parallelism]"},
		"more least than most":      {func(j *batchv1.Job) { j.Annotations[v1alpha1.ParallelismAnnotation] = "9-2" }, "metadata.annotations[gridlatch.dev/parallelism]"},
		"a speedup that grows":      {func(j *batchv1.Job) { j.Annotations[v1alpha1.SpeedupAnnotation] = "1=1,2=3" }, "metadata.annotations[gridlatch.dev/speedup]"},
		"a speedup from the middle": {func(j *batchv1.Job) { j.Annotations[v1alpha1.SpeedupAnnotation] = "5=5,10=8" }, "metadata.annotations[gridlatch.dev/speedup]"},
		"too few completions":       {func(j *batchv1.Job) { j.Spec.Completions = ptr(int32(2)) }, "spec.completions"},
		"a work queue": {func(j *batchv1.Job) {
			j.Spec.Completions, j.Spec.CompletionMode = nil, ptr(batchv1.NonIndexedCompletion)
		}, "spec.completions"},
		"a Job that can be paused": {func(j *batchv1.Job) { j.Annotations[v1alpha1.InterruptibleAnnotation] = "true" }, "want one of"},
	} {
		t.Run(name, func(t *testing.T) {
			j := elastic(ns, "refused", 20, 1)
			tt.change(j)
			err := cluster.Client.Create(t.Context(), j, client.DryRunAll)
			if err == nil || !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	fine := elastic(ns, "fine", 20, 1)
	if err := cluster.Client.Create(t.Context(), fine, client.DryRunAll); err != nil {
		t.Error(err)
	}
}

// TestGridlatchItselfMayChangeTheWidthOnlyOfWhatLendsIt writes as the account of Gridlatch.
func TestGridlatchItselfMayChangeTheWidthOnlyOfWhatLendsIt(t *testing.T) {
	ns := namespace(t, cluster)
	thief, _ := clientOf(t, "gridlatch-system", "gridlatch")
	plain := job(ns, "plain", nil, 2)
	plain.Spec.Completions = ptr(int32(9))
	plain.Spec.Template.Annotations = map[string]string{"kwok.gridlatch.dev/run-for": "600s"}
	create(t, cluster, plain)
	for name, patch := range map[string]string{
		"the width alone":      `{"spec":{"parallelism":9}}`,
		"the wish beside it":   `{"metadata":{"annotations":{"gridlatch.dev/parallelism":"1-9","gridlatch.dev/original-parallelism":"2","gridlatch.dev/applied-parallelism":"9"}},"spec":{"parallelism":9}}`,
		"a forged original":    `{"metadata":{"annotations":{"gridlatch.dev/original-parallelism":"9"}},"spec":{"parallelism":9}}`,
		"the completions, too": `{"spec":{"parallelism":9,"completions":10}}`,
	} {
		err := thief.Patch(t.Context(), plain.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)))
		if err == nil || !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	env.Eventually(t, patience, func(ctx context.Context) error {
		return cluster.Client.Get(ctx, client.ObjectKeyFromObject(plain), plain)
	})
	if keys := slices.Sorted(maps.Keys(plain.Annotations)); *plain.Spec.Parallelism != 2 || len(keys) > 1 {
		t.Errorf("parallelism %d, annotations %v", *plain.Spec.Parallelism, keys)
	}
}
