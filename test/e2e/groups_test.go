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
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/test/env"
)

func TestAnIndexedJobIsReleasedWholeAndItsLaterIndicesNeverWait(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	annotations := ownPolicy(t, "indexed")
	ns := namespace(t, cluster)
	j := job(ns, "indexed", annotations, 3)
	j.Spec.Completions, j.Spec.CompletionMode = ptr(int32(6)), ptr(batchv1.IndexedCompletion)
	j.Spec.Template.Annotations = map[string]string{"kwok.gridlatch.dev/run-for": "3s"}
	create(t, cluster, j)
	first := map[types.UID]bool{}
	for _, p := range awaitGated(t, cluster, ns, 3) {
		first[p.UID] = true
	}
	awaitHeld(t, "indexed", 1, 3)

	cleanNow(t, cluster)
	awaitPods(t, cluster, ns, wantGated(0, 3))
	dirtyThenClean(t, cluster, aWhile) // a Job that came now would wait
	awaitComplete(t, cluster, ns, "indexed")
	pods, err := podsOf(t.Context(), cluster, ns)
	if err != nil {
		t.Fatal(err)
	}
	indices, reasons := map[string]bool{}, map[string]bool{}
	for _, p := range pods {
		indices[p.Annotations[batchv1.JobCompletionIndexAnnotation]] = true
		if first[p.UID] {
			reasons[p.Annotations[v1alpha1.ReasonAnnotation]] = true
			continue
		}
		if reason := p.Annotations[v1alpha1.ReasonAnnotation]; reason != "its Job has been released" {
			t.Errorf("pod %s, of a later index: reason %q", p.Name, reason)
		}
		if n, err := events(t.Context(), cluster, &p, v1alpha1.EventHeld); err != nil || n > 0 {
			t.Errorf("pod %s, of a later index, was held: %d, %v", p.Name, n, err)
		}
	}
	if len(pods) != 6 || len(indices) != 6 || len(reasons) != 1 {
		t.Errorf("%d pods of indices %v, the first three started for %v, want six and one reason", len(pods), indices, reasons)
	}
	awaitHeld(t, "indexed", 0, 0)
}

// TestRetriesNeverWaitNotEvenAfterARestart kills the controller between the
// release of Jobs and their pods' retries, and makes a Job while it is away.
func TestRetriesNeverWaitNotEvenAfterARestart(t *testing.T) {
	c, g := ownCluster(t)
	dirtyThenClean(t, c, aWhile)
	ns, other := namespace(t, c), namespace(t, c)
	backoff := failing(job(ns, "backoff", tolerant(), 1))
	backoff.Spec.BackoffLimit = ptr(int32(3))
	ignoring := failing(job(ns, "ignoring", tolerant(), 1))
	ignoring.Spec.BackoffLimit, ignoring.Spec.PodFailurePolicy = ptr(int32(0)), onExitCode1(batchv1.PodFailurePolicyActionIgnore)
	byIndex := failing(job(ns, "by-index", tolerant(), 2))
	byIndex.Spec.CompletionMode, byIndex.Spec.BackoffLimitPerIndex = ptr(batchv1.IndexedCompletion), ptr(int32(3))
	once := failing(job(other, "once", tolerant(), 1))
	once.Spec.PodFailurePolicy = onExitCode1(batchv1.PodFailurePolicyActionFailJob)
	create(t, c, backoff, ignoring, byIndex, once)
	awaitGated(t, c, ns, 4)
	awaitGated(t, c, other, 1)

	cleanNow(t, c)
	awaitPods(t, c, ns, func(pods []corev1.Pod) error { return wantGated(0, len(pods))(pods) })
	awaitPods(t, c, other, wantGated(0, 1))
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	unseen := failing(job(ns, "unseen", nil, 1)) // its pods ask, and nobody hears
	for key, value := range tolerant() {
		unseen.Spec.Template.Annotations[key] = value
	}
	create(t, c, unseen)
	dirtyThenCleanUnseen(t, c)
	awaitPods(t, c, ns, func(pods []corev1.Pod) error {
		if !slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.Labels["job-name"] == "unseen" }) {
			return fmt.Errorf("the Job made while nobody was there has no pods yet")
		}
		return nil
	})
	c.Controller(t, g.Webhook)
	awaitIntensity(t, c, 430)
	back := time.Now()
	control := namespace(t, c)
	create(t, c, job(control, "control", tolerant(), 1))
	awaitPods(t, c, control, wantGated(1, 0))

	missing := []string{"backoff", "ignoring", "by-index", "unseen"}
	env.Eventually(t, 3*patience, func(ctx context.Context) error { // a retry comes after ten seconds, the next after twenty
		pods, err := podsOf(ctx, c, ns)
		if err != nil {
			return err
		}
		for _, p := range pods {
			if hold.HasGate(p.Spec.SchedulingGates) || p.Labels[v1alpha1.StateLabel] == v1alpha1.StateHeld {
				t.Fatalf("pod %s of a started Job waits again: %v", p.Name, p.Annotations)
			}
			if !p.CreationTimestamp.After(back) {
				continue
			}
			want := "its Job has been released"
			if p.Labels["job-name"] == "unseen" {
				want = "not held: Gridlatch did not decide on its Job"
			}
			if reason := p.Annotations[v1alpha1.ReasonAnnotation]; !strings.HasPrefix(reason, want) {
				t.Fatalf("pod %s: reason %q, want %q", p.Name, reason, want)
			}
			missing = slices.DeleteFunc(missing, func(name string) bool { return name == p.Labels["job-name"] })
		}
		if len(missing) > 0 {
			return fmt.Errorf("no retry yet of %v", missing)
		}
		return nil
	})
	// FailJob: it has failed, with its one pod, and nothing of it waits
	awaitPods(t, c, other, wantGated(0, 1))
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(once), once); err != nil || once.Status.Failed != 1 {
		t.Errorf("%d pods failed, want 1, %v", once.Status.Failed, err)
	}
}

func TestAJobGoneAfterItsTimeToLiveLeavesNothingAndItsNameIsDecidedOnAnew(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	annotations := ownPolicy(t, "passing-by")
	ns := namespace(t, cluster)
	j := job(ns, "short-lived", annotations, 2)
	j.Spec.TTLSecondsAfterFinished = ptr(int32(0))
	again := j.DeepCopy()
	create(t, cluster, j)
	awaitGated(t, cluster, ns, 2)
	awaitHeld(t, "passing-by", 1, 2)
	cleanNow(t, cluster)
	awaitGone(t, cluster, j)
	awaitPods(t, cluster, ns, wantGated(0, 0))
	awaitHeld(t, "passing-by", 0, 0)

	dirtyThenClean(t, cluster, aWhile)
	create(t, cluster, again)
	for _, p := range awaitGated(t, cluster, ns, 2) {
		wantLatestStart(t, &p, again.CreationTimestamp.Time)
	}
	awaitHeld(t, "passing-by", 1, 2)
}

func TestJobsOfOneOwnerAreGroupsOfTheirOwnPlannedForTheSameStart(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	annotations := ownPolicy(t, "sets")
	annotations[v1alpha1.DeadlineAnnotation] = "3h"
	// clean for an hour: one start is as good as the other
	start := time.Now().Add(-time.Minute)
	if err := cluster.Forecast(t.Context(), append(env.Elements(location, start, aWhile, 420), env.Elements(location, start.Add(aWhile), time.Hour, 120, 400)...)...); err != nil {
		t.Fatal(err)
	}
	awaitIntensity(t, cluster, 420)
	ns := namespace(t, cluster)
	set := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "jobset"}}
	create(t, cluster, set)
	owned := func(name string, pods int32) *batchv1.Job {
		j := job(ns, name, annotations, pods)
		j.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "ConfigMap", Name: set.Name, UID: set.UID, Controller: ptr(true), BlockOwnerDeletion: ptr(true),
		}}
		return j
	}
	create(t, cluster, owned("driver", 1), owned("workers-0", 2), owned("workers-1", 2))
	starts := map[string][]string{}
	for _, p := range awaitGated(t, cluster, ns, 5) {
		at := p.Annotations[v1alpha1.PlannedStartAnnotation]
		starts[at] = append(starts[at], p.Name)
	}
	if len(starts) != 1 {
		t.Errorf("planned starts %v, want one", starts)
	}
	awaitHeld(t, "sets", 3, 5)
	cleanNow(t, cluster)
	for _, name := range []string{"driver", "workers-0", "workers-1"} {
		awaitComplete(t, cluster, ns, name)
	}
	awaitHeld(t, "sets", 0, 0)

	// a Job that the owner makes anew is decided on anew
	dirtyThenClean(t, cluster, aWhile)
	create(t, cluster, owned("driver-again", 1))
	awaitHeld(t, "sets", 1, 1)
	remove(t, cluster, set, metav1.DeletePropagationBackground)
	awaitPods(t, cluster, ns, wantGated(0, 0))
	awaitJobs(t, ns, func(jobs []batchv1.Job) error {
		if len(jobs) > 0 {
			return fmt.Errorf("%d Jobs are left", len(jobs))
		}
		return nil
	})
	awaitHeld(t, "sets", 0, 0)
}

// service is the selector and the template of pods that run on.
func service(annotations map[string]string) (*metav1.LabelSelector, corev1.PodTemplateSpec) {
	labels := map[string]string{"app": "tolerant"}
	return &metav1.LabelSelector{MatchLabels: labels}, corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations}, Spec: spec(corev1.RestartPolicyAlways),
	}
}

func TestPodsOfADeploymentAreHeldIfTheyAskAndLaterOnesAnew(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	ns := namespace(t, cluster)
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "tolerant"}, Spec: appsv1.DeploymentSpec{Replicas: ptr(int32(3))}}
	d.Spec.Selector, d.Spec.Template = service(ownPolicy(t, "deployed"))
	scale := func(replicas int32) {
		t.Helper()
		change(t, cluster, d, func(d *appsv1.Deployment) { d.Spec.Replicas = &replicas })
	}
	create(t, cluster, d)
	awaitGated(t, cluster, ns, 3)
	awaitHeld(t, "deployed", 1, 3)
	scale(1)
	awaitGated(t, cluster, ns, 1)
	awaitHeld(t, "deployed", 1, 1)
	scale(0)
	awaitPods(t, cluster, ns, wantGated(0, 0))
	awaitHeld(t, "deployed", 0, 0)
	scale(2)
	awaitGated(t, cluster, ns, 2)

	cleanNow(t, cluster)
	awaitPods(t, cluster, ns, wantGated(0, 2))
	awaitHeld(t, "deployed", 0, 0)
	dirtyThenClean(t, cluster, aWhile)
	scale(3)
	awaitPods(t, cluster, ns, wantGated(1, 2))
	awaitHeld(t, "deployed", 1, 1)
	// no pod is refused because its policy has gone since
	remove(t, cluster, &v1alpha1.CarbonPolicy{ObjectMeta: metav1.ObjectMeta{Name: "deployed"}}, metav1.DeletePropagationBackground)
	awaitPods(t, cluster, ns, wantGated(0, 3))
	scale(4)
	awaitPods(t, cluster, ns, wantGated(0, 4))
	remove(t, cluster, d, metav1.DeletePropagationForeground)
	awaitGone(t, cluster, d)
	awaitPods(t, cluster, ns, wantGated(0, 0))
}

func TestPodsOfAStatefulSetAreHeldAsTheyCome(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	annotations := ownPolicy(t, "stateful")
	parallel, ordered := namespace(t, cluster), namespace(t, cluster)
	sets := map[string]*appsv1.StatefulSet{}
	for ns, management := range map[string]appsv1.PodManagementPolicyType{parallel: appsv1.ParallelPodManagement, ordered: appsv1.OrderedReadyPodManagement} {
		s := &appsv1.StatefulSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "tolerant"},
			Spec:       appsv1.StatefulSetSpec{Replicas: ptr(int32(2)), PodManagementPolicy: management},
		}
		s.Spec.Selector, s.Spec.Template = service(annotations)
		create(t, cluster, s)
		sets[ns] = s
	}
	awaitGated(t, cluster, parallel, 2)
	awaitGated(t, cluster, ordered, 1) // the second comes when the first is ready
	awaitHeld(t, "stateful", 2, 3)
	cleanNow(t, cluster)
	for ns := range sets {
		awaitPods(t, cluster, ns, wantGated(0, 2))
	}
	dirtyThenClean(t, cluster, aWhile)
	change(t, cluster, sets[ordered], func(s *appsv1.StatefulSet) { s.Spec.Replicas = ptr(int32(3)) })
	remove(t, cluster, pod(parallel, "tolerant-0", nil), metav1.DeletePropagationBackground)
	awaitPods(t, cluster, ordered, wantGated(1, 2))
	awaitPods(t, cluster, parallel, wantGated(1, 1)) // made anew by the same name
	awaitHeld(t, "stateful", 2, 2)
	for ns, s := range sets {
		remove(t, cluster, s, metav1.DeletePropagationBackground)
		awaitPods(t, cluster, ns, wantGated(0, 0))
	}
	awaitHeld(t, "stateful", 0, 0)
}

func TestAHeldJobThatItsUserSuspendsAndResumesKeepsItsPromise(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	annotations := ownPolicy(t, "suspended")
	ns := namespace(t, cluster)
	j := job(ns, "suspended", annotations, 2)
	create(t, cluster, j)
	promise := awaitGated(t, cluster, ns, 2)[0].Annotations[v1alpha1.LatestStartAnnotation]
	suspend := func(yes bool) {
		t.Helper()
		change(t, cluster, j, func(j *batchv1.Job) { j.Spec.Suspend = &yes })
	}
	suspend(true)
	awaitPods(t, cluster, ns, wantGated(0, 0))
	awaitHeld(t, "suspended", 1, 0)
	suspend(false)
	for _, p := range awaitGated(t, cluster, ns, 2) {
		if got := p.Annotations[v1alpha1.LatestStartAnnotation]; got != promise || len(p.Spec.SchedulingGates) != 1 {
			t.Errorf("latest start %s with gates %v, want %s as before, with one", got, p.Spec.SchedulingGates, promise)
		}
		awaitEvent(t, cluster, &p, v1alpha1.EventHeld)
	}
	awaitHeld(t, "suspended", 1, 2)

	// its start comes while it is suspended: it does not wait once it is resumed
	suspend(true)
	awaitPods(t, cluster, ns, wantGated(0, 0))
	cleanNow(t, cluster)
	awaitHeld(t, "suspended", 0, 0)
	dirtyThenClean(t, cluster, aWhile)
	if err := cluster.Client.Get(t.Context(), client.ObjectKeyFromObject(j), j); err != nil || !*j.Spec.Suspend {
		t.Fatalf("we have resumed what the user suspended: %v", err)
	}
	suspend(false)
	awaitPods(t, cluster, ns, wantGated(0, 2))
	awaitComplete(t, cluster, ns, j.Name)
}

func TestAHeldJobThatIsDeletedLeavesNothing(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	annotations := ownPolicy(t, "deleted")
	for _, propagation := range []metav1.DeletionPropagation{metav1.DeletePropagationForeground, metav1.DeletePropagationBackground} {
		t.Run(string(propagation), func(t *testing.T) {
			ns := namespace(t, cluster)
			j := job(ns, "deleted", annotations, 3)
			create(t, cluster, j)
			awaitGated(t, cluster, ns, 3)
			awaitHeld(t, "deleted", 1, 3)
			remove(t, cluster, j, propagation)
			awaitGone(t, cluster, j)
			awaitPods(t, cluster, ns, wantGated(0, 0))
			awaitHeld(t, "deleted", 0, 0)
		})
	}
	t.Run("a pod of it, by hand", func(t *testing.T) {
		ns := namespace(t, cluster)
		j := job(ns, "deleted", annotations, 2)
		create(t, cluster, j)
		old := awaitGated(t, cluster, ns, 2)
		remove(t, cluster, &old[0], metav1.DeletePropagationBackground)
		awaitPods(t, cluster, ns, func(pods []corev1.Pod) error { // after the ten seconds of a retry
			if slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.UID == old[0].UID }) {
				return fmt.Errorf("it is still there")
			}
			return wantGated(2, 0)(pods)
		})
		for _, p := range awaitGated(t, cluster, ns, 2) {
			wantLatestStart(t, &p, j.CreationTimestamp.Time) // not that of its own creation
		}
		awaitHeld(t, "deleted", 1, 2)
		remove(t, cluster, j, metav1.DeletePropagationBackground)
		awaitHeld(t, "deleted", 0, 0)
	})
	t.Run("Orphan", func(t *testing.T) {
		ns := namespace(t, cluster)
		j := job(ns, "deleted", annotations, 2)
		create(t, cluster, j)
		awaitGated(t, cluster, ns, 2)
		remove(t, cluster, j, metav1.DeletePropagationOrphan)
		awaitGone(t, cluster, j)
		awaitHeld(t, "deleted", 2, 2) // each pod is by itself now, with the promise it had
		for _, p := range awaitGated(t, cluster, ns, 2) {
			wantLatestStart(t, &p, j.CreationTimestamp.Time)
		}
		cleanNow(t, cluster)
		awaitPods(t, cluster, ns, wantGated(0, 2))
		awaitHeld(t, "deleted", 0, 0)
	})
}
