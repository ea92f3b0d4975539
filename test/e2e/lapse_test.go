package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
	"github.com/gridlatch/gridlatch/test/recount"
)

// TestTheReportAgreesWithARecountOfThreeDays lets three days go by in two minutes and a half: fifty Jobs wait, run, fail, are retried,
// and are deleted, a leader is killed in the middle, and the provider revises its intensities. Then the report and
// an independent recount of what the API server told agree, group by group.
func TestTheReportAgreesWithARecountOfThreeDays(t *testing.T) {
	flag := "--ledger-interval=" + lapseInterval.String()
	c, first := ownCluster(t, flag)
	seen := watchAll(t, c)
	grid := &lapse{start: time.Now().Truncate(lapsedHour)}
	if err := grid.publish(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	ns := namespace(t, c)
	awaitHolding(t, c, ns)

	const jobs = 50
	var killed time.Time
	for i := range jobs {
		create(t, c, lapseJob(ns, i))
		if i == jobs/2 {
			killed = time.Now()
			if err := first.Kill(); err != nil {
				t.Fatal(err)
			}
			c.Controller(t, first.Webhook, flag)
		}
		pause(t, time.Second)
		disturbLapse(t, c, ns)
		if i%3 == 0 {
			if err := grid.publish(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
	}
	env.Eventually(t, 5*time.Minute, func(ctx context.Context) error {
		disturbLapse(t, c, ns)
		if err := grid.publish(ctx, c); err != nil {
			return err
		}
		if _, _, open := seen.works(); open > 0 {
			return fmt.Errorf("%d Jobs have not ended", open)
		}
		return nil
	})
	grid.revise()
	works, names, _ := seen.works()
	env.Eventually(t, 3*patience, func(ctx context.Context) error {
		if err := grid.publish(ctx, c); err != nil { // the last could have waited on
			return err
		}
		return compareLapse(ctx, c, grid, works, names, killed)
	})
	saved, lost, held, exempt := tally(works, grid, killed)
	if saved == 0 || lost == 0 || held < jobs/3 || exempt > jobs/3 {
		t.Errorf("%d groups saved, %d lost, %d were held, and %d may not have been seen: the test shows too little", saved, lost, held, exempt)
	}
}

// awaitHolding waits until work is held by the forecast.
func awaitHolding(t *testing.T, c *env.Cluster, ns string) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		probe := job(ns, "probe", tolerant(v1alpha1.DeadlineAnnotation, "90s", v1alpha1.DurationAnnotation, "4s"), 1)
		if err := c.Client.Create(ctx, probe, client.DryRunAll); err != nil {
			return err
		}
		if probe.Labels[v1alpha1.StateLabel] != v1alpha1.StateHeld {
			return fmt.Errorf("not held: %q", probe.Annotations[v1alpha1.ReasonAnnotation])
		}
		return nil
	})
}

// lapseJob returns the i-th Job. Every tenth fails and is retried, or will be deleted, or has a pod that will be, or
// goes as soon as it has ended, or cannot wait, or has three pods.
func lapseJob(ns string, i int) *batchv1.Job {
	runs := 2 + i%9
	deadline := fmt.Sprintf("%ds", runs+15+(i*7)%60)
	pods := int32(1)
	switch i % 10 {
	case 3:
		deadline = fmt.Sprintf("%ds", runs)
	case 4:
		pods = 3
	}
	annotations := tolerant(v1alpha1.DeadlineAnnotation, deadline, v1alpha1.DurationAnnotation, fmt.Sprintf("%ds", runs))
	j := job(ns, fmt.Sprintf("job-%02d-%d", i, i%10), annotations, pods)
	j.Spec.Template.Annotations = runsFor(runs, i%10 == 5)
	j.Spec.Template.Spec.Containers[0].Resources.Requests = corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(int64(250+i*50), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(int64(1+i%5)<<30, resource.BinarySI),
	}
	switch i % 10 {
	case 5:
		j.Spec.BackoffLimit = ptr(int32(1))
	case 7:
		j.Spec.TTLSecondsAfterFinished = ptr(int32(0))
	}
	return j
}

// disturbLapse deletes the Jobs that are to be deleted, and one pod of those that are to lose one, once they have run for a second.
func disturbLapse(t *testing.T, c *env.Cluster, ns string) {
	t.Helper()
	pods, err := podsOf(t.Context(), c, ns)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		owner := metav1.GetControllerOf(&p)
		if p.Status.Phase != corev1.PodRunning || owner == nil || p.DeletionTimestamp != nil || time.Since(p.Status.StartTime.Time) < time.Second {
			continue
		}
		var number, kind int
		if _, err := fmt.Sscanf(owner.Name, "job-%d-%d", &number, &kind); err != nil {
			continue
		}
		switch background := client.PropagationPolicy(metav1.DeletePropagationBackground); {
		case kind == 6:
			err = c.Client.Delete(t.Context(), job(ns, owner.Name, nil, 1), background)
		case kind == 9 && p.Annotations[v1alpha1.StartedAnnotation] != "": // not the one that comes in its place
			err = c.Client.Delete(t.Context(), &p)
		}
		if client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
	}
}

// pause waits, and ends the test if its time is up.
func pause(t *testing.T, span time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	case <-time.After(span):
	}
}

// reportedGroup is a group as kubectl gridlatch report tells it.
type reportedGroup struct {
	UID          types.UID
	Name         string
	Joules       float64
	FailedJoules float64
	Grams        *float64
	OtherGrams   *float64
	OracleGrams  *float64
	Steps        json.RawMessage // for the message
}

const (
	lapseInterval = 3 * time.Second
	// noLeader is how long nobody leads once a leader is killed: until its lease is over and the next one has read what
	// there is.
	noLeader = 30 * time.Second
)

// mayBeLost reports whether the ledger may not have seen all of a group: a pod was deleted while nobody led, or so
// shortly before the leader was killed that the leader had not written it down.
func mayBeLost(work recount.Work, killed time.Time) bool {
	return slices.ContainsFunc(work.Pods, func(p recount.Pod) bool {
		return p.Gone.After(killed.Add(-2*lapseInterval)) && p.Gone.Before(killed.Add(noLeader))
	})
}

// compareLapse returns an error unless the report has just the recounted groups, with their figures within 0.5 %. What
// was deleted while nobody led may be missing, or be reported as it was last seen.
func compareLapse(ctx context.Context, c *env.Cluster, grid *lapse, works map[types.UID]recount.Work, names map[types.UID]string, killed time.Time) error {
	text, err := c.Plugin(ctx, "report", "--rows", "-o", "json", "--since", "1d")
	if err != nil {
		return err
	}
	var report struct{ Groups []reportedGroup }
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		return fmt.Errorf("read the report: %w", err)
	}
	reported := map[types.UID]reportedGroup{}
	for _, g := range report.Groups {
		if _, twice := reported[g.UID]; twice {
			return fmt.Errorf("%s is reported twice", g.Name)
		}
		reported[g.UID] = g
	}
	var missing []string
	for uid, work := range works {
		g, ok := reported[uid]
		delete(reported, uid)
		switch {
		case mayBeLost(work, killed):
			continue
		case !ok:
			missing = append(missing, names[uid])
			continue
		}
		if err := compareGroup(g, work.Count(grid.during)); err != nil {
			return fmt.Errorf("%s: %w; reported: %s; seen: %+v", names[uid], err, g.Steps, work)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("of %d groups, these are not reported: %v", len(works), missing)
	}
	for _, g := range reported {
		return fmt.Errorf("%s is reported, and did not run", g.Name)
	}
	return nil
}

func compareGroup(g reportedGroup, want recount.Figures) error {
	for _, figure := range []struct {
		name string
		got  *float64
		want float64
	}{
		{"joules", &g.Joules, want.Joules}, {"failed joules", &g.FailedJoules, want.FailedJoules}, {"grams", g.Grams, want.Grams},
		{"grams at arrival", g.OtherGrams, want.AtArrival}, {"grams at best", g.OracleGrams, want.AtItsBest},
	} {
		if figure.got == nil {
			return fmt.Errorf("%s: not known", figure.name)
		}
		if math.Abs(*figure.got-figure.want) > 0.005*math.Abs(figure.want) {
			return fmt.Errorf("%s: %v is reported, %v is recounted", figure.name, *figure.got, figure.want)
		}
	}
	return nil
}

// tally counts the groups that saved, those that lost, those that were held, and those that are not compared.
func tally(works map[types.UID]recount.Work, grid *lapse, killed time.Time) (saved, lost, held, exempt int) {
	for _, work := range works {
		f := work.Count(grid.during)
		switch {
		case f.Grams < f.AtArrival:
			saved++
		case f.Grams > f.AtArrival:
			lost++
		}
		if work.Waited > 0 {
			held++
		}
		if mayBeLost(work, killed) {
			exempt++
		}
	}
	return saved, lost, held, exempt
}
