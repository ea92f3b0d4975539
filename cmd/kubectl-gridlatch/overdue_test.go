package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/cluster"
)

// setLease sets the Lease of the controller to one that was renewed some time ago. Zero removes the
// Lease.
func setLease(t *testing.T, c client.Client, lasts int32, ago time.Duration) {
	t.Helper()
	key := metav1.ObjectMeta{Namespace: "gridlatch-system", Name: "gridlatch"}
	if err := c.Delete(t.Context(), &coordinationv1.Lease{ObjectMeta: key}); err != nil {
		t.Fatal(err)
	}
	const never = 0
	if ago == never {
		return
	}
	at := metav1.NewMicroTime(parse(t, evening).Add(-ago))
	l := &coordinationv1.Lease{ObjectMeta: key, Spec: coordinationv1.LeaseSpec{RenewTime: &at, LeaseDurationSeconds: &lasts}}
	if err := c.Create(t.Context(), l); err != nil {
		t.Fatal(err)
	}
}

func TestItIsSaidWhenNoControllerRuns(t *testing.T) {
	const gone = "no controller of Gridlatch runs in namespace gridlatch-system: its Lease gridlatch was last renewed at 2026-11-21 21:08 UTC, 6m ago"
	for name, tt := range map[string]struct {
		lasts int32
		ago   time.Duration
		state cluster.ControllerState
		want  string
	}{
		"a lease that was renewed":          {10, 9 * time.Second, cluster.ControllerRuns, ""},
		"a lease that ran out a moment ago": {10, 65 * time.Second, cluster.ControllerRuns, ""},
		"a lease that ran out":              {10, 6 * time.Minute, cluster.ControllerGone, gone},
		"a lease that lasts long":           {600, 6 * time.Minute, cluster.ControllerRuns, ""},
		"a clock that is ahead of ours":     {10, -6 * time.Minute, cluster.ControllerRuns, ""},
		"no lease":                          {0, 0, cluster.ControllerUnseen, "no controller of Gridlatch was found: namespace gridlatch-system has no Lease gridlatch"},
	} {
		t.Run(name, func(t *testing.T) {
			connect, c := fakeCluster(t, workInEachState()...)
			setLease(t, c, tt.lasts, tt.ago)
			_, stdout, stderr := call(t, connect, "status")
			if problem, _, _ := strings.Cut(stdout, "\n"); stderr != "" || strings.HasPrefix(problem, "problem: ") != (tt.want != "") || !strings.Contains(problem, tt.want) {
				t.Errorf("status says %q, %s", problem, stderr)
			}
			for _, work := range []string{"nightly-report", "unseen"} {
				_, _, stderr := call(t, connect, "explain", "job", work)
				if want := tt.want; (stderr == "") != (want == "") || !strings.Contains(stderr, want) {
					t.Errorf("explain says %q of %s", stderr, work)
				}
			}
			if _, _, stderr := call(t, connect, "explain", "job", "done"); stderr != "" {
				t.Errorf("explain says %q of what nobody has to let go", stderr)
			}
			var got cluster.Status
			_, stdout, _ = call(t, connect, "status", "-o", "json")
			if err := json.Unmarshal([]byte(stdout), &got); err != nil || got.Controller.State != tt.state || (got.Controller.Problem == "") != (tt.want == "") {
				t.Errorf("%v, controller %+v", err, got.Controller)
			}
		})
	}
}

func TestNothingIsSaidOfAControllerWhoseLeaseMayNotBeRead(t *testing.T) {
	_, c := fakeCluster(t, workInEachState()...)
	setLease(t, c, 10, time.Hour)
	connect := func(e *env) {
		e.cluster = func(connection) (*rest.Config, string, error) { return &rest.Config{}, "batch", nil }
		e.dial = func(*rest.Config) (client.Client, error) { return oneNamespace{Client: c}, nil }
	}
	for _, args := range [][]string{{"status", "-n", "batch"}, {"explain", "job", "nightly-report"}} {
		if code, stdout, stderr := call(t, connect, args...); code != 0 || strings.Contains(stdout+stderr, "no controller") {
			t.Errorf("%v: exit code %d, %s%s", args, code, stdout, stderr)
		}
	}
	var got cluster.Status
	_, stdout, _ := call(t, connect, "status", "-n", "batch", "-o", "json")
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || got.Controller.State != cluster.ControllerUnknown {
		t.Errorf("%v, controller %+v", err, got.Controller)
	}
}

// overduePods returns pods whose planned or latest start is past, and one that is due now.
func overduePods() []client.Object {
	all := []client.Object{podOf("due", v1alpha1.StateHeld, heldAnnotations(v1alpha1.PlannedStartAnnotation, "2026-11-21T21:13:30Z"), nil)}
	for i := range 7 {
		planned := time.Date(2026, 11, 21, 20, 14+i, 0, 0, time.UTC).Format(time.RFC3339)
		all = append(all, podOf(fmt.Sprintf("late-%d", i), v1alpha1.StateHeld, heldAnnotations(v1alpha1.PlannedStartAnnotation, planned, v1alpha1.LatestStartAnnotation, "2026-11-21T20:44:00Z"), nil))
	}
	return append(all, podOf("unplanned", v1alpha1.StateHeld, heldAnnotations(v1alpha1.PlannedStartAnnotation, "", v1alpha1.LatestStartAnnotation, "2026-11-21T20:00:00Z"), nil))
}

func TestWhatIsOverdueIsListed(t *testing.T) {
	connect, _ := fakeCluster(t, append(workInEachState(), overduePods()...)...)
	_, stdout, _ := call(t, connect, "status")
	const want = `problem: 8 groups with 8 pods have been overdue since 2026-11-21 20:00 UTC
  pod/unplanned in namespace batch, since 2026-11-21 20:00 UTC
  pod/late-0 in namespace batch, since 2026-11-21 20:14 UTC
  pod/late-1 in namespace batch, since 2026-11-21 20:15 UTC
  pod/late-2 in namespace batch, since 2026-11-21 20:16 UTC
  pod/late-3 in namespace batch, since 2026-11-21 20:17 UTC
  and 3 more

`
	if !strings.HasPrefix(stdout, want) {
		t.Errorf("status says\n%s", stdout)
	}
	var got cluster.Status
	_, stdout, _ = call(t, connect, "status", "-o", "json")
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || got.Overdue == nil || got.Overdue.Groups != 8 || len(got.Overdue.First) != 5 {
		t.Errorf("%v, overdue %+v", err, got.Overdue)
	}
	_, stdout, stderr := call(t, connect, "explain", "pod", "late-2")
	if headline, _, _ := strings.Cut(stdout, "\n"); headline != "pod/late-2 in namespace batch is still held, and has been overdue since 2026-11-21 20:16 UTC, for 58m" ||
		stderr != "warning: the work should have started: the controller runs, but has not released it\n" {
		t.Errorf("explain says %q, %q", headline, stderr)
	}
	if _, stdout, _ := call(t, connect, "explain", "pod", "due"); !strings.Contains(stdout, "waits until 2026-11-21 21:13 UTC") {
		t.Errorf("explain says\n%s", stdout)
	}
}

func TestPoliciesThatDoNotExistFloodNothing(t *testing.T) {
	policy := v1alpha1.Default()
	policy.Name = "zero"
	many := []client.Object{policy}
	for i := range 200 {
		many = append(many, podOf(fmt.Sprintf("pod-%d", i), v1alpha1.StateHeld, heldAnnotations(v1alpha1.PolicyAnnotation, fmt.Sprintf("forged-%d", i)), nil))
	}
	connect, _ := fakeCluster(t, many...)
	_, stdout, _ := call(t, connect, "status")
	first, rest, _ := strings.Cut(stdout, "CarbonPolicy forged-")
	if !strings.Contains(first, "CarbonPolicy zero") || strings.Count(rest, "CarbonPolicy forged-") != 9 || !strings.Contains(rest, "\n190 more CarbonPolicies do not exist") {
		t.Errorf("status says\n%s", stdout)
	}
}

func TestExplainSaysWhyAReleaseIsRefused(t *testing.T) {
	const words = "the API server refuses to release it, and Gridlatch will try again: denied by\x1b[31m the rules of the house"
	late := podOf("late", v1alpha1.StateHeld, heldAnnotations(v1alpha1.PlannedStartAnnotation, "2026-11-21T21:00:00Z", v1alpha1.LatestStartAnnotation, "2026-11-21T21:00:00Z"), nil)
	told := func(name, reason string) *corev1.Event {
		return &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: name}, Reason: reason, Message: words,
			InvolvedObject: corev1.ObjectReference{UID: late.UID},
		}
	}
	for name, tt := range map[string]struct {
		event *corev1.Event
		want  bool
	}{
		"an Event that says so": {told("refused", v1alpha1.EventRefused), true},
		"another Event":         {told("held", v1alpha1.EventHeld), false},
	} {
		t.Run(name, func(t *testing.T) {
			connect, _ := fakeCluster(t, late.DeepCopy(), tt.event)
			_, stdout, stderr := call(t, connect, "explain", "pod", "late")
			if !strings.Contains(stdout, "overdue since 2026-11-21 21:00 UTC") || strings.Contains(stdout, "whatever the grid does") {
				t.Errorf("stdout %s", stdout)
			}
			if strings.Contains(stdout, "the rules of the house") != tt.want || strings.Contains(stderr, "the API server refuses") != tt.want || strings.Contains(stdout, "\x1b") {
				t.Errorf("stdout %q, stderr %s", stdout, stderr)
			}
		})
	}
}

func TestWhatIsLetGoAndCouldNotBeToldSoIsNotHeld(t *testing.T) {
	pod := podOf("gone", v1alpha1.StateHeld, heldAnnotations(), nil)
	pod.Spec.SchedulingGates = nil
	whole, gated := jobOf("whole", v1alpha1.StateHeld, heldAnnotations(v1alpha1.HeldByAnnotation, v1alpha1.HoldBySuspend), 2), jobOf("gated", v1alpha1.StateHeld, heldAnnotations(), 2)
	gated.Status.Active = 2
	runs := podOf("gated-1", v1alpha1.StateHeld, heldAnnotations(), gated)
	runs.Spec.SchedulingGates = nil
	connect, _ := fakeCluster(t, pod, whole, gated, runs)
	if code, stdout, _ := call(t, connect, "status"); code != 0 || !strings.Contains(stdout, "0 pods are held in 0 groups") {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
}
