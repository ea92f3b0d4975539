package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating"
)

// world is a cluster with the forecast of testdata, a controller that leads, and these objects.
func world(t *testing.T, objects ...client.Object) (func(*env), client.Client) {
	t.Helper()
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	array, err := os.ReadFile("testdata/forecast.json")
	if err != nil {
		t.Fatal(err)
	}
	renewed := metav1.NewMicroTime(parse(t, evening).Add(-5 * time.Second))
	objects = append(objects,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "batch"}},
		&coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: "gridlatch-system", Name: "gridlatch"}, Spec: coordinationv1.LeaseSpec{RenewTime: &renewed},
		},
		&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "kube-system", Name: "carbon-intensity", CreationTimestamp: metav1.NewTime(parse(t, "2026-11-21T19:00:00Z")),
			},
			BinaryData: map[string][]byte{"data": array},
		})
	field := func(name string, value func(*corev1.Pod) string) client.IndexerFunc {
		return func(o client.Object) []string {
			if pod, ok := o.(*corev1.Pod); ok {
				return []string{value(pod)}
			}
			return []string{o.GetLabels()[name]} // of metadata alone, the fake knows no more
		}
	}
	c := paged{fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithIndex(&corev1.Pod{}, "status.phase", field("phase", func(pod *corev1.Pod) string { return string(pod.Status.Phase) })).
		WithIndex(&corev1.Pod{}, "spec.nodeName", field("node", func(pod *corev1.Pod) string { return pod.Spec.NodeName })).
		Build()}
	return func(e *env) {
		e.cluster = func(n connection) (*rest.Config, string, error) {
			namespace := n.overrides.Context.Namespace
			if namespace == "" {
				namespace = "batch"
			}
			return &rest.Config{}, namespace, nil
		}
		e.dial = func(*rest.Config) (client.Client, error) { return c, nil }
	}, c
}

// paged lists metadata page by page, which the fake does not.
type paged struct{ client.Client }

func (p paged) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if err := p.Client.List(ctx, list, options...); err != nil {
		return err
	}
	all, ok := list.(*metav1.PartialObjectMetadataList)
	asked := (&client.ListOptions{}).ApplyOptions(options)
	if !ok || asked.Limit == 0 {
		return nil
	}
	from := 0
	if asked.Continue != "" {
		from, _ = strconv.Atoi(asked.Continue)
	}
	to := min(from+int(asked.Limit), len(all.Items))
	if to < len(all.Items) {
		all.Continue = strconv.Itoa(to)
	}
	all.Items = all.Items[from:to]
	return nil
}

const heldReason = "waits until Nov 22 05:00 UTC: 152 gCO2eq/kWh in CAISO_NORTH, 64 % less than the 420 at Nov 21 20:30; latest start Nov 22 07:08"

// notes are what Gridlatch writes on what it holds.
func notes(more ...string) map[string]string {
	annotations := map[string]string{
		gating.DelayTolerant: "true", gating.Duration: "2h", gating.PolicyName: "default",
		gating.Reason: heldReason, gating.PlannedStart: "2026-11-22T05:00:00Z", gating.LatestStart: "2026-11-22T07:08:00Z",
		gating.AtCreation: "420.0",
	}
	for i := 0; i < len(more); i += 2 {
		annotations[more[i]] = more[i+1]
	}
	return annotations
}

func named(name, state string, annotations map[string]string) metav1.ObjectMeta {
	created, _ := time.Parse(time.RFC3339, "2026-11-21T20:30:00Z")
	m := metav1.ObjectMeta{
		Namespace: "batch", Name: name, UID: types.UID("uid-of-" + name), Annotations: annotations, CreationTimestamp: metav1.NewTime(created),
		Labels: map[string]string{"app": name},
	}
	if state != "" {
		m.Labels[gating.State] = state
	}
	return m
}

func jobOf(name, state string, annotations map[string]string, pods int32) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: named(name, state, annotations), Spec: batchv1.JobSpec{
		Parallelism: &pods, Completions: &pods, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
	}}
	return j
}

func podOf(name, state string, annotations map[string]string, owner *batchv1.Job) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: named(name, state, annotations), Status: corev1.PodStatus{Phase: corev1.PodPending}}
	if state == gating.StateHeld {
		p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/other"}, {Name: gating.Gate}}
	}
	if owner != nil {
		p.Labels["app"] = owner.Name
		p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, batchv1.SchemeGroupVersion.WithKind("Job"))}
	}
	return p
}

// busy is a cluster with something of everything.
func busy() []client.Object {
	gated := jobOf("nightly-report", gating.StateHeld, notes(gating.Deadline, "12h44m"), 2)
	whole := jobOf("bounded", gating.StateHeld, notes(gating.HeldBy, gating.HoldBySuspend, gating.Pods, "7", gating.PlannedStart, "2026-11-22T03:20:00Z"), 7)
	suspend := true
	whole.Spec.Suspend = &suspend
	started := podOf("started", gating.StateReleased, notes(gating.PlannedStart, "",
		gating.Reason, "started Nov 21 21:00 UTC: 401 gCO2eq/kWh in CAISO_NORTH, no window in time is cleaner; 5 % less than the 420 at its creation"), nil)
	started.Status.Phase, started.Labels["phase"] = corev1.PodRunning, "Running"
	started.Status.Conditions = []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(started.CreationTimestamp.Add(30 * time.Minute)),
	}}
	done := jobOf("done", "", nil, 1)
	done.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
	working := jobOf("working", "", nil, 1)
	runs := podOf("working-1", "", nil, working)
	runs.Spec.NodeName, runs.Status.Phase = "node-0", corev1.PodRunning
	asleep := jobOf("asleep", "", nil, 1)
	asleep.Spec.Suspend = &suspend
	return []client.Object{
		gated, podOf("nightly-report-a", gating.StateHeld, notes(), gated), podOf("nightly-report-b", gating.StateHeld, notes(), gated),
		whole, started, podOf("backup", gating.StateHeld, notes(), nil), jobOf("ordinary", "", nil, 1), done, working, runs, asleep,
		jobOf("unseen", "", map[string]string{gating.DelayTolerant: "true"}, 1),
		jobOf("managed", gating.StateReleased, notes(gating.Reason, gating.NotHeld+"it is managed by example.com/other"), 1),
	}
}

func TestExplainPrints(t *testing.T) {
	for name, args := range map[string][]string{
		"explain-job":        {"job", "nightly-report", "--signals"},
		"explain-whole-job":  {"jobs/bounded"},
		"explain-pod-of-job": {"po", "nightly-report-b"},
		"explain-released":   {"pod/started"},
		"explain-foreign":    {"ordinary"},
		"explain-unseen":     {"job", "unseen"},
		"explain-not-held":   {"job.batch/managed"},
		"explain-yaml":       {"job/nightly-report", "-o", "yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			connect, _ := world(t, busy()...)
			code, stdout, stderr := call(t, connect, append([]string{"explain"}, args...)...)
			if code != 0 || stderr != "" {
				t.Fatalf("exit code %d, stderr %s", code, stderr)
			}
			printed(t, name, stdout)
		})
	}
}

// spacious adds a policy that chooses between two locations with nodes.
func spacious(t *testing.T) []client.Object {
	t.Helper()
	array, err := os.ReadFile("testdata/two-locations.json")
	if err != nil {
		t.Fatal(err)
	}
	policy := v1alpha1.Default()
	policy.Spec.Forecast.ConfigMap.Name = "two"
	objects := []client.Object{policy, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "two", CreationTimestamp: metav1.NewTime(parse(t, "2026-11-21T19:00:00Z"))},
		BinaryData: map[string][]byte{"data": array},
	}}
	for _, name := range []string{"CAISO_NORTH", "PJM"} {
		at := map[string]string{"grid": name}
		policy.Spec.Locations = append(policy.Spec.Locations, v1alpha1.Location{Name: name, NodeSelector: at})
		objects = append(objects, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-" + name, Labels: at}})
	}
	return objects
}

func TestOtherLocationsArePrinted(t *testing.T) {
	held := jobOf("mover", gating.StateHeld, notes(gating.PlannedLocation, "PJM", gating.Reason,
		"waits until Nov 22 05:00 UTC: 197 gCO2eq/kWh in PJM, 53 % less than the 420 at Nov 21 20:30; latest start Nov 22 07:08"), 1)
	for name, args := range map[string][]string{
		"explain-elsewhere": {"explain", "job/mover"},
		"plan-elsewhere":    {"plan", "--deadline", "12h", "--duration", "2h"},
		"plan-pinned":       {"plan", "--deadline", "12h", "--duration", "2h", "--location", "PJM"},
	} {
		t.Run(name, func(t *testing.T) {
			connect, _ := world(t, append(spacious(t), held)...)
			code, stdout, stderr := call(t, connect, args...)
			if code != 0 || stderr != "" {
				t.Fatalf("exit code %d, stderr %s", code, stderr)
			}
			printed(t, name, stdout)
		})
	}
}

func TestPowerFactorsArePrinted(t *testing.T) {
	objects := spacious(t)
	for _, o := range objects {
		if o.GetName() == "node-CAISO_NORTH" {
			o.SetAnnotations(map[string]string{v1alpha1.PowerFactorKey: "0.3"})
		}
	}
	objects = append(objects, jobOf("efficient", gating.StateHeld, notes(gating.PlannedLocation, "CAISO_NORTH", gating.AtCreation, "126"), 1))
	for name, args := range map[string][]string{
		"explain-factors":   {"explain", "job/efficient"},
		"plan-factors":      {"plan", "--deadline", "12h", "--duration", "2h"},
		"plan-factors-json": {"plan", "--deadline", "12h", "--duration", "2h", "-o", "json"},
	} {
		t.Run(name, func(t *testing.T) {
			connect, _ := world(t, objects...)
			code, stdout, stderr := call(t, connect, args...)
			if code != 0 || stderr != "" {
				t.Fatalf("exit code %d, stderr %s", code, stderr)
			}
			printed(t, name, stdout)
		})
	}
}

func TestExplainSaysWhatIsWrong(t *testing.T) {
	late := podOf("late", gating.StateHeld, notes(gating.PlannedStart, "2026-11-21T21:00:00Z"), nil)
	elsewhere := podOf("elsewhere", gating.StateHeld, notes(gating.PolicyName, "there"), nil)
	there := v1alpha1.Default()
	there.Name, there.Spec.Forecast.ConfigMap.Name = "there", "nothing"
	connect, _ := world(t, late, elsewhere, there)
	if _, _, stderr := call(t, connect, "explain", "pod", "late"); !strings.Contains(stderr, "it should have started at 2026-11-21 21:00 UTC: is the controller running?") {
		t.Errorf("stderr %q", stderr)
	}
	code, stdout, stderr := call(t, connect, "explain", "pod", "elsewhere")
	if code != 0 || !strings.Contains(stderr, "read the forecast") || !strings.Contains(stdout, "64 % less than the 420") || !strings.Contains(stdout, "Nothing is known of the grid") {
		t.Errorf("exit code %d, stderr %q, stdout\n%s", code, stderr, stdout)
	}
}

func TestStatusPrints(t *testing.T) {
	policy := v1alpha1.Default()
	policy.Name = "nightly"
	now, intensity := metav1.NewTime(parse(t, "2026-11-21T21:00:00Z")), int32(401)
	policy.Status = v1alpha1.CarbonPolicyStatus{
		Locations: []v1alpha1.LocationStatus{
			{Name: "CAISO_NORTH", Intensity: &intensity, ForecastIssued: &now, ForecastUntil: &now, Model: "learning: 3 of 28 days"}, {Name: "PJM"},
		},
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionForecastUsable, Status: metav1.ConditionFalse, Message: "work starts at once"}},
	}
	limited := policy.DeepCopy()
	limited.Name, limited.Status.Conditions = "limited", nil
	limited.Status.Locations[0].Bucket, limited.Status.Locations[0].Ceiling, limited.Status.Locations[0].Running = "<=437", ptr.To[int32](110), ptr.To[int32](7)
	orphan := podOf("orphan", gating.StateHeld, notes(gating.PolicyName, "gone", gating.PlannedStart, ""), nil)
	connect, _ := world(t, append(busy(), policy, limited, orphan)...)
	for name, args := range map[string][]string{"status": nil, "status-json": {"-n", "batch", "-o", "json"}} {
		code, stdout, stderr := call(t, connect, append([]string{"status"}, args...)...)
		if code != 0 || stderr != "" {
			t.Fatalf("exit code %d, stderr %s", code, stderr)
		}
		printed(t, name, stdout)
	}
	quiet, _ := world(t)
	if code, stdout, _ := call(t, quiet, "status"); code != 0 || !strings.Contains(stdout, "0 pods are held in 0 groups") {
		t.Errorf("of a quiet cluster: exit code %d\n%s", code, stdout)
	}
}

func TestStatusReadsPageByPage(t *testing.T) {
	var many []client.Object
	for i := range 1203 {
		many = append(many, podOf(fmt.Sprintf("pod-%d", i), gating.StateHeld, notes(), nil))
	}
	connect, _ := world(t, many...)
	_, stdout, _ := call(t, connect, "status", "-o", "yaml")
	var got status
	if err := yaml.Unmarshal([]byte(stdout), &got); err != nil || got.Releases[0].Pods != 1203 || got.Policies[0].Groups != 1203 {
		t.Errorf("%v, counted %+v", err, got)
	}
}

func read[T client.Object](t *testing.T, c client.Client, name string, o T) T {
	t.Helper()
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "batch", Name: name}, o); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestReleaseLetsGoAndNamesWhatItDoesNot(t *testing.T) {
	connect, c := world(t, busy()...)
	code, stdout, stderr := call(t, connect, "release", "job/nightly-report", "pod/backup", "job/bounded", "pod/started", "job/nobody")
	if code != 1 || stdout != "job/nightly-report released, 2 pods\npod/backup released, 1 pod\njob/bounded released, 7 pods\n" {
		t.Errorf("exit code %d, stdout %s", code, stdout)
	}
	if want := "pod/started: it is not held any more: started Nov 21 21:00 UTC"; !strings.Contains(stderr, want) || !strings.Contains(stderr, "namespace batch has no job/nobody") {
		t.Errorf("stderr %s", stderr)
	}
	if job := read(t, c, "bounded", &batchv1.Job{}); *job.Spec.Suspend || job.Labels[gating.State] != gating.StateReleased || job.Annotations[gating.HeldBy] != "" {
		t.Errorf("bounded: %+v", job)
	}
	for _, name := range []string{"backup", "nightly-report-a", "nightly-report-b"} {
		pod := read(t, c, name, &corev1.Pod{})
		if gates := pod.Spec.SchedulingGates; len(gates) != 1 || gates[0].Name != "example.com/other" || pod.Annotations[gating.Reason] != "released by hand at 2026-11-21 21:14 UTC" {
			t.Errorf("%s: gates %v, %v", name, gates, pod.Annotations)
		}
	}
}

func TestAPodOfAHeldJobIsNotReleasedByItself(t *testing.T) {
	connect, c := world(t, busy()...)
	code, _, stderr := call(t, connect, "release", "pod", "nightly-report-a")
	if code != 1 || !strings.Contains(stderr, "all pods of a Job are released together: release job/nightly-report") {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
	if pod := read(t, c, "nightly-report-a", &corev1.Pod{}); !gating.HasGate(pod.Spec.SchedulingGates) {
		t.Error("it was released")
	}
}

func TestReleaseAllStaysInItsNamespace(t *testing.T) {
	other := podOf("other", gating.StateHeld, notes(), nil)
	other.Namespace = "elsewhere"
	connect, c := world(t, append(busy(), other)...)
	if code, stdout, stderr := call(t, connect, "release", "--all", "-n", "batch"); code != 0 || stdout != "released 10 pods\n" {
		t.Errorf("exit code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(other), other); err != nil || !gating.HasGate(other.Spec.SchedulingGates) {
		t.Errorf("%v, gates %v", err, other.Spec.SchedulingGates)
	}
	if code, stdout, _ := call(t, connect, "release", "--all", "-A"); code != 0 || stdout != "released 1 pod\n" {
		t.Errorf("exit code %d, stdout %s", code, stdout)
	}
}

func TestHoldSuspendsUntilItIsPlanned(t *testing.T) {
	connect, c := world(t, busy()...)
	code, stdout, stderr := call(t, connect, "hold", "job", "ordinary", "--deadline", "12h")
	if code != 0 || !strings.HasPrefix(stdout, "job/ordinary held: waits until Nov 22 0") {
		t.Fatalf("exit code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
	job := read(t, c, "ordinary", &batchv1.Job{})
	if !*job.Spec.Suspend || job.Labels[gating.State] != gating.StateHeld || job.Labels["app"] != "ordinary" {
		t.Errorf("%+v", job)
	}
	for key, want := range map[string]string{
		gating.DelayTolerant: "true", gating.HeldBy: gating.HoldBySuspend, gating.Pods: "1", gating.PolicyName: "default",
		gating.Deadline: "2026-11-22T09:14:00Z", gating.LatestStart: "2026-11-22T08:11:00Z",
	} {
		if got := job.Annotations[key]; got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	policy, err := gating.Policies{Reader: c, Clock: at(parse(t, evening))}.Get(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if task := gating.TaskOf(policy, job); !task.LatestStart.Equal(parse(t, "2026-11-22T08:11:00Z")) {
		t.Errorf("the loop has it start by %s", task.LatestStart)
	}
	if code, stdout, _ := call(t, connect, "release", "ordinary"); code != 0 || stdout != "job/ordinary released, 1 pod\n" {
		t.Errorf("released: exit code %d, stdout %s", code, stdout)
	}
	if job := read(t, c, "ordinary", &batchv1.Job{}); *job.Spec.Suspend {
		t.Error("it is suspended still")
	}
}

func TestHoldWithoutADeadlineCountsFromNow(t *testing.T) {
	old := jobOf("old", "", nil, 0)
	old.CreationTimestamp = metav1.NewTime(parse(t, evening).Add(-72 * time.Hour))
	connect, c := world(t, old)
	if code, _, stderr := call(t, connect, "hold", "old"); code != 0 {
		t.Fatal(stderr)
	}
	job := read(t, c, "old", &batchv1.Job{})
	policy, err := gating.Policies{Reader: c, Clock: at(parse(t, evening))}.Get(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if task := gating.TaskOf(policy, job); !task.LatestStart.Equal(parse(t, evening).Add(24 * time.Hour)) {
		t.Errorf("the loop has it start by %s", task.LatestStart)
	}
}

func TestHoldRefuses(t *testing.T) {
	queued := jobOf("queued", "", nil, 1)
	queued.Labels[gating.KueueQueue] = "q"
	late := jobOf("late", "", map[string]string{gating.Deadline: "1h"}, 1)
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"a pod":                 {[]string{"pod/backup"}, "pod/backup: a pod cannot be held by hand: a scheduling gate can be put on it at its creation only"},
		"what is held":          {[]string{"job/bounded"}, "job/bounded: it is held already: waits until"},
		"what is done":          {[]string{"job/done"}, "job/done: it has finished"},
		"what runs":             {[]string{"working"}, "job/working: 1 of its pods run, and would be killed (--force does it all the same)"},
		"what others suspended": {[]string{"asleep"}, "job/asleep: it is suspended already, by somebody else"},
		"what is in a queue":    {[]string{"queued"}, "job/queued: Kueue decides when it runs"},
		"what has no time":      {[]string{"late"}, "job/late: it has to start by 2026-11-21 20:27 UTC to be finished in time"},
		"what is clean now":     {[]string{"ordinary", "--deadline", "61m"}, "job/ordinary: it has to start by"},
		"a policy that is none": {[]string{"ordinary", "--policy", "nobody"}, "get CarbonPolicy nobody"},
		"what it does not know": {[]string{"job/nobody"}, "namespace batch has no job/nobody"},
		"neither a Job nor pod": {[]string{"nobody"}, "namespace batch has neither a Job nor a pod nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			connect, _ := world(t, append(busy(), queued.DeepCopy(), late.DeepCopy())...)
			code, stdout, stderr := call(t, connect, append([]string{"hold"}, tt.args...)...)
			if code != 1 || stdout != "" || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d, stdout %q, stderr\n%s", code, stdout, stderr)
			}
		})
	}
}

func TestForceHoldsWhatRuns(t *testing.T) {
	connect, c := world(t, busy()...)
	if code, _, stderr := call(t, connect, "hold", "working", "asleep", "--force"); code != 0 {
		t.Fatal(stderr)
	}
	if job := read(t, c, "working", &batchv1.Job{}); !*job.Spec.Suspend {
		t.Errorf("%+v", job)
	}
}

func TestNothingIsHeldThatNobodyWouldLetGo(t *testing.T) {
	connect, c := world(t, busy()...)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "gridlatch-system", Name: "gridlatch"}}
	if err := c.Delete(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := call(t, connect, "hold", "ordinary")
	if code != 1 || !strings.Contains(stderr, "no controller of Gridlatch runs in namespace gridlatch-system") {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
}

func TestNamesOfWorkAreChecked(t *testing.T) {
	for want, args := range map[string][]string{
		`want job NAME, pod NAME, job/NAME or pod/NAME`:               {"explain"},
		`"deployment/x": want job NAME`:                               {"explain", "deployment/x"},
		`want one Job or pod`:                                         {"explain", "job", "a", "b"},
		`--output "xml": want json or yaml, or nothing for text`:      {"explain", "job", "nightly-report", "-o", "xml"},
		`--all: want either a namespace by -n, or --all-namespaces`:   {"release", "--all"},
		`want either --all, or names`:                                 {"release", "--all", "-A", "x"},
		`--all-namespaces is for --all`:                               {"release", "-A", "x"},
		`--deadline "soon": want`:                                     {"hold", "x", "--deadline", "soon"},
		`unknown argument "x" (see: kubectl gridlatch status --help)`: {"status", "x"},
	} {
		connect, _ := world(t, busy()...)
		if code, stdout, stderr := call(t, connect, args...); code != 2 || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, stdout %q, stderr %s, want %s", args, code, stdout, stderr, want)
		}
	}
}

func TestShellsCompleteNames(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"explain", ""}, "job/bounded job/nightly-report pod/backup pod/nightly-report-a pod/nightly-report-b"},
		{[]string{"explain", "job", ""}, "bounded nightly-report"},
		{[]string{"explain", "job/bounded", ""}, ""},
		{[]string{"release", "pod", "backup", ""}, "backup nightly-report-a nightly-report-b"},
		{[]string{"status", "-o", ""}, "json yaml"},
	} {
		connect, _ := world(t, busy()...)
		code, stdout, _ := call(t, connect, append([]string{"__complete"}, tt.args...)...)
		offered, _, _ := strings.Cut(stdout, ":")
		if got := strings.Join(strings.Fields(offered), " "); code != 0 || got != tt.want {
			t.Errorf("%v: offered %q, want %q", tt.args, got, tt.want)
		}
	}
}

func TestWhatTheControllerLearnedIsUsed(t *testing.T) {
	_, c := world(t)
	quiet := &cluster{Client: c, namespace: "batch", system: "gridlatch-system", now: parse(t, evening)}
	o, err := quiet.look(t.Context(), "default")
	if err != nil || o.learned {
		t.Fatalf("learned %v, %v", o.learned, err)
	}
	f, _ := o.book.Forecast("")
	history, err := f.Model.Save()
	if err != nil {
		t.Fatal(err)
	}
	saved := gating.HistoryConfigMap("kube-system/carbon-intensity/data", f.Location, history)
	saved.Namespace = "gridlatch-system"
	connect, _ := world(t, append(busy(), saved)...)
	_, stdout, stderr := call(t, connect, "explain", "job", "nightly-report")
	if stderr != "" || !strings.Contains(stdout, "⣿ forecast, corrected by what was learned, █ run") {
		t.Errorf("stderr %s, stdout\n%s", stderr, stdout)
	}
	var got explanation
	_, stdout, _ = call(t, connect, "explain", "job", "nightly-report", "-o", "json")
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || !got.Learned {
		t.Errorf("%v in\n%s", err, stdout)
	}
}

func TestTheNextBestWindowsAreApart(t *testing.T) {
	start := parse(t, "2026-11-21T21:00:00Z")
	var slots []forecast.Slot
	for i, value := range []float64{400, 300, 200, 300, 400, 250, 240, 400, 100, 400, 220, 400, 150} {
		from := start.Add(time.Duration(i) * time.Hour)
		slots = append(slots, forecast.Slot{Start: from, End: from.Add(time.Hour), Intensity: value})
	}
	planned := start.Add(8 * time.Hour)
	got := windows(forecast.NewSeries(slots), start, planned, start.Add(11*time.Hour), time.Hour, 1)
	var names []string
	for _, w := range got {
		names = append(names, fmt.Sprintf("%s %s %.0f", w.Name, w.Start.Format("15:04"), *w.Intensity))
	}
	want := []string{"at once 21:00 400", "planned 05:00 100", "or else 23:00 200", "or else 07:00 220", "at the latest 08:00 400"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}
