package gating

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// What comes while 100,000 pods are told of another start may itself be due in
// seconds.
func TestExplainingTakesSecondsAndGoesOnInTheNextPass(t *testing.T) {
	const pods, each = 50, 100 * time.Millisecond
	clock, told := clocktesting.NewFakePassiveClock(t0), map[string]int{}
	c := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(_ context.Context, _ client.WithWatch, o client.Object, _ client.Patch, _ ...client.PatchOption) error {
			clock.SetTime(clock.Now().Add(each))
			told[o.GetName()]++
			return nil
		},
	}).Build()
	l := &Loop{Client: c, Clock: clock, Workers: 1}
	start := t0.Add(8 * time.Hour)
	groups := []*group{waiting("job", nil)}
	groups[0].owner = released("Job", "owner", 0, nil)
	for i := range pods - 2 {
		groups = append(groups, waiting(fmt.Sprint(i), nil))
	}
	for _, g := range groups {
		g.decision = plan.Decision{Decided: t0, Start: start, Cause: plan.CauseCleanerLater}
	}
	look := func() time.Duration { // the cache shows nothing yet of what was told
		p := &pass{policy: builtin(), snapshot: &forecast.Snapshot{}, now: clock.Now(), groups: groups}
		if failed := l.explain(t.Context(), p); failed > 0 {
			t.Errorf("%d writes failed", failed)
		}
		if took := clock.Now().Sub(p.now); took > 3*time.Second {
			t.Errorf("a pass took %s", took)
		}
		return l.untilNextPass(p)
	}
	for range 3 {
		if next := look(); next > time.Second {
			t.Errorf("the rest has to wait for %s", next)
		}
	}
	if len(told) != pods {
		t.Errorf("%d are told, want %d", len(told), pods)
	}
	for name, times := range told {
		if times > 1 {
			t.Errorf("%s is told %d times", name, times)
		}
	}
	for o := range (&pass{groups: groups}).plannedRecords() {
		o.Annotations[v1alpha1.PlannedStartAnnotation] = policy.FormatTime(start)
	}
	if next := look(); next != time.Minute || len(told) != pods {
		t.Errorf("told all, the next pass is in %s", next)
	}
}

func TestExplanationsSayWhereAndWhatAJobIsPromised(t *testing.T) {
	job, pod := released("Job", "j", 0, nil), waiting("p", nil).pods[0]
	g := &group{owner: job, pods: []*record{pod}, location: "north", task: plan.Task{LatestStart: t0.Add(3 * time.Hour)}}
	g.decision = plan.Decision{Decided: t0, Start: t0.Add(time.Hour), Cause: plan.CauseCleanerLater, Expected: 100, ExpectedAtOnce: 400}
	of := g.notes(job)
	if of[v1alpha1.PlannedLocationAnnotation] != "north" || of[v1alpha1.LatestStartAnnotation] != policy.FormatTime(t0.Add(3*time.Hour)) || of[v1alpha1.IntensityAtCreationAnnotation] != "400.0" {
		t.Errorf("the Job: %v", of)
	}
	if _, promises := g.notes(pod)[v1alpha1.LatestStartAnnotation]; promises {
		t.Error("a pod is promised what its Job decides")
	}
}

func TestExplanationsThatAreRefusedAreNotWrittenByEveryPass(t *testing.T) {
	for name, tt := range map[string]struct {
		err     error
		patches int
	}{
		"what is refused":            {apierrors.NewInvalid(hold.PodKind().GroupKind(), "p", nil), 1},
		"not what nobody answers":    {errors.New("no answer"), 3},
		"nor what is gone meanwhile": {apierrors.NewNotFound(corev1.Resource("pods"), "p"), 3},
	} {
		patches := 0
		c := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
			Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
				patches++
				return tt.err
			},
		}).Build()
		l, g := loopWith(c), waiting("p", nil)
		g.decision = plan.Decision{Decided: t0, Start: t0.Add(time.Hour), Cause: plan.CauseCleanerLater}
		for range 3 {
			l.explain(t.Context(), &pass{policy: builtin(), now: t0, groups: []*group{g}})
		}
		if patches != tt.patches {
			t.Errorf("%s: written %d times by three passes, want %d", name, patches, tt.patches)
		}
	}
}
