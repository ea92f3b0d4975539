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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating"
	"github.com/gridlatch/gridlatch/test/env"
)

// aWhile is for how long the grid stays dirty in tests that do not wait for it.
const aWhile = 5 * time.Minute

// ownPolicy makes a policy for one test, which the webhook knows, so that what
// is held can be counted. It returns the annotations of work that waits by it.
func ownPolicy(t *testing.T, name string) map[string]string {
	t.Helper()
	policy(t, name, "")
	annotations := tolerant(gating.PolicyName, name)
	env.Eventually(t, patience, func(ctx context.Context) error {
		return cluster.Client.Create(ctx, pod("default", "probe", annotations), client.DryRunAll)
	})
	return annotations
}

// awaitHeld waits until a policy holds as many groups and pods by its status
// and by the metrics.
func awaitHeld(t *testing.T, name string, groups, pods int) {
	t.Helper()
	awaitPolicy(t, name, func(p *v1alpha1.CarbonPolicy) error {
		if held := p.Status.Held; int(held.Groups) != groups || int(held.Pods) != pods {
			return fmt.Errorf("status %+v, want %d groups, %d pods", held, groups, pods)
		}
		for metric, want := range map[string]int{"gridlatch_held_groups": groups, "gridlatch_held_pods": pods} {
			if got, err := controller.Metric(t.Context(), metric, `policy="`+name+`"`); err != nil || int(got) != want {
				return fmt.Errorf("%s is %v, want %d: %w", metric, got, want, err)
			}
		}
		return nil
	})
}

// awaitPods waits until check has nothing to say on the pods of a namespace.
func awaitPods(t *testing.T, c *env.Cluster, namespace string, check func([]corev1.Pod) error) {
	t.Helper()
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		pods, err := podsOf(ctx, c, namespace)
		if err != nil {
			return err
		}
		return check(pods)
	})
}

// wantGated wants some of the pods to be gated, and the others on a node.
func wantGated(gated, scheduled int) func([]corev1.Pod) error {
	return func(pods []corev1.Pod) error {
		var g, s int
		for _, p := range pods {
			switch {
			case gating.HasGate(p.Spec.SchedulingGates):
				g++
			case p.Spec.NodeName != "":
				s++
			}
		}
		if g != gated || s != scheduled || len(pods) != g+s {
			return fmt.Errorf("of %d pods, %d are gated and %d scheduled, want %d and %d", len(pods), g, s, gated, scheduled)
		}
		return nil
	}
}

// change writes to an object as it is now.
func change[T client.Object](t *testing.T, c *env.Cluster, o T, edit func(T)) {
	t.Helper()
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatal(err)
	}
	before := o.DeepCopyObject().(client.Object)
	edit(o)
	if err := c.Client.Patch(t.Context(), o, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, c *env.Cluster, o client.Object, propagation metav1.DeletionPropagation) {
	t.Helper()
	if err := c.Client.Delete(t.Context(), o, client.PropagationPolicy(propagation)); err != nil {
		t.Fatal(err)
	}
}

// awaitGone waits until an object is no more, nor any other by its name.
func awaitGone(t *testing.T, c *env.Cluster, o client.Object) {
	t.Helper()
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		err := c.Client.Get(ctx, client.ObjectKeyFromObject(o), o)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("%s is still there: %w", o.GetName(), err)
	})
}

// failing makes a Job whose pods fail after a second.
func failing(j *batchv1.Job) *batchv1.Job {
	if j.Spec.Template.Annotations == nil {
		j.Spec.Template.Annotations = map[string]string{}
	}
	j.Spec.Template.Annotations["kwok.gridlatch.dev/fail"] = "true"
	j.Spec.Template.Annotations["kwok.gridlatch.dev/run-for"] = "1s"
	return j
}

func onExitCode1(action batchv1.PodFailurePolicyAction) *batchv1.PodFailurePolicy {
	return &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
		Action:      action,
		OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{1}},
	}}}
}

func ptr[T any](v T) *T { return &v }

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
			reasons[p.Annotations[gating.Reason]] = true
			continue
		}
		if reason := p.Annotations[gating.Reason]; reason != "its Job has been released" {
			t.Errorf("pod %s, of a later index: reason %q", p.Name, reason)
		}
		if n, err := events(t.Context(), cluster, &p, gating.EventHeld); err != nil || n > 0 {
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
			if gating.HasGate(p.Spec.SchedulingGates) || p.Labels[gating.State] == gating.StateHeld {
				t.Fatalf("pod %s of a started Job waits again: %v", p.Name, p.Annotations)
			}
			if !p.CreationTimestamp.After(back) {
				continue
			}
			want := "its Job has been released"
			if p.Labels["job-name"] == "unseen" {
				want = "not held: its Job was not decided on at its creation"
			}
			if reason := p.Annotations[gating.Reason]; !strings.HasPrefix(reason, want) {
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

// wantLatestStart wants of tolerant work what follows from its creation: ten
// minutes, less two seconds to run and a margin.
func wantLatestStart(t *testing.T, o client.Object, created time.Time) {
	t.Helper()
	latest, err := time.Parse(time.RFC3339, o.GetAnnotations()[gating.LatestStart])
	if want := created.Add(10*time.Minute - 2*time.Second); err != nil || latest.Sub(want).Abs() > 3*time.Second {
		t.Errorf("%s: latest start %s, want about %s, %v", o.GetName(), latest, want, err)
	}
}

// cronJob makes a CronJob that runs once a year: it is its turn when its
// schedule says so for a day that has been, and it is looked at.
func cronJob(namespace, name string, annotations map[string]string, policy batchv1.ConcurrencyPolicy) *batchv1.CronJob {
	return &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: batchv1.CronJobSpec{
			Schedule: yearly(-2), TimeZone: ptr("Etc/UTC"), ConcurrencyPolicy: policy, Suspend: ptr(true),
			JobTemplate: batchv1.JobTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Annotations: annotations},
				Spec:       job("", "", nil, 1).Spec,
			},
		},
	}
}

// yearly is a schedule for midnight of a day near today.
func yearly(days int) string {
	day := time.Now().UTC().AddDate(0, 0, days)
	return fmt.Sprintf("0 0 %d %d *", day.Day(), day.Month())
}

// nextRun makes it a CronJob's turn.
func nextRun(t *testing.T, c *batchv1.CronJob) {
	t.Helper()
	if *c.Spec.Suspend { // it was never looked at: it has missed its first run
		if err := cluster.Client.Get(t.Context(), client.ObjectKeyFromObject(c), c); err != nil {
			t.Fatal(err)
		}
		before := c.DeepCopy()
		c.Status.LastScheduleTime = &metav1.Time{Time: time.Now().AddDate(0, 0, -4)}
		if err := cluster.Client.Status().Patch(t.Context(), c, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
		change(t, cluster, c, func(c *batchv1.CronJob) { c.Spec.Suspend = ptr(false) })
		return
	}
	change(t, cluster, c, func(c *batchv1.CronJob) { c.Spec.Schedule = yearly(-1) })
	change(t, cluster, c, func(c *batchv1.CronJob) { c.Annotations = map[string]string{"example.com/look": "again"} })
}

// awaitJobs waits until check has nothing to say on the Jobs of a namespace.
func awaitJobs(t *testing.T, namespace string, check func([]batchv1.Job) error) {
	t.Helper()
	env.Eventually(t, 2*patience, func(ctx context.Context) error {
		var jobs batchv1.JobList
		if err := cluster.Client.List(ctx, &jobs, client.InNamespace(namespace)); err != nil {
			return err
		}
		return check(jobs.Items)
	})
}

// awaitOneJob waits until there is one Job, and returns it.
func awaitOneJob(t *testing.T, namespace string, other types.UID) batchv1.Job {
	t.Helper()
	var found batchv1.Job
	awaitJobs(t, namespace, func(jobs []batchv1.Job) error {
		if len(jobs) != 1 || jobs[0].UID == other {
			return fmt.Errorf("%d Jobs, want one that is new", len(jobs))
		}
		found = jobs[0]
		return nil
	})
	return found
}

func TestAHeldJobOfACronJobCountsAsActive(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	annotations := ownPolicy(t, "cron")
	patient, hasty := namespace(t, cluster), namespace(t, cluster)
	forbid := cronJob(patient, "forbid", annotations, batchv1.ForbidConcurrent)
	replace := cronJob(hasty, "replace", annotations, batchv1.ReplaceConcurrent)
	create(t, cluster, forbid, replace)
	nextRun(t, forbid)
	nextRun(t, replace)
	kept, replaced := awaitOneJob(t, patient, ""), awaitOneJob(t, hasty, "")
	awaitGated(t, cluster, patient, 1)
	old := awaitGated(t, cluster, hasty, 1)[0]
	awaitHeld(t, "cron", 2, 2)

	nextRun(t, forbid)
	nextRun(t, replace)
	awaitEvent(t, cluster, forbid, "JobAlreadyActive") // skipped
	anew := awaitOneJob(t, hasty, replaced.UID)
	wantLatestStart(t, &anew, anew.CreationTimestamp.Time)
	awaitPods(t, cluster, hasty, func(pods []corev1.Pod) error {
		if len(pods) != 1 || pods[0].UID == old.UID {
			return fmt.Errorf("%d pods, want one that is new", len(pods))
		}
		return wantGated(1, 0)(pods)
	})
	if j := awaitOneJob(t, patient, ""); j.UID != kept.UID || j.Labels[gating.State] != gating.StateHeld {
		t.Errorf("the held Job was replaced, or is not held: %v", j.Labels)
	}
	awaitHeld(t, "cron", 2, 2)

	// the run that was skipped is made up for when the one that was held is done
	cleanNow(t, cluster)
	awaitComplete(t, cluster, patient, kept.Name)
	awaitComplete(t, cluster, hasty, anew.Name)
	awaitJobs(t, patient, func(jobs []batchv1.Job) error {
		if len(jobs) != 2 {
			return fmt.Errorf("%d Jobs, want the one that was held and the one after it", len(jobs))
		}
		return nil
	})
	awaitHeld(t, "cron", 0, 0)
	remove(t, cluster, forbid, metav1.DeletePropagationBackground)
	remove(t, cluster, replace, metav1.DeletePropagationBackground)
	for _, ns := range []string{patient, hasty} {
		awaitPods(t, cluster, ns, wantGated(0, 0))
	}
}

func TestJobsOfOneOwnerAreGroupsOfTheirOwnPlannedForTheSameStart(t *testing.T) {
	dirtyThenClean(t, cluster, aWhile)
	annotations := ownPolicy(t, "sets")
	annotations[gating.Deadline] = "3h"
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
	starts := map[string]bool{}
	for _, p := range awaitGated(t, cluster, ns, 5) {
		starts[p.Annotations[gating.PlannedStart]] = true
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
	promise := awaitGated(t, cluster, ns, 2)[0].Annotations[gating.LatestStart]
	suspend := func(yes bool) {
		t.Helper()
		change(t, cluster, j, func(j *batchv1.Job) { j.Spec.Suspend = &yes })
	}
	suspend(true)
	awaitPods(t, cluster, ns, wantGated(0, 0))
	awaitHeld(t, "suspended", 1, 0)
	suspend(false)
	for _, p := range awaitGated(t, cluster, ns, 2) {
		if got := p.Annotations[gating.LatestStart]; got != promise || len(p.Spec.SchedulingGates) != 1 {
			t.Errorf("latest start %s with gates %v, want %s as before, with one", got, p.Spec.SchedulingGates, promise)
		}
		awaitEvent(t, cluster, &p, gating.EventHeld)
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
