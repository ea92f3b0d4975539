package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/cluster"
	"github.com/gridlatch/gridlatch/feed/history"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/gating/door"
	"github.com/gridlatch/gridlatch/gating/hold"
)

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
			connect, _ := fakeCluster(t, workInEachState()...)
			code, stdout, stderr := call(t, connect, append([]string{"explain"}, args...)...)
			if code != 0 || stderr != "" {
				t.Fatalf("exit code %d, stderr %s", code, stderr)
			}
			wantGolden(t, name, stdout)
		})
	}
}

// twoLocations returns a policy that chooses between two locations, with their nodes and forecasts.
func twoLocations(t *testing.T) []client.Object {
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
	held := jobOf("mover", v1alpha1.StateHeld, heldAnnotations(v1alpha1.PlannedLocationAnnotation, "PJM", v1alpha1.ReasonAnnotation,
		"waits until Nov 22 05:00 UTC: 197 gCO2eq/kWh in PJM, 53 % less than the 420 at Nov 21 20:30; latest start Nov 22 07:08"), 1)
	for name, args := range map[string][]string{
		"explain-elsewhere": {"explain", "job/mover"},
		"plan-elsewhere":    {"plan", "--deadline", "12h", "--duration", "2h"},
		"plan-pinned":       {"plan", "--deadline", "12h", "--duration", "2h", "--location", "PJM"},
	} {
		t.Run(name, func(t *testing.T) {
			connect, _ := fakeCluster(t, append(twoLocations(t), held)...)
			code, stdout, stderr := call(t, connect, args...)
			if code != 0 || stderr != "" {
				t.Fatalf("exit code %d, stderr %s", code, stderr)
			}
			wantGolden(t, name, stdout)
		})
	}
}

func TestPowerFactorsArePrinted(t *testing.T) {
	objects := twoLocations(t)
	for _, o := range objects {
		if o.GetName() == "node-CAISO_NORTH" {
			o.SetAnnotations(map[string]string{v1alpha1.PowerFactorKey: "0.3"})
		}
	}
	objects = append(objects, jobOf("efficient", v1alpha1.StateHeld, heldAnnotations(v1alpha1.PlannedLocationAnnotation, "CAISO_NORTH", v1alpha1.IntensityAtCreationAnnotation, "126"), 1))
	for name, args := range map[string][]string{
		"explain-factors":   {"explain", "job/efficient"},
		"plan-factors":      {"plan", "--deadline", "12h", "--duration", "2h"},
		"plan-factors-json": {"plan", "--deadline", "12h", "--duration", "2h", "-o", "json"},
	} {
		t.Run(name, func(t *testing.T) {
			connect, _ := fakeCluster(t, objects...)
			code, stdout, stderr := call(t, connect, args...)
			if code != 0 || stderr != "" {
				t.Fatalf("exit code %d, stderr %s", code, stderr)
			}
			wantGolden(t, name, stdout)
		})
	}
}

func TestExplainSaysWhatIsWrong(t *testing.T) {
	late := podOf("late", v1alpha1.StateHeld, heldAnnotations(v1alpha1.PlannedStartAnnotation, "2026-11-21T21:00:00Z"), nil)
	elsewhere := podOf("elsewhere", v1alpha1.StateHeld, heldAnnotations(v1alpha1.PolicyAnnotation, "there"), nil)
	there := v1alpha1.Default()
	there.Name, there.Spec.Forecast.ConfigMap.Name = "there", "nothing"
	connect, _ := fakeCluster(t, late, elsewhere, there)
	if _, _, stderr := call(t, connect, "explain", "pod", "late"); !strings.Contains(stderr, "the work should have started: the controller runs, but has not released it") {
		t.Errorf("stderr %q", stderr)
	}
	code, stdout, stderr := call(t, connect, "explain", "pod", "elsewhere")
	if code != 0 || !strings.Contains(stderr, "read the forecast") || !strings.Contains(stdout, "64 % less than the 420") || !strings.Contains(stdout, "Nothing is known about the grid") {
		t.Errorf("exit code %d, stderr %q, stdout\n%s", code, stderr, stdout)
	}
}

func TestStatusPrints(t *testing.T) {
	policy := v1alpha1.Default()
	policy.Name = "nightly"
	now, intensity := metav1.NewTime(parse(t, "2026-11-21T21:00:00Z")), int32(401)
	policy.Status = v1alpha1.CarbonPolicyStatus{
		Locations: []v1alpha1.LocationStatus{
			{Name: "CAISO_NORTH", Intensity: &intensity, ForecastIssued: &now, ForecastUntil: &now, LearnedDays: 3}, {Name: "PJM"},
		},
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionForecastUsable, Status: metav1.ConditionFalse, Message: "work starts at once"}},
	}
	limited := policy.DeepCopy()
	limited.Name, limited.Status.Conditions = "limited", nil
	limited.Status.Locations[0].Bucket, limited.Status.Locations[0].Ceiling, limited.Status.Locations[0].Running = "<=437", ptr.To[int32](110), ptr.To[int32](7)
	orphan := podOf("orphan", v1alpha1.StateHeld, heldAnnotations(v1alpha1.PolicyAnnotation, "gone", v1alpha1.PlannedStartAnnotation, ""), nil)
	trial := policy.DeepCopy()
	trial.Name, trial.Spec.Mode, trial.Status.Conditions = "trial", v1alpha1.ModeAudit, policy.Status.Conditions[:0:0]
	trial.Status.Audited = &v1alpha1.HeldStatus{Pods: 12, Groups: 3}
	audited := podOf("audited", v1alpha1.StateAudited, heldAnnotations(v1alpha1.PolicyAnnotation, "trial"), nil)
	audited.Status.Phase, audited.Labels["phase"] = corev1.PodRunning, "Running"
	connect, _ := fakeCluster(t, append(workInEachState(), policy, limited, orphan, trial, audited)...)
	for name, args := range map[string][]string{"status": nil, "status-json": {"-n", "batch", "-o", "json"}} {
		code, stdout, stderr := call(t, connect, append([]string{"status"}, args...)...)
		if code != 0 || stderr != "" {
			t.Fatalf("exit code %d, stderr %s", code, stderr)
		}
		wantGolden(t, name, stdout)
	}
	quiet, _ := fakeCluster(t)
	if code, stdout, _ := call(t, quiet, "status"); code != 0 || !strings.Contains(stdout, "0 pods are held in 0 groups") {
		t.Errorf("of a quiet cluster: exit code %d\n%s", code, stdout)
	}
}

// oneNamespace is a client that may read only the Jobs and pods of one namespace, as many developers.
// Of the kinds that are held whole, its cluster knows one, or none.
type oneNamespace struct {
	client.Client
	defined schema.GroupKind
}

func (n oneNamespace) Get(ctx context.Context, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
	switch o.(type) {
	case *batchv1.Job, *corev1.Pod:
		return n.Client.Get(ctx, key, o, options...)
	}
	return n.forbid(o, key.Name)
}

func (n oneNamespace) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	gvk, err := n.GroupVersionKindFor(list)
	if err != nil {
		return err
	}
	if in := (&client.ListOptions{}).ApplyOptions(options).Namespace; in == "batch" && (gvk.Kind == "JobList" || gvk.Kind == "PodList") {
		return n.Client.List(ctx, list, options...)
	}
	if kind := (schema.GroupKind{Group: gvk.Group, Kind: strings.TrimSuffix(gvk.Kind, "List")}); door.Of(kind) != nil && kind != n.defined {
		return &meta.NoKindMatchError{GroupKind: kind}
	}
	return n.forbid(list, "")
}

func (n oneNamespace) forbid(o runtime.Object, name string) error {
	gvk, err := n.GroupVersionKindFor(o)
	if err != nil {
		return err
	}
	return apierrors.NewForbidden(schema.GroupResource{Group: gvk.Group, Resource: strings.ToLower(gvk.Kind)}, name, errors.New("dev may not"))
}

func TestWhoMayReadOneNamespaceOnlyIsToldWhatCanBeKnownThere(t *testing.T) {
	_, c := fakeCluster(t, workInEachState()...)
	connect := func(e *env) {
		e.cluster = func(connection) (*rest.Config, string, error) { return &rest.Config{}, "batch", nil }
		e.dial = func(*rest.Config) (client.Client, error) { return oneNamespace{Client: c}, nil }
	}
	const hint = "you may not read CarbonPolicies: ask for the ClusterRole gridlatch-view"
	for name, args := range map[string][]string{
		"explain-narrow": {"explain", "job", "nightly-report"},
		"status-narrow":  {"status", "-n", "batch"},
	} {
		code, stdout, stderr := call(t, connect, args...)
		if code != 0 || !strings.HasPrefix(stderr, "warning: "+hint) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("exit code %d, stderr %s", code, stderr)
		}
		wantGolden(t, name, stdout)
	}
	jobSets := func(e *env) {
		connect(e)
		e.dial = func(*rest.Config) (client.Client, error) {
			return oneNamespace{c, schema.GroupKind{Group: "jobset.x-k8s.io", Kind: "JobSet"}}, nil
		}
	}
	if code, _, stderr := call(t, jobSets, "status", "-n", "batch"); code != 0 || !strings.Contains(stderr, "warning: you may not read jobsets: what is held of them is not counted") {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
	if code, _, stderr := call(t, connect, "hold", "job", "ordinary"); code != 1 || !strings.Contains(stderr, hint) {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
}

func TestStatusReadsPageByPage(t *testing.T) {
	var many []client.Object
	for i := range 1203 {
		many = append(many, podOf(fmt.Sprintf("pod-%d", i), v1alpha1.StateHeld, heldAnnotations(), nil))
	}
	connect, _ := fakeCluster(t, many...)
	_, stdout, _ := call(t, connect, "status", "-o", "yaml")
	var got cluster.Status
	if err := yaml.Unmarshal([]byte(stdout), &got); err != nil || got.Releases[0].Pods != 1203 || got.Policies[0].Groups != 1203 {
		t.Errorf("%v, counted %+v", err, got)
	}
}

func TestNamesOfWorkAreChecked(t *testing.T) {
	for want, args := range map[string][]string{
		`want job NAME, pod NAME, job/NAME or pod/NAME`:               {"explain"},
		`"deployment/x": want job NAME`:                               {"explain", "deployment/x"},
		`want one Job, pod or other object`:                           {"explain", "job", "a", "b"},
		`--output "xml": want json or yaml, or nothing for text`:      {"explain", "job", "nightly-report", "-o", "xml"},
		`--all: want either a namespace with -n, or --all-namespaces`: {"release", "--all"},
		`want either --all, or names`:                                 {"release", "--all", "-A", "x"},
		`--all-namespaces needs --all`:                                {"release", "-A", "x"},
		`--deadline "soon": want`:                                     {"hold", "x", "--deadline", "soon"},
		`unknown argument "x" (see: kubectl gridlatch status --help)`: {"status", "x"},
	} {
		connect, _ := fakeCluster(t, workInEachState()...)
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
		connect, _ := fakeCluster(t, workInEachState()...)
		code, stdout, _ := call(t, connect, append([]string{"__complete"}, tt.args...)...)
		offered, _, _ := strings.Cut(stdout, ":")
		if got := strings.Join(strings.Fields(offered), " "); code != 0 || got != tt.want {
			t.Errorf("%v: offered %q, want %q", tt.args, got, tt.want)
		}
	}
}

func TestWhatTheControllerLearnedIsUsed(t *testing.T) {
	array, err := os.ReadFile("testdata/forecast.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := forecast.Parse(array)
	if err != nil {
		t.Fatal(err)
	}
	source := forecast.ParseSource("kube-system/carbon-intensity/data")
	var store forecast.Store
	if err := store.Offer(source, document, parse(t, evening)); err != nil {
		t.Fatal(err)
	}
	f, _ := store.Snapshot(source).Forecast("")
	encoded, err := f.Model.Save()
	if err != nil {
		t.Fatal(err)
	}
	saved := history.ConfigMap(source, f.Location, f.Details.Origin, encoded)
	saved.Namespace = "gridlatch-system"
	connect, _ := fakeCluster(t, append(workInEachState(), saved)...)
	_, stdout, stderr := call(t, connect, "explain", "job", "nightly-report")
	if stderr != "" || !strings.Contains(stdout, "⣿ forecast, corrected by what Gridlatch has learned, █ run") {
		t.Errorf("stderr %s, stdout\n%s", stderr, stdout)
	}
	var got cluster.Explanation
	_, stdout, _ = call(t, connect, "explain", "job", "nightly-report", "-o", "json")
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || !got.Learned {
		t.Errorf("%v in\n%s", err, stdout)
	}
}

func TestExplainDoesNotCallAJobOverdueThatItsUserHoldsSuspended(t *testing.T) {
	parked := jobOf("parked", v1alpha1.StateHeld, map[string]string{v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.PolicyAnnotation: "default", v1alpha1.ReasonAnnotation: hold.ReasonAwaitsResume}, 2)
	parked.CreationTimestamp.Time = parked.CreationTimestamp.AddDate(0, 0, -9) // longer ago than the policy lets work wait
	suspend := true
	parked.Spec.Suspend = &suspend
	connect, _ := fakeCluster(t, parked)
	code, stdout, stderr := call(t, connect, "explain", "job/parked")
	if code != 0 || stderr != "" || strings.Contains(stdout, "overdue") {
		t.Errorf("exit code %d, stderr %s\n%s", code, stderr, stdout)
	}
	for _, want := range []string{"waits, and is not planned yet", hold.ReasonAwaitsResume} {
		if !strings.Contains(stdout, want) {
			t.Errorf("it does not say %q:\n%s", want, stdout)
		}
	}
}
