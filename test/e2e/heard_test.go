package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

// wish is an annotation or label.
func wish(value string) map[string]string {
	return map[string]string{v1alpha1.DelayTolerantAnnotation: value}
}

// awaitReason waits until an object is released with a reason that has a text in it.
func awaitReason(t *testing.T, c *env.Cluster, o client.Object, text string) {
	t.Helper()
	env.Eventually(t, patience, func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		if state, reason := o.GetLabels()[v1alpha1.StateLabel], o.GetAnnotations()[v1alpha1.ReasonAnnotation]; state != v1alpha1.StateReleased || !strings.Contains(reason, text) {
			return fmt.Errorf("%s is %s: %q, want %q in it", o.GetName(), state, reason, text)
		}
		return nil
	})
}

func TestWorkThatDoesNotAskToWaitAnyMoreIsLetGo(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	annotations := ownPolicy(t, "withdrawn")
	without := func() map[string]string {
		other := map[string]string{}
		for key, value := range annotations {
			if key != v1alpha1.DelayTolerantAnnotation {
				other[key] = value
			}
		}
		return other
	}()
	const declined, removed = `{"metadata":{"%s":{"gridlatch.dev/delay-tolerant":"false"}}}`, `{"metadata":{"%s":{"gridlatch.dev/delay-tolerant":null}}}`
	byLabel := func(o client.Object) client.Object {
		o.SetLabels(wish("true"))
		return o
	}
	suspended := job("", "suspended", annotations, 2)
	suspended.Annotations[v1alpha1.HoldAnnotation] = v1alpha1.HoldBySuspend
	byTemplate := job("", "by-template", nil, 2)
	byTemplate.Spec.Template.Annotations = annotations
	byTemplateLabel := job("", "by-template-label", without, 2)
	byTemplateLabel.Spec.Template.Labels = wish("true")
	for name, tt := range map[string]struct {
		o     client.Object
		patch string
		field string
		pods  int
	}{
		"a Job":                             {job("", "declined", annotations, 2), declined, "annotations", 2},
		"a Job without the annotation":      {job("", "removed", annotations, 2), removed, "annotations", 2},
		"a suspended Job":                   {suspended, declined, "annotations", 2},
		"a Job by its template":             {byTemplate, declined, "annotations", 2},
		"a Job by its template's label":     {byTemplateLabel, declined, "labels", 2},
		"a Job by a label":                  {byLabel(job("", "labelled", without, 2)), declined, "labels", 2},
		"a pod":                             {pod("", "declined", annotations), declined, "annotations", 1},
		"a pod without the annotation":      {pod("", "removed", annotations), removed, "annotations", 1},
		"a pod without the label":           {byLabel(pod("", "labelled", without)), removed, "labels", 1},
		"a pod by a label, of another wish": {byLabel(pod("", "overruled", without)), declined, "annotations", 1},
	} {
		t.Run(name, func(t *testing.T) {
			ns := namespace(t, cluster)
			tt.o.SetNamespace(ns)
			create(t, cluster, tt.o)
			if tt.o == client.Object(suspended) {
				awaitJob(t, cluster, suspended, patience, wantSuspended(true, v1alpha1.StateHeld))
			} else {
				awaitGated(t, cluster, ns, tt.pods)
			}
			edit(t, tt.o, fmt.Sprintf(tt.patch, tt.field))
			awaitReason(t, cluster, tt.o, "it does not ask to wait any more, at 430 gCO2eq/kWh")
			awaitPods(t, cluster, ns, wantGated(0, tt.pods))
			awaitEvent(t, cluster, tt.o, v1alpha1.EventReleased)
		})
	}
	awaitHeld(t, "withdrawn", 0, 0)
}

func TestTheWordOfAJobCountsForItsPodsAndEachPodOfADeploymentForItself(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	annotations := ownPolicy(t, "spokesman")
	ns := namespace(t, cluster)
	create(t, cluster, job(ns, "whole", annotations, 2))
	pods := awaitGated(t, cluster, ns, 2)
	edit(t, &pods[0], `{"metadata":{"annotations":{"gridlatch.dev/delay-tolerant":"false"}}}`)
	others := namespace(t, cluster)
	create(t, cluster, deployment(others, annotations, nil, 3))
	pods = awaitGated(t, cluster, others, 3)
	edit(t, &pods[1], `{"metadata":{"annotations":{"gridlatch.dev/delay-tolerant":null}}}`)
	awaitPods(t, cluster, others, wantGated(2, 1))
	awaitReason(t, cluster, &pods[1], "does not ask to wait any more")
	awaitPods(t, cluster, ns, wantGated(2, 0))
	for _, o := range []client.Object{deployment(others, nil, nil, 0), job(ns, "whole", nil, 0)} {
		remove(t, cluster, o, metav1.DeletePropagationBackground)
	}
}

// deployment makes one whose pods have annotations and labels.
func deployment(namespace string, annotations, labels map[string]string, replicas int32) *appsv1.Deployment {
	all := map[string]string{"app": "work"}
	for key, value := range labels {
		all[key] = value
	}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "work"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "work"}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: annotations, Labels: all}, Spec: spec(corev1.RestartPolicyAlways)},
		},
	}
}

func TestWhatIsLetGoAndStillWaitsSaysForWhat(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	annotations := ownPolicy(t, "still")
	ns := namespace(t, cluster)
	gated := pod(ns, "gated", annotations)
	gated.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/quota"}}
	idle, suspended, queued := job(ns, "idle", annotations, 0), job(ns, "suspended", annotations, 2), job(ns, "queued", annotations, 2)
	idle.Spec.Completions = ptr(int32(2))
	queued.Labels, queued.Spec.Suspend = map[string]string{hold.KueueQueueLabel: "team"}, ptr(true)
	create(t, cluster, gated, idle, suspended, queued)
	awaitPods(t, cluster, ns, wantGated(3, 0))
	change(t, cluster, suspended, func(j *batchv1.Job) { j.Spec.Suspend = ptr(true) })
	awaitPods(t, cluster, ns, wantGated(1, 0))
	awaitHeld(t, "still", 4, 3)
	cleanNow(t, cluster)
	for o, waits := range map[client.Object]string{
		gated: "the gate example.com/quota", idle: "parallelism 0", suspended: "its suspend", queued: "its queue in Kueue",
	} {
		awaitReason(t, cluster, o, "; it still waits for "+waits)
		if reason := o.GetAnnotations()[v1alpha1.ReasonAnnotation]; !strings.HasPrefix(reason, "released ") || strings.Contains(reason, "% less") {
			t.Errorf("%s says %q, and has not started", o.GetName(), reason)
		}
	}
}

func TestAJobThatIsCreatedSuspendedIsPlannedFromItsResume(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	annotations := ownPolicy(t, "approved") // of which work may wait for a day
	delete(annotations, v1alpha1.DeadlineAnnotation)
	ns := namespace(t, cluster)
	j := job(ns, "approved", annotations, 2)
	j.Spec.Suspend = ptr(true)
	create(t, cluster, j)
	if reason := j.Annotations[v1alpha1.ReasonAnnotation]; reason != hold.ReasonAwaitsResume || j.Labels[v1alpha1.StateLabel] != v1alpha1.StateHeld {
		t.Fatalf("%v, %v", j.Labels, j.Annotations)
	}
	awaitHeld(t, "approved", 1, 0)
	cleanNow(t, cluster) // which does not let it go
	time.Sleep(3 * time.Second)
	awaitJob(t, cluster, j, patience, wantSuspended(true, v1alpha1.StateHeld))
	dirtyThenClean(t, cluster, aWhile)
	resumed := time.Now().Truncate(time.Second)
	change(t, cluster, j, func(j *batchv1.Job) { j.Spec.Suspend = ptr(false) })
	awaitGated(t, cluster, ns, 2)
	awaitHeld(t, "approved", 1, 2)
	env.Eventually(t, patience, func(ctx context.Context) error {
		if err := cluster.Client.Get(ctx, client.ObjectKeyFromObject(j), j); err != nil {
			return err
		}
		latest, err := time.Parse(time.RFC3339, j.Annotations[v1alpha1.LatestStartAnnotation])
		if err != nil || latest.Before(resumed.Add(24*time.Hour)) {
			return fmt.Errorf("latest start %v, %w, want a day after the resume at %s", latest, err, resumed)
		}
		return nil
	})
	cleanNow(t, cluster)
	awaitComplete(t, cluster, ns, j.Name)
	awaitReason(t, cluster, j, "% less than the 430 at its creation")
}

func TestAWishThatIsALabelIsHeard(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	without := tolerant(v1alpha1.DelayTolerantAnnotation, "")
	labelled := job("", "job", without, 1)
	labelled.Labels = wish("true")
	declined := job("", "declined", tolerant(v1alpha1.DelayTolerantAnnotation, "false"), 1)
	declined.Labels = wish("true")
	preferred := job("", "preferred", tolerant(), 1)
	preferred.Labels = wish("false")
	ofJob := job("", "of-job", without, 1)
	ofJob.Spec.Template.Labels = wish("true")
	for name, tt := range map[string]struct {
		o     client.Object
		gated int
	}{
		"of a Job":                                   {labelled, 1},
		"of the template of a Job":                   {ofJob, 1},
		"of the template of a Deployment":            {deployment("", without, wish("true"), 1), 1},
		"unless the annotation says something else":  {declined, 0},
		"or the annotation says it, and not a label": {preferred, 1},
	} {
		t.Run(name, func(t *testing.T) {
			ns := namespace(t, cluster)
			tt.o.SetNamespace(ns)
			create(t, cluster, tt.o)
			awaitPods(t, cluster, ns, wantGated(tt.gated, 1-tt.gated))
			remove(t, cluster, tt.o, metav1.DeletePropagationBackground)
		})
	}
	vague := pod(namespace(t, cluster), "vague", nil)
	vague.Labels = wish("perhaps")
	err := cluster.Client.Create(t.Context(), vague)
	expectRefused(t, err, "metadata.labels[gridlatch.dev/delay-tolerant]", `want "true" or "false"`)
}

func TestWhatWouldNotBeHeardIsToldAtOnce(t *testing.T) {
	ns := namespace(t, cluster)
	cron := cronJob(ns, "cron", nil, batchv1.AllowConcurrent)
	cron.Annotations = tolerant()
	cronLabel := cronJob(ns, "cron-label", nil, batchv1.AllowConcurrent)
	cronLabel.Labels = map[string]string{v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DeadlineAnnotation: "8h"}
	cronAlone := cronJob(ns, "cron-alone", nil, batchv1.AllowConcurrent)
	cronAlone.Annotations = map[string]string{v1alpha1.DeadlineAnnotation: "8h"}
	cronVague := cronJob(ns, "cron-vague", nil, batchv1.AllowConcurrent)
	cronVague.Annotations = wish("yes")
	well := cronJob(ns, "well", tolerant(), batchv1.AllowConcurrent)
	misplaced := deployment(ns, nil, nil, 1)
	misplaced.Annotations = tolerant()
	misplacedLabel := deployment(ns, nil, nil, 1)
	misplacedLabel.Labels = wish("true")
	everywhere := deployment(ns, nil, wish("true"), 1)
	everywhere.Labels = wish("true")
	vague := deployment(ns, wish("yes"), nil, 1)
	stateful := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "set", Annotations: tolerant()}, Spec: appsv1.StatefulSetSpec{
		Selector: misplaced.Spec.Selector, Template: misplaced.Spec.Template,
	}}
	deadlineLabel := job(ns, "deadline", wish("true"), 1)
	deadlineLabel.Labels = map[string]string{v1alpha1.DeadlineAnnotation: "8h"}
	caseful := job(ns, "caseful", map[string]string{"gridlatch.dev/Delay-Tolerant": "true"}, 1)
	prefixed := job(ns, "prefixed", map[string]string{"GridLatch.dev/delay-tolerant": "true"}, 1)
	misspelt := cronJob(ns, "misspelt", map[string]string{"gridlatch.dev/delaytolerant": "true"}, batchv1.AllowConcurrent)
	const gridlatch = "gridlatch-unheard"
	awaitUnheard(t, ns)
	for name, tt := range map[string]struct {
		o    client.Object
		want string // empty if nothing is to be told
	}{
		"nothing of a CronJob's own":                       {cron, ""},
		"a CronJob's label that is no wish":                {cronLabel, "gridlatch.dev/deadline has no effect as a label: write it as an annotation"},
		"a CronJob's deadline alone":                       {cronAlone, "gridlatch.dev/deadline has no effect alone"},
		"a CronJob's value that is unclear":                {cronVague, `gridlatch.dev/delay-tolerant: yes is not understood, and nothing waits: write "true" or "false"`},
		"a Deployment's own annotations":                   {misplaced, "in metadata has no effect, because a Deployment does not wait, only its pods do: write it in spec.template.metadata.annotations"},
		"a Deployment's own label":                         {misplacedLabel, "gridlatch.dev/delay-tolerant in metadata has no effect, because a Deployment does not wait"},
		"a StatefulSet's own annotations":                  {stateful, "has no effect, because a StatefulSet does not wait"},
		"a value that is not understood":                   {vague, `gridlatch.dev/delay-tolerant: yes is not understood, and nothing waits: write "true" or "false"`},
		"a label that is no wish":                          {deadlineLabel, "gridlatch.dev/deadline has no effect as a label: write it as an annotation"},
		"a deadline alone":                                 {job(ns, "alone", map[string]string{v1alpha1.DeadlineAnnotation: "8h"}, 1), `gridlatch.dev/deadline has no effect alone, and nothing waits: write the annotation gridlatch.dev/delay-tolerant: "true" beside it`},
		"a duration alone, of a template":                  {deployment(ns, map[string]string{v1alpha1.DurationAnnotation: "8h"}, nil, 1), "gridlatch.dev/duration has no effect alone"},
		"a power alone":                                    {job(ns, "power", map[string]string{v1alpha1.PowerWattsAnnotation: "250", v1alpha1.FunctionalUnitsAnnotation: "7"}, 1), "gridlatch.dev/power-watts, gridlatch.dev/functional-units has no effect alone"},
		"another case of letters":                          {caseful, "gridlatch.dev/Delay-Tolerant is not known, and has no effect: write it in small letters, gridlatch.dev/delay-tolerant"},
		"another case of the domain":                       {prefixed, "GridLatch.dev/delay-tolerant is not known"},
		"a misspelt annotation":                            {misspelt, "gridlatch.dev/delaytolerant is not known, and has no effect: the annotations that you can write are gridlatch.dev/delay-tolerant, "},
		"nothing of a CronJob that is well":                {well, ""},
		"nothing of a label everywhere":                    {everywhere, ""},
		"nothing of a Job that waits":                      {job(ns, "waits", tolerant(), 1), ""},
		"nothing of one that asks not to":                  {job(ns, "declines", tolerant(v1alpha1.DelayTolerantAnnotation, "false"), 1), ""},
		"nothing of a Deployment that waits":               {deployment(ns, tolerant(), nil, 1), ""},
		"a status that is an annotation":                   {job(ns, "status", map[string]string{v1alpha1.CarbonStatusKey: v1alpha1.LowIntensity}, 1), "gridlatch.dev/carbon-status has no effect on a Job: write it into the node selector of the pods"},
		"a status that is a label":                         {deployment(ns, nil, map[string]string{v1alpha1.CarbonStatusKey: v1alpha1.LowIntensity}, 1), "gridlatch.dev/carbon-status has no effect on a Deployment"},
		"nothing of a Deployment that selects clean nodes": {with(deployment(ns, map[string]string{v1alpha1.DeadlineAnnotation: "8h"}, nil, 1), onClean), ""},
		"nothing of a Job that selects clean nodes":        {with(job(ns, "selects", map[string]string{v1alpha1.DeadlineAnnotation: "8h"}, 1), onClean), ""},
		"nothing of a CronJob that selects clean nodes":    {with(cronJob(ns, "selects", map[string]string{v1alpha1.DeadlineAnnotation: "8h"}, batchv1.AllowConcurrent), onClean), ""},
		"a misspelt annotation of what selects":            {with(cronJob(ns, "selects", map[string]string{"gridlatch.dev/deadlin": "8h"}, batchv1.AllowConcurrent), onClean), "gridlatch.dev/deadlin is not known"},
		"nothing of ordinary work":                         {job(ns, "ordinary", map[string]string{"example.com/deadline": "8h"}, 1), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := createWarned(t, cluster, tt.o, client.DryRunAll)
			lines := slices.DeleteFunc(strings.Split(got, "\n"), func(line string) bool { return line == "" })
			switch {
			case tt.want == "" && len(lines) > 0, tt.want != "" && (len(lines) != 1 || !strings.Contains(got, gridlatch) || !strings.Contains(got, tt.want)):
				t.Errorf("told:\n%s\nwant %q", got, tt.want)
			}
		})
	}
}

// awaitUnheard waits until the API server goes by the policy that warns.
func awaitUnheard(t *testing.T, ns string) {
	t.Helper()
	env.Eventually(t, patience, func(context.Context) error {
		if got := createWarned(t, cluster, job(ns, "probe", map[string]string{v1alpha1.DeadlineAnnotation: "8h"}, 1), client.DryRunAll); !strings.Contains(got, "gridlatch-unheard") {
			return fmt.Errorf("told: %s", got)
		}
		return nil
	})
}

func TestAWishThatComesTooLateIsToldOf(t *testing.T) {
	ns := namespace(t, cluster)
	awaitUnheard(t, ns)
	j := job(ns, "ordinary", nil, 1)
	create(t, cluster, j)
	warned, warnings := warnedClient(t, cluster)
	if err := warned.Patch(t.Context(), j, client.RawPatch(merge, []byte(`{"metadata":{"annotations":{"gridlatch.dev/delay-tolerant":"true"}}}`))); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(warnings.String(), "comes too late, because it is read when a Job is created: to hold a Job that has not started, use kubectl gridlatch hold") {
		t.Errorf("told: %s", warnings)
	}
}
