package gating

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/policy"
	"github.com/gridlatch/gridlatch/watching"
)

// recordOf is an empty record of a kind.
func recordOf(kind schema.GroupVersionKind) *record {
	return &record{PartialObjectMetadata: *policy.NewMetadata(kind)}
}

// stripped is the record of a pod or Job.
func stripped(tb testing.TB, s *recordMaker, object any) *record {
	tb.Helper()
	r, err := s.transform(object)
	if err != nil {
		tb.Fatal(err)
	}
	return r.(*record)
}

// heldPodOf is the i-th pod of the j-th Job as the API server sends it.
func heldPodOf(j, i int) *corev1.Pod {
	latest := t0.Add(time.Duration(j) * time.Second).Format(time.RFC3339)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "batch", Name: fmt.Sprintf("nightly-%04d-%05x", j, i), GenerateName: fmt.Sprintf("nightly-%04d-", j),
			UID: types.UID(fmt.Sprintf("d9607e19-f88f-11e6-%04d-%012d", j, i)), ResourceVersion: fmt.Sprint(1000000 + 50*j + i),
			CreationTimestamp: metav1.NewTime(t0), Finalizers: []string{"batch.kubernetes.io/job-tracking"},
			Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld, "app.kubernetes.io/name": "render", "batch.kubernetes.io/job-name": "nightly"},
			Annotations: map[string]string{
				v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DeadlineAnnotation: latest, v1alpha1.DurationAnnotation: "1h", v1alpha1.PolicyAnnotation: "default", v1alpha1.LatestStartAnnotation: latest, v1alpha1.PlannedStartAnnotation: latest, v1alpha1.IntensityAtCreationAnnotation: "430",
				v1alpha1.ReasonAnnotation: "waits until " + latest + ": then 120 gCO2eq/kWh in CAISO_NORTH, 72 % less than the 430 now", "example.com/run": "nightly",
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "batch/v1", Kind: "Job", Name: fmt.Sprintf("nightly-%04d", j), UID: types.UID(fmt.Sprintf("job-%d", j)), Controller: ptr.To(true),
			}},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kube-controller-manager", FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{}}`)}},
		},
		Spec: corev1.PodSpec{SchedulingGates: []corev1.PodSchedulingGate{{Name: v1alpha1.Gate}}, Containers: []corev1.Container{{Name: "main", Image: "work"}}},
	}
}

// sent is a pod decoded from what the API server sends, which shares nothing with others.
func sent(tb testing.TB, pod *corev1.Pod) *corev1.Pod {
	tb.Helper()
	data, err := pod.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	decoded := &corev1.Pod{}
	if err := decoded.Unmarshal(data); err != nil {
		tb.Fatal(err)
	}
	return decoded
}

func TestARecordHasWhatIsReadAndWhatIsSo(t *testing.T) {
	yes := true
	about := metav1.ObjectMeta{
		Name: "a", UID: "1", ManagedFields: []metav1.ManagedFieldsEntry{{}}, Finalizers: []string{"f"}, GenerateName: "a-",
		Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld, "app": "x"}, Annotations: map[string]string{v1alpha1.ReasonAnnotation: "r", "other": "y", v1alpha1.Prefix + "junk": "z"},
		OwnerReferences: []metav1.OwnerReference{{Name: "bystander"}, {Name: "owner", Controller: &yes}},
	}
	ours := metav1.ObjectMeta{
		Name: "a", UID: "1", Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld}, Annotations: map[string]string{v1alpha1.ReasonAnnotation: "r"},
		OwnerReferences: []metav1.OwnerReference{{Name: "owner", Controller: &yes}},
	}
	complete := batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}}
	gates := []corev1.PodSchedulingGate{{Name: v1alpha1.Gate}}
	for name, tt := range map[string]struct {
		object any
		want   facts
	}{
		"a pod that waits":              {&corev1.Pod{ObjectMeta: about, Spec: corev1.PodSpec{SchedulingGates: gates}}, facts{isGated: true}},
		"one that waits for others":     {&corev1.Pod{ObjectMeta: about, Spec: corev1.PodSpec{SchedulingGates: []corev1.PodSchedulingGate{{Name: "other"}}}}, facts{otherGates: "other"}},
		"one with a node":               {&corev1.Pod{ObjectMeta: about, Spec: corev1.PodSpec{NodeName: "n"}}, facts{hasNode: true}},
		"a Job":                         {&batchv1.Job{ObjectMeta: about}, facts{podsToRun: 1}},
		"a wide one":                    {&batchv1.Job{ObjectMeta: about, Spec: batchv1.JobSpec{Parallelism: ptr.To(int32(7))}}, facts{podsToRun: 7}},
		"one with little left":          {&batchv1.Job{ObjectMeta: about, Spec: batchv1.JobSpec{Parallelism: ptr.To(int32(7)), Completions: ptr.To(int32(9))}, Status: batchv1.JobStatus{Succeeded: 5}}, facts{podsToRun: 4}},
		"one of no pods":                {&batchv1.Job{ObjectMeta: about, Spec: batchv1.JobSpec{Parallelism: ptr.To(int32(0))}}, facts{hasNoParallelism: true}},
		"one that is over":              {&batchv1.Job{ObjectMeta: about, Spec: batchv1.JobSpec{Parallelism: ptr.To(int32(7))}, Status: complete}, facts{}},
		"a suspended one, as if it ran": {&batchv1.Job{ObjectMeta: about, Spec: batchv1.JobSpec{Suspend: &yes, Parallelism: ptr.To(int32(3))}}, facts{isSuspended: true, isSuspendedOrJustResumed: true, podsToRun: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			got := stripped(t, newRecordMaker(), tt.object)
			if diff := cmp.Diff(ours, got.ObjectMeta, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			if got.facts != tt.want {
				t.Errorf("got %+v, want %+v", got.facts, tt.want)
			}
			if again := stripped(t, newRecordMaker(), got); again != got {
				t.Error("what is stripped already is stripped again")
			}
		})
	}
}

func TestNothingThatAStrangerWritesMakesARecordLarge(t *testing.T) {
	const most = 20 << 10
	long := strings.Repeat("x", 250<<10)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: "a", Labels: map[string]string{v1alpha1.StateLabel: v1alpha1.StateHeld}, Annotations: map[string]string{v1alpha1.Prefix + "junk": long},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: long, UID: types.UID(long), Controller: ptr.To(true)}},
		Finalizers:      []string{long}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: long}},
	}}
	for _, key := range append(append(policy.AskKeys(), policy.WrittenKeys()...), hold.KueueGatesAnnotation) {
		pod.Annotations[key] = long
	}
	got := stripped(t, newRecordMaker(), pod)
	if size := got.Size(); size > most {
		t.Errorf("a record of %d bytes, want at most %d", size, most)
	}
	if metav1.GetControllerOf(got) != nil {
		t.Error("an owner is kept whose name no object can have")
	}
	for key, value := range got.Annotations {
		if len(value) <= policy.MaxValue && key != v1alpha1.ReasonAnnotation {
			t.Errorf("%s does not count as too long any more", key)
		}
	}
}

func TestPagesOfAListAreOfRecords(t *testing.T) {
	list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "7", Continue: "more"}, Items: []corev1.Pod{*heldPodOf(1, 1), *heldPodOf(1, 2)}}
	lists := func(context.Context, metav1.ListOptions) (apiruntime.Object, error) { return list, nil }
	got, err := watching.InPages(10, lists, newRecordMaker().transform)(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	page := got.(*internalversion.List)
	if page.ResourceVersion != "7" || page.Continue != "more" || len(page.Items) != 2 {
		t.Fatalf("got %+v", page)
	}
	if r, ok := page.Items[1].(*record); !ok || r.Name != list.Items[1].Name || !r.isGated {
		t.Errorf("got %+v", page.Items[1])
	}
}

func TestWhatSiblingsShareIsWhatEachOfThemSays(t *testing.T) {
	s := newRecordMaker()
	elsewhere, otherwise, orphan := heldPodOf(1, 3), heldPodOf(1, 4), heldPodOf(1, 5)
	elsewhere.Namespace, elsewhere.OwnerReferences[0].Name = "liars", "not-its-owner"
	otherwise.Annotations[v1alpha1.ReasonAnnotation], otherwise.Labels[v1alpha1.StateLabel] = "it says otherwise", v1alpha1.StateReleased
	orphan.OwnerReferences = nil
	pods := []*corev1.Pod{heldPodOf(1, 1), heldPodOf(1, 2), elsewhere, heldPodOf(2, 1), otherwise, orphan, heldPodOf(1, 6)}
	for i := range 3 * maxSharingOwners { // more owners than are remembered
		pods = append(pods, heldPodOf(i%(maxSharingOwners+1), 1))
	}
	for _, pod := range pods {
		got, alone := stripped(t, s, sent(t, pod)), stripped(t, newRecordMaker(), sent(t, pod))
		if diff := cmp.Diff(alone.PartialObjectMetadata, got.PartialObjectMetadata); diff != "" {
			t.Fatalf("%s/%s (-by itself +beside its siblings):\n%s", pod.Namespace, pod.Name, diff)
		}
	}
}

// What is listed is transformed twice: in the order of its names, and then in any.
func TestWhatIsStrippedTwiceIsStillShared(t *testing.T) {
	s := newRecordMaker()
	var pods []*record
	for j := range 2 * maxSharingOwners {
		for i := range 2 {
			pods = append(pods, stripped(t, s, sent(t, heldPodOf(j, i))))
		}
	}
	for i := range pods { // first one of each owner, then the other
		stripped(t, s, pods[2*i%len(pods)+2*i/len(pods)])
	}
	at := func(m map[string]string) uintptr { return reflect.ValueOf(m).Pointer() }
	for i := 0; i < len(pods); i += 2 {
		if a, b := pods[i], pods[i+1]; at(a.Annotations) != at(b.Annotations) || at(a.Labels) != at(b.Labels) {
			t.Fatalf("%s and %s share nothing", a.Name, b.Name)
		}
	}
}

// BenchmarkHeldPods tells what a held pod takes in a cache with our indices, in
// bytes of the heap: one of a Job of fifty, and one by itself.
func BenchmarkHeldPods(b *testing.B) {
	for name, perJob := range map[string]int{"of a Job of 50": 50, "of a Job of 1": 1} {
		b.Run(name, func(b *testing.B) {
			const pods = 20000
			var used uint64
			for b.Loop() {
				before := heap()
				indexer := toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, policyIndexers())
				s := newRecordMaker()
				for i := range pods {
					if err := indexer.Add(stripped(b, s, sent(b, heldPodOf(i/perJob, i%perJob)))); err != nil {
						b.Fatal(err)
					}
				}
				used += heap() - before
				runtime.KeepAlive(indexer)
			}
			b.ReportMetric(float64(used)/float64(b.N)/pods, "B/pod")
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
