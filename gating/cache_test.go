package gating

import (
	"fmt"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
)

// heldPodOf is the i-th pod of the j-th Job as the API server sends it.
func heldPodOf(j, i int) *metav1.PartialObjectMetadata {
	latest := t0.Add(time.Duration(j) * time.Second).Format(time.RFC3339)
	return &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "batch", Name: fmt.Sprintf("nightly-%04d-%05x", j, i), GenerateName: fmt.Sprintf("nightly-%04d-", j),
			UID: types.UID(fmt.Sprintf("d9607e19-f88f-11e6-%04d-%012d", j, i)), ResourceVersion: fmt.Sprint(1000000 + 50*j + i),
			CreationTimestamp: metav1.NewTime(t0), Finalizers: []string{"batch.kubernetes.io/job-tracking"},
			Labels: map[string]string{State: StateHeld, "app.kubernetes.io/name": "render", "batch.kubernetes.io/job-name": "nightly"},
			Annotations: map[string]string{
				DelayTolerant: "true", Deadline: latest, Duration: "1h", PolicyName: "default", LatestStart: latest, PlannedStart: latest, AtCreation: "430",
				Reason: "waits until " + latest + ": then 120 gCO2eq/kWh in CAISO_NORTH, 72 % less than the 430 now", "example.com/run": "nightly",
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "batch/v1", Kind: "Job", Name: fmt.Sprintf("nightly-%04d", j), UID: types.UID(fmt.Sprintf("job-%d", j)), Controller: ptr.To(true),
			}},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kube-controller-manager", FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{}}`)}},
		},
	}
}

// sent is a pod decoded from what the API server sends, which shares nothing with others.
func sent(tb testing.TB, pod *metav1.PartialObjectMetadata) *metav1.PartialObjectMetadata {
	tb.Helper()
	data, err := pod.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	decoded := &metav1.PartialObjectMetadata{TypeMeta: pod.TypeMeta}
	if err := decoded.Unmarshal(data); err != nil {
		tb.Fatal(err)
	}
	return decoded
}

func TestStripKeepsWhatIsRead(t *testing.T) {
	yes := true
	full := metadata(podKind())
	full.ObjectMeta = metav1.ObjectMeta{
		Name: "a", UID: "1", ManagedFields: []metav1.ManagedFieldsEntry{{}}, Finalizers: []string{"f"}, GenerateName: "a-",
		Labels: map[string]string{State: StateHeld, "app": "x"}, Annotations: map[string]string{Reason: "r", "other": "y"},
		OwnerReferences: []metav1.OwnerReference{{Name: "bystander"}, {Name: "owner", Controller: &yes}},
	}
	got, err := newStripper().strip(full)
	if err != nil {
		t.Fatal(err)
	}
	want := metadata(podKind())
	want.ObjectMeta = metav1.ObjectMeta{
		Name: "a", UID: "1", Labels: map[string]string{State: StateHeld}, Annotations: map[string]string{Reason: "r"},
		OwnerReferences: []metav1.OwnerReference{{Name: "owner", Controller: &yes}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

func TestWhatSiblingsShareIsWhatEachOfThemSays(t *testing.T) {
	strip := transformOf(t, "Pod")
	plain := func(pod *metav1.PartialObjectMetadata) *metav1.PartialObjectMetadata {
		stripped, err := newStripper().strip(sent(t, pod))
		if err != nil {
			t.Fatal(err)
		}
		return stripped.(*metav1.PartialObjectMetadata)
	}
	elsewhere, otherwise, orphan := heldPodOf(1, 3), heldPodOf(1, 4), heldPodOf(1, 5)
	elsewhere.Namespace, elsewhere.OwnerReferences[0].Name = "liars", "not-its-owner"
	otherwise.Annotations[Reason], otherwise.Labels[State] = "it says otherwise", StateReleased
	orphan.OwnerReferences = nil
	pods := []*metav1.PartialObjectMetadata{heldPodOf(1, 1), heldPodOf(1, 2), elsewhere, heldPodOf(2, 1), otherwise, orphan, heldPodOf(1, 6)}
	for i := range 3 * siblings { // more owners than are remembered
		pods = append(pods, heldPodOf(i%(siblings+1), 1))
	}
	for _, pod := range pods {
		got, err := strip(sent(t, pod))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(plain(pod), got); diff != "" {
			t.Fatalf("%s/%s (-by itself +beside its siblings):\n%s", pod.Namespace, pod.Name, diff)
		}
	}
}

// What is listed is transformed twice: in the order of its names, and then in any.
func TestWhatIsStrippedTwiceIsStillShared(t *testing.T) {
	strip := transformOf(t, "Pod")
	var pods []*metav1.PartialObjectMetadata
	for j := range 2 * siblings {
		for i := range 2 {
			stripped, err := strip(sent(t, heldPodOf(j, i)))
			if err != nil {
				t.Fatal(err)
			}
			pods = append(pods, stripped.(*metav1.PartialObjectMetadata))
		}
	}
	for i := range pods { // first one of each owner, then the other
		if _, err := strip(pods[2*i%len(pods)+2*i/len(pods)]); err != nil {
			t.Fatal(err)
		}
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
				indexers := byPolicy()
				indexers[toolscache.NamespaceIndex] = toolscache.MetaNamespaceIndexFunc // as every cache has
				indexer := toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, indexers)
				strip := transformOf(b, "Pod")
				for i := range pods {
					o, err := strip(sent(b, heldPodOf(i/perJob, i%perJob)))
					if err != nil {
						b.Fatal(err)
					}
					if err := indexer.Add(o); err != nil {
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

// transformOf returns what the cache does to the objects of a kind.
func transformOf(tb testing.TB, kind string) toolscache.TransformFunc {
	tb.Helper()
	for object, how := range CacheByObject() {
		if object.GetObjectKind().GroupVersionKind().Kind == kind {
			return how.Transform
		}
	}
	tb.Fatalf("no %ss are cached", kind)
	return nil
}
